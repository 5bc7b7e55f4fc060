"""One database and what belongs to it: the root connection, the deployments, the SQL functions.

A function is registered on the root connection, where every connection of the database sees it, and
is kept alive as long as the database: DuckDB crashes when one goes with a cursor. What the database
remembers is offered when it is opened, and nothing is loaded for that.
"""

from __future__ import annotations

import atexit
import itertools
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Protocol

import duckdb

from llmsql.catalog import Catalog
from llmsql.errors import CatalogError, ClosedError, StatementError, warn
from llmsql.runtime import remembered
from llmsql.runtime.account import Account
from llmsql.runtime.collector import Collector
from llmsql.runtime.conditions import Conditions
from llmsql.runtime.deployments import Deployment, Deployments
from llmsql.runtime.orders import Orders
from llmsql.runtime.stores import Stores
from llmsql.runtime.worker import Worker
from llmsql.syntax import on_error, tree

CLOSING_SECONDS = 2.0
UNLOADING_SECONDS = 10.0  # a thread inside torch when the interpreter ends takes the process along
reaper = Worker("llmsql-reaper")
"""Closes what was forgotten without being closed."""

_PROCESS = os.getpid()


class SqlFunction(Protocol):
    """What the engine registers: an Arrow callable, its name, its arguments and its type.

    *called* is the name without what tells a sibling, *answer_type* the type of one answer.
    """

    name: str
    called: str

    @property
    def siblings(self) -> Sequence[SqlFunction]: ...

    @property
    def answer_type(self) -> str: ...

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def signatures(self) -> tuple[tuple[str, ...], ...]: ...

    @property
    def takes_requests(self) -> bool: ...

    @property
    def return_type(self) -> str: ...

    @property
    def __call__(self) -> Callable[..., Any]: ...


