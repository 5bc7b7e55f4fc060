"""`Connection`: a DuckDB connection whose statements may also be llmsql's, and may call models.

Owns one DuckDB connection, the split of a script into statements, and one lock. How a statement
that calls models is run is the session's; everything else is DuckDB's own API.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial, wraps
from typing import Any

import duckdb

from llmsql.config import Settings
from llmsql.dialect import Dialect, is_unreadable
from llmsql.errors import ClosedError, OptionError, StatementError
from llmsql.functions.primitives import primitives
from llmsql.functions.tables import tables
from llmsql.pending import FETCHES, Pending
from llmsql.runtime import advice
from llmsql.runtime.engine import Engine, reaper
from llmsql.runtime.progress import Observer
from llmsql.runtime.reach import is_single_pass
from llmsql.runtime.scope import Scope
from llmsql.runtime.session import Session
from llmsql.syntax import script
from llmsql.syntax.variables import Variables
from llmsql.workspace import Workspace

_RELATIONS = ("from_", "read_", "table", "values", "view")
"""How the methods of DuckDB begin that give a relation."""

_NO_NATIVE = """this is a connection of llmsql, which DuckDB's own functions cannot take
  con.sql("…") runs a statement on it, and so for its other methods"""
"""What `duckdb.sql(…, connection=con)` says: DuckDB 2.0 asks for private names of its own."""


def connect(
    database: str | os.PathLike[str] = ":memory:",
    *,
    read_only: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Connection:
    """Open *database*, a path or ":memory:", and return a connection to it.

    *config* is DuckDB's. Connections of one process to the same file share its deployed models.
    """
    settings = Settings.from_environment()  # which may raise, before anything is open
    engine = Engine.open(
        _path(database),
        read_only=read_only,
        config=config or {},
        primitives=primitives,
        tables=tables,
    )
    return Connection(engine, engine.root.cursor(), settings)


class Connection:
    """One DuckDB connection that also knows llmsql's statements and the deployed models."""

    def __init__(self, engine: Engine, con: Any, settings: Settings) -> None:
        self.engine = engine
        self._con = con
        self._session = Session(con, engine, settings)
        self._lock = threading.RLock()
        self._pending = Pending(self._session, self._lock)
        self._cursors: weakref.WeakSet[Connection] = weakref.WeakSet()
        reaper.start()
        self._forgotten = weakref.finalize(self, _reap, engine, con, self._session)
        self._forgotten.atexit = False  # the engine ends with the interpreter
        self._is_closed = False
        engine.children.add(self)
        try:
            self._workspace = Workspace(self._session)  # reads the user's own functions
        except BaseException:
            self._close()  # now: whoever keeps the error would keep the database open
            raise
        self._dialect = Dialect(self._workspace)

    def execute(
        self,
        query: str | Any,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        namespace: Mapping[str, Any] | None = None,
    ) -> Connection:
        """Run the statements of *query*, ours and DuckDB's; the last one's result is then fetched.

        From DuckDB 2.0 on that is the last one that gives rows, whatever follows it, as there.

        *query* is a text or one of DuckDB's `Statement` objects. *parameters* belong to the last
        statement. *namespace* holds the Python variables that may be read as tables, in place of
        the caller's own.
        """
        scope = _scope(namespace, sys._getframe(1))
        with self._entered():
            self._execute(_text(query), parameters, scope)
        return self

    def sql(
        self, query: str | Any, *, alias: str = "", params: Any = None, namespace: Any = None
    ) -> Any:
        """Run *query* and return a relation, or None where it has no rows.

        Where models are called the relation holds the finished rows and calls none again.
        """
        scope, query = _scope(namespace, sys._getframe(1)), _text(query)
        with self._entered():
            if any(map(self._dialect.concerns, self._dialect.pieces(query))):
                self._execute(query, params, scope)
                return self._pending.relation(alias)
            self._pending.drop()
            self._session.clear()
            options = {"alias": alias, "params": params} if params is not None else {"alias": alias}
            try:
                return scope.call(partial(self._con.sql, query, **options))
            except duckdb.Error as error:
                if not is_unreadable(error) or not self._dialect.may_be_spark(query):
                    raise
                self._execute(query, params, scope)
                return self._pending.relation(alias)

    query = sql

    def executemany(self, query: str | Any, parameters: Sequence[Any]) -> Connection:
        """Run *query* once for each set of *parameters*."""
        scope, query = _scope(None, sys._getframe(1)), _text(query)
        with self._entered():
            pieces = list(self._dialect.pieces(query))
            is_given = isinstance(parameters, Iterable)  # else DuckDB says what is wrong
            is_ours = is_given and any(map(self._dialect.concerns, pieces))
            if sets := list(parameters) if is_ours else []:
                if not self._dialect.run_many(pieces, sets, scope):
                    for values in sets:
                        self._execute(query, values, scope)
            else:
                self._session.clear()
                scope.call(partial(self._con.executemany, query, parameters))
        return self

    def statements(self, query: str) -> Iterator[script.Piece]:
        """Yield the statements of a script, each with the line it starts on."""
        return self._dialect.pieces(query)

    def cursor(self) -> Connection:
        """Return another connection to the same database, with the same models.

        Also while this one runs a statement, and from a function that it calls.
        """
        cursor = Connection(self.engine, self._open().engine.cursor(), self.settings)
        cursor.variables.update(self.variables)
        cursor._session.conditions.spent = self._session.conditions.spent  # caps are for all
        self._cursors.add(cursor)
        return cursor

    duplicate = cursor

    def register(self, view_name: str, python_object: Any) -> Connection:
        """Make *python_object* readable as the table *view_name*, as DuckDB does."""
        with self._entered():
            self._pending.drop()
            self._con.register(view_name, python_object)
            self._session.registered[view_name.lower()] = is_single_pass(python_object)
        return self

    def unregister(self, view_name: str) -> Connection:
        """Take back what was registered as *view_name*."""
        with self._entered():
            self._pending.drop()
            self._con.unregister(view_name)
            self._session.registered.pop(view_name.lower(), None)
        return self

    @property
    def settings(self) -> Settings:
        """What models are deployed with, and statements run with."""
        return self._workspace.settings

    @property
    def variables(self) -> Variables:
        """What `${name}` stands for in the scripts of this connection."""
        return self._workspace.variables

    @property
    def on_progress(self) -> Observer | None:
        """Is told a few times a second how far the running statement's model calls are."""
        return self._session.conditions.on_progress

    @on_progress.setter
    def on_progress(self, observer: Observer | None) -> None:
        self._session.conditions.on_progress = observer

    @property
    def confirm(self) -> Callable[[str], bool] | None:
        """Is asked before a statement makes very many calls of a priced model."""
        return self._session.conditions.confirm

    @confirm.setter
    def confirm(self, ask: Callable[[str], bool] | None) -> None:
        self._session.conditions.confirm = ask

    def interrupt(self) -> None:
        """Stop the running statement, from another thread; what it computed is kept.

        It raises `duckdb.InterruptException` there.
        """
        self._session.interrupt()

    def close(self) -> None:
        """Close the connection and its cursors; the last of a database unloads its models."""
        if self._is_closed:
            return
        self._session.conditions.refuse_telling()
        with ExitStack() as stack:  # each of these, whatever another one raises
            stack.callback(self._close)
            for cursor in list(self._cursors):
                stack.callback(cursor.close)

    def _close(self) -> None:
        with self._lock:
            if self._is_closed:  # by another thread meanwhile
                return
            self._is_closed = True
            self.engine.children.discard(self)
            self._forgotten.detach()
            _release(self.engine, self._con, self._session)

    def close_native(self, seconds: float) -> bool:
        """Close the DuckDB connection as its engine goes; False when it is busy for so long."""
        if not self._lock.acquire(timeout=seconds):
            return False
        self._is_closed = True
        self._forgotten.detach()
        with closing(self._con):
            self._session.close()
        return True

    @property
    def description(self) -> Any:
        """The columns of the pending result, as DB-API has it."""
        return self._open()._con.description

    @property
    def rowcount(self) -> int:
        """How many rows the last statement wrote; -1 where it read, or DuckDB does not say."""
        known = self._open()._session.written_rows
        return int(self._con.rowcount) if known is None else known

    def __enter__(self) -> Connection:
        return self._open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            is_native = not name.startswith("__") and hasattr(duckdb.DuckDBPyConnection, name)
            raise AttributeError(_NO_NATIVE if is_native else name)
        attribute = getattr(self._open()._con, name)
        if name in FETCHES:
            return self._pending.guarded(attribute, self)
        return self._delegated(attribute, name) if callable(attribute) else attribute

    def __dir__(self) -> list[str]:
        native = (name for name in dir(duckdb.DuckDBPyConnection) if not name.startswith("_"))
        return sorted({*super().__dir__(), *native})

    def _delegated(self, method: Callable[..., Any], name: str) -> Callable[..., Any]:
        """DuckDB's *method*, which returns this connection where it returns its own."""

        @wraps(method)
        def delegated(*args: Any, **kwargs: Any) -> Any:
            self._pending.drop()
            if name.startswith(_RELATIONS):
                self._session.sync()  # whose functions a relation may name
            result = method(*args, **kwargs)
            return self if result is self._con else result

        return delegated

    def _execute(self, query: str, parameters: Any, scope: Scope) -> None:
        pieces = list(self._dialect.pieces(query))
        if len(pieces) != 1 and not any(map(self._dialect.may_concern, pieces)):
            self._session.clear()
            self._session.sync()
            arguments = (query,) if parameters is None else (query, parameters)
            scope.call(partial(self._con.execute, *arguments))
            return
        last, kept = len(pieces) - 1, None
        answering = self._pending.answering(pieces)
        for index, piece in enumerate(pieces):
            given = parameters if index == last else None
            rows = self._dialect.run(piece, given, scope)
            if rows is not None:
                self._workspace.show(rows.table())
            if index == answering < last:
                kept = self._pending.relation("")
        if kept is not None:
            self._workspace.show(kept)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """Hold the lock of an open connection: two threads' statements must not mix."""
        self._open()
        self._session.conditions.refuse_telling()
        with self._lock:
            self._open()  # another thread may have closed it while this one waited
            try:
                yield
            except duckdb.Error as error:
                advice.advise(error, self.engine.deployments)
                raise
            except RuntimeError as error:
                if str(error) == "Query interrupted":  # Ctrl-C, to a connection that only parses
                    raise KeyboardInterrupt from error
                raise

    def _open(self) -> Connection:
        if self._is_closed:
            raise ClosedError
        return self