class Engine:
    """The runtime of one database; connections to the same database share it."""

    _by_database: dict[str, Engine] = {}
    _alive: weakref.WeakSet[Engine] = weakref.WeakSet()
    _closing: set[str] = set()
    _class_lock = threading.Condition(threading.Lock())

    def __init__(self, database: str, *, read_only: bool, config: Mapping[str, Any]) -> None:
        self.root = _connected(database, read_only=read_only, config=dict(config))
        self.catalog = Catalog(self.root)
        self.deployments = Deployments()
        self.orders = Orders()
        self.functions: dict[str, SqlFunction] = {}
        self._serving: dict[str, str] = {}  # function → the name it is registered under now
        self._natives: dict[str, dict[str, str]] = {}  # function → return type → registered name
        self.primitives: frozenset[str] = frozenset()
        self._used: set[str] = set()  # the siblings that some text of this database calls
        self.collectors: dict[int, Collector] = {}
        self.stores = Stores(_key(database) if _is_file(database) else None, is_read_only=read_only)
        self.version = 0
        self.users = 0
        self.children: weakref.WeakSet[Any] = weakref.WeakSet()
        self._database = database
        self._lock = threading.RLock()
        Engine._alive.add(self)

    @classmethod
    def open(
        cls,
        database: str,
        *,
        read_only: bool,
        config: Mapping[str, Any],
        primitives: Callable[[Engine], list[SqlFunction]],
        tables: Callable[[Engine], list[Any]],
    ) -> Engine:
        """Return the engine of *database*, made with these functions if nobody has it open here."""
        key, problems = _key(database), []
        with cls._class_lock:
            # DuckDB would give the one that goes, with its functions.
            cls._class_lock.wait_for(lambda: key not in cls._closing)
            engine = cls._by_database.get(key) if key else None
            if engine is not None:  # DuckDB says whether it can be opened this way as well
                duckdb.connect(database, read_only=read_only, config=dict(config)).close()
            if engine is None:
                engine = cls(database, read_only=read_only, config=config)
                try:
                    for function in primitives(engine):
                        engine.define(function)
                        engine.primitives |= {function.name}
                    for table in tables(engine):
                        engine.define_table(table)
                    problems = remembered.recall(engine)
                except BaseException:
                    engine.close()
                    raise
                if key:
                    cls._by_database[key] = engine
            engine.users += 1
        try:
            for problem in problems:
                warn(problem)
        except Warning:  # where warnings are errors
            engine.release()
            raise
        return engine

    def cursor(self) -> Any:
        """A DuckDB connection to the database for one more user; raises ClosedError for none."""
        with Engine._class_lock:
            if not self.users:
                raise ClosedError
            con = self.root.cursor()
            self.users += 1
        return con

    def release(self) -> None:
        """Give the engine back; the last user's call closes it."""
        with Engine._class_lock:
            self.users -= 1
            if self.users > 0:
                return
            key = _key(self._database) or ""
            Engine._by_database.pop(key, None)
            Engine._closing.add(key)
        try:
            self.close()
        finally:
            with Engine._class_lock:
                Engine._closing.discard(key)
                Engine._class_lock.notify_all()

    def check_name(self, name: str) -> None:
        """Refuse a name that cannot be called, or that is a function already."""
        key = name.lower()
        if not name.isidentifier() or key in tree.reserved():
            raise StatementError(
                f'udfName "{name}" cannot be the name of a SQL function\n'
                "  use letters, digits and _, beginning with a letter, and no reserved word"
            )
        is_ours = key in {*self.primitives, on_error.CALL_ID}
        is_ours = is_ours or key.startswith(tuple(on_error.SIBLINGS.values()))
        if is_ours or key in tree.builtins():
            raise StatementError(
                f'udfName "{name}" would shadow the function {key}() of DuckDB or llmsql\n'
                "  choose another name"
            )

    def detached(self, *, cache: str = "") -> Collector:
        """What stands for the statement of a client that is no connection of ours."""
        account = Account(Conditions(self.stores, cache, limits_store=False))
        return Collector(account, on_error="null", is_detached=True)

    def serve(self, deployment: Deployment) -> None:
        """Put *deployment* in the place of an earlier one, and its function with it."""
        replaced = self.deployments.put(deployment)
        function = self._function(deployment)
        old = self.functions.get(deployment.name.lower())
        try:
            if type(old) is not type(function) or _returned(replaced) != _returned(deployment):
                self.define(function)
        except Exception:
            if replaced is not None:
                self.deployments.put(replaced)
            else:
                self.deployments.take(deployment.name)
            deployment.retire()
            raise
        if replaced is not None:
            replaced.retire()

    def define(self, function: SqlFunction) -> None:
        """Serve *function* under its name, and its siblings under theirs.

        DuckDB crashes when a function goes while some plan still calls it, so none is ever removed:
        one that returns another type than before is registered under another name, which the
        connections' macros call.
        """
        with self._lock:
            for each in (function, *function.siblings):
                key, kind = each.name.lower(), each.return_type
                natives = self._natives.setdefault(key, {})
                if kind not in natives:
                    native = self._unused(each.name)
                    self._register(native, each, kind)
                    natives[kind] = native
                self.functions[key] = each
                self._serving[key] = natives[kind]
            self.version += 1

    def define_table(self, table: Any) -> None:
        """Let DuckDB call *table*, which calls no model and returns other rows each time."""
        with self._lock:
            self._natives[table.name] = {table.return_type: table.name}
            self._register(table.name, table, table.return_type, is_volatile=True)

    def use(self, names: Iterable[str]) -> None:
        """Let connections shadow the siblings among *names*, in lower case, from now on.

        Without a shadow they are right as well, but on the spot; making all takes long.
        """
        with self._lock:
            siblings = {key for key, each in self.functions.items() if each.name != each.called}
            new = siblings.intersection(names) - self._used
            self._used |= new
            self.version += bool(new)

    def spelled_out(self, sql: str) -> str:
        """*sql* with what its model calls say of failed rows, so that DuckDB can read it."""
        if on_error.is_said(sql):
            asking = [each for each in list(self.functions.values()) if each.siblings]
            called = frozenset(each.called.lower() for each in asking)
            texts = frozenset(e.called.lower() for e in asking if e.answer_type == "VARCHAR")
            sql = on_error.spelled_out(sql, called, texts)
        if "llmsql_" in sql.lower():
            self.use(re.findall(r"\w+", sql.lower()))
        return sql

    def shadowed(self) -> list[SqlFunction]:
        """The functions that connections shadow."""
        return [
            each
            for key, each in list(self.functions.items())
            if each.name == each.called or key in self._used
        ]

    def macros(self) -> dict[str, str]:
        """The database's own macros, by name in lower case, and what they are made of."""
        with closing(self.root.cursor()) as con:
            rows = con.execute(
                "SELECT lower(function_name), string_agg(macro_definition, ' ')"
                " FROM duckdb_functions() WHERE NOT internal"
                " AND function_type IN ('macro', 'table_macro') GROUP BY ALL"
            ).fetchall()
        return dict(rows)

    def views(self) -> str:
        """The text of all views of the database."""
        with closing(self.root.cursor()) as con:
            rows = con.execute("SELECT sql FROM duckdb_views() WHERE NOT internal").fetchall()
        return " ".join(text for (text,) in rows)

    def _unused(self, name: str) -> str:
        """A name to register *name* under that no function has had."""
        taken = {n.lower() for natives in self._natives.values() for n in natives.values()}
        others = (f"{name}__{number}" for number in itertools.count(2))
        return next(n for n in itertools.chain([name], others) if n.lower() not in taken)

    def native_name(self, function: SqlFunction) -> str:
        """The name that *function* is registered under."""
        return self._serving[function.name.lower()]

    def drop(self, name: str) -> None:
        """Serve the function *name* no longer, nor its siblings."""
        with self._lock:
            function = self.functions.pop(name.lower())
            for sibling in function.siblings:
                self.functions.pop(sibling.name.lower())
            self.version += 1

    def close(self) -> None:
        """Stop what runs, unload every model, unregister every function, close the connections."""
        for collector in list(self.collectors.values()):
            collector.cancelled.set()
        closed = [child.close_native(CLOSING_SECONDS) for child in list(self.children)]
        problems = [self._unloaded(deployment) for deployment in self.deployments]
        self.stores.close()
        with self._lock:
            self.functions.clear()
            if all(closed):  # else a plan still calls them
                for natives in self._natives.values():
                    for native in natives.values():
                        self.root.remove_function(native)
                self._natives.clear()
                self.root.close()
        Engine._alive.discard(self)
        for problem in filter(None, problems):
            warn(problem)

    def _unloaded(self, deployment: Deployment) -> str:
        """Unload the model of *deployment*; returns what went wrong, which stops nothing else."""
        try:
            self.deployments.take(deployment.name).unload(UNLOADING_SECONDS)
        except Exception as error:
            return f'model "{deployment.name}" did not unload: {type(error).__name__}: {error}'
        return ""

    @property
    def model_names(self) -> frozenset[str]:
        """The names of the functions that call models, in lower case."""
        return frozenset(self.functions)

    def _function(self, deployment: Deployment) -> SqlFunction:
        """A function like the primitive that calls models of this kind, for *deployment* alone."""
        for name in sorted(self.primitives):
            primitive: Any = self.functions[name]
            if getattr(primitive, "kind", None) == deployment.spec.kind:
                return type(primitive)(self, deployment.name)  # type: ignore[no-any-return]
        raise CatalogError(f"no function calls models of kind {deployment.spec.kind}")

    def _register(
        self, native: str, function: Any, return_type: str, *, is_volatile: bool = False
    ) -> None:
        self.root.create_function(
            native,
            function,
            None,
            return_type,
            type="arrow",
            null_handling="special",
            side_effects=is_volatile,
        )


def _key(database: str) -> str | None:
    """What names the database in this process; None where every connection has its own."""
    if database in ("", ":memory:"):
        return None
    return database if database.startswith(":memory:") else os.path.realpath(database)


def _connected(database: str, *, read_only: bool, config: dict[str, Any]) -> Any:
    """DuckDB's connection to *database*; says how a log is read that wants models."""
    try:
        return duckdb.connect(database, read_only=read_only, config=config)
    except duckdb.Error as error:
        if "replaying WAL" not in str(error):
            raise
        raise CatalogError(
            f'"{database}" was not closed, and what DuckDB has logged asks a model\n'
            f"  in llmsql.connect(), deploy that, then ATTACH '{database}' AS restored; CHECKPOINT"
            f" restored;\n  {str(error).partition(chr(10))[0]}"
        ) from error


def _is_file(database: str) -> bool:
    return bool(database) and not database.startswith(":memory:")


def _returned(deployment: Deployment | None) -> tuple[object, ...]:
    """What decides the type a deployment's function returns."""
    if deployment is None:
        return ()
    return (deployment.spec.kind, deployment.model.dimension)


@atexit.register
def _close_all() -> None:
    """DuckDB 2.0 prints a page about leaks at exit if a function is still registered then."""
    if os.getpid() == _PROCESS:  # a forked child has copies of locks and of nobody's threads
        with suppress(TimeoutError):
            reaper.submit(lambda: None).result(CLOSING_SECONDS)
        for engine in list(Engine._alive):
            engine.close()