def _path(database: Any) -> str:
    """*database* with `~` spelled out, as DuckDB has it, so that what is kept beside it is there.

    DuckDB puts the home in place of every leading `~`, also where a user's name follows.
    """
    path = os.fspath(database) if isinstance(database, os.PathLike) else database
    if not isinstance(path, str):
        raise OptionError(
            f"a database is a path, as str or os.PathLike, not {type(path).__name__}\n"
            "  llmsql.connect() opens one in memory"
        )
    return os.path.expanduser("~") + path[1:] if path.startswith("~") else path


def _reap(engine: Engine, con: Any, session: Session) -> None:
    """Let another thread release a forgotten connection: the collector may run anywhere."""
    reaper.submit(partial(_forget, engine, con, session))


def _forget(engine: Engine, con: Any, session: Session) -> None:
    """End *session*, but not *con*, nor its use of *engine*, while there are relations of it."""
    weakref.finalize(con, reaper.submit, engine.release).atexit = False
    session.close()


def _release(engine: Engine, con: Any, session: Session) -> None:
    """Close what a connection held."""
    with ExitStack() as stack:  # each of these, whatever another one raises
        stack.callback(engine.release)
        stack.callback(con.close)
        stack.callback(session.close)


def _text(query: Any) -> Any:
    """The text of *query*, which may be a `Statement` of DuckDB's `extract_statements`."""
    if not isinstance(query, (str, duckdb.Statement)):
        raise StatementError(
            f"a statement is a text or a duckdb.Statement, not {type(query).__name__}"
        )
    return query.query if isinstance(query, duckdb.Statement) else query


def _scope(namespace: Mapping[str, Any] | None, frame: Any) -> Scope:
    if namespace is not None:
        return Scope(globals=dict(namespace))
    return Scope(globals=frame.f_globals, locals=frame.f_locals)
