"""One connection's statements: which call models, how each is run, what it says afterwards.

Every statement of the connection gets a token in a session variable; temporary macros that shadow
the model functions pass it on, so that a function knows whose statement it is called from.
"""

from __future__ import annotations

import re
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import duckdb

from llmsql.errors import warn
from llmsql.runtime.collector import Collector, Mode
from llmsql.runtime.engine import Engine, SqlFunction
from llmsql.runtime.reach import Catalog, explore
from llmsql.runtime.resolver import Resolver, Unsettled
from llmsql.syntax import tree, write
from llmsql.syntax.ranks import TAG, VARIABLE
from llmsql.syntax.rewrite import Plan, plan

WRITES = frozenset({"INSERT", "CREATE", "COPY", "UPDATE", "DELETE"})
KEEPS_VALUES = frozenset({"UPDATE", "MERGE_INTO", "MERGE"})  # a NULL would destroy one
_CALL = compile("__llmsql_call__()", "<llmsql>", "eval")


@dataclass(frozen=True)
class Scope:
    """The variables a statement may read as tables: the caller's, as for DuckDB itself."""

    globals: dict[str, Any] = field(default_factory=dict)
    locals: dict[str, Any] = field(default_factory=dict)

    def call(self, function: Callable[[], Any]) -> Any:
        """Call *function* so that DuckDB finds these variables in the calling frame."""
        return eval(_CALL, self.globals, {**self.locals, "__llmsql_call__": function})

    def variables(self) -> dict[str, Any]:
        return {**self.globals, **self.locals}


class Session:
    """The running of statements on one DuckDB connection."""

    def __init__(self, con: Any, engine: Engine) -> None:
        self.con = con
        self.engine = engine
        self.on_error: str | None = None
        self.max_noted: int | None = None
        self.once: set[str] = set()
        self.macros: frozenset[str] = frozenset()  # of the library: they reach models
        self.collector: Collector | None = None
        self._version = -1
        self._is_streaming = False
        self._shadows: set[str] = set()

    def execute(self, sql: str, parameters: Any, scope: Scope) -> None:
        """Run one DuckDB statement; its result is then pending on the connection."""
        self.finish()
        self.sync()
        if not self.calls_models(sql):
            self._native(sql, parameters, scope)
        else:
            self._run(sql, parameters, scope)
        if re.search(r"\b(rollback|abort)\b", sql, re.IGNORECASE):
            self._version = -1

    def calls_models(self, sql: str) -> bool:
        """True when *sql* reaches a model: by name, or through views and macros."""
        names = _identifiers(sql)
        if names & self.engine.model_names:
            return True
        if not names & self.macros and not any(True for _ in self.engine.deployments):
            return False
        try:
            catalog = Catalog(self.con, sql, self.engine.model_names)
        except duckdb.Error:  # an aborted transaction, say: DuckDB will say what is wrong
            return False
        return catalog.reaches_models(names)

    def sync(self) -> None:
        """Make this connection's shadows those of the functions that exist now."""
        if self._version == self.engine.version:
            return
        functions = list(self.engine.functions.values())
        try:
            for name in self._shadows - {function.name for function in functions}:
                self.con.execute(f'DROP MACRO IF EXISTS temp.main."{name}"')
            for function in functions:
                self.con.execute(_shadow(function))
        except duckdb.Error:  # an aborted transaction: its rollback brings us back here
            return
        self._shadows = {function.name for function in functions}
        self._version = self.engine.version

    def forget_shadows(self) -> None:
        """Make the shadows again at the next statement: a rollback may have taken them."""
        self._version = -1

    def drop_shadows(self) -> None:
        """Take the shadows away, until the next statement."""
        for name in self._shadows:
            self.con.execute(f'DROP MACRO IF EXISTS temp.main."{name}"')
        self._shadows = set()
        self._version = -1

    def in_transaction(self) -> bool:
        """True inside a transaction that the user began."""
        ids = [self.con.execute("SELECT txid_current()").fetchone()[0] for _ in range(2)]
        return bool(ids[0] == ids[1])

    def finish(self, *, is_failed: bool = False) -> None:
        """End the statement before: say what it has to say unless it failed, forget its token."""
        collector, self.collector = self.collector, None
        if collector is None:
            return
        self.engine.collectors.pop(collector.token, None)
        if not self.engine.collectors:
            for deployment in self.engine.deployments:
                deployment.shrink()
        if not is_failed:
            self.warn(collector)

    def warn(self, collector: Collector) -> None:
        """Warn, once, of rows that failed and of answers that were cut."""
        counts, collector.counts = collector.counts, type(collector.counts)()
        if counts.failed:
            warn(
                f"{counts.failed} of {counts.computed} model calls failed and gave NULL; "
                f"the first: {counts.first_error}"
            )
        if counts.cut:
            warn(
                f"{counts.cut} of {counts.computed} answers were cut at max_tokens; "
                "a call takes more with {'max_tokens': …}"
            )

    def raised(self, error: duckdb.Error) -> BaseException:
        """The exception that a model function raised, if that is why DuckDB raised *error*."""
        original = self.collector.error if self.collector else None
        return original if original is not None else error

    def _run(self, sql: str, parameters: Any, scope: Scope) -> None:
        kind = _kind(sql)
        collector = self._begin(kind)
        try:
            with _interruptible(collector):
                if kind == "EXPLAIN" and not re.match(r"\s*explain\s+\(?analyze", sql, re.I):
                    collector.begin(Mode.MUTE)
                    self._native(sql, parameters, scope)
                elif kind == "CREATE" and re.search(r"\btrigger\b", sql, re.IGNORECASE):
                    self.drop_shadows()
                    self._native(sql, parameters, scope)
                else:
                    self._resolve(kind, sql, parameters, scope, collector)
        except duckdb.Error as error:
            original = self.raised(error)
            self.finish(is_failed=True)
            if original is error:
                raise
            raise original from error.__cause__
        except BaseException:
            self.finish(is_failed=True)
            raise
        if not self._is_streaming:
            self.finish()

    def _begin(self, kind: str) -> Collector:
        collector = Collector(
            on_error=self.on_error or ("raise" if kind in KEEPS_VALUES else "null")
        )
        if self.max_noted:
            collector.max_noted = self.max_noted
        self.engine.collectors[collector.token] = collector
        self.collector = collector
        self._is_streaming = False
        self.con.execute(f"SET VARIABLE {VARIABLE} = {collector.token}")
        return collector

    def _resolve(
        self, kind: str, sql: str, parameters: Any, scope: Scope, collector: Collector
    ) -> None:
        """Run in passes where that is allowed, else once, resolving on the spot."""
        execute = partial(self._native, parameters=parameters, scope=scope)
        resolver = Resolver(self.con, collector, execute)
        with suppress(Unsettled):
            if kind == "SELECT":
                return self._query(sql, scope, resolver)
            if kind in WRITES:
                return self._write(sql, scope, resolver)
        collector.error = None
        collector.begin(Mode.SPOT)
        self._is_streaming = True  # its functions may run while its rows are fetched
        execute(sql)
        return None

    def _query(self, sql: str, scope: Scope, resolver: Resolver) -> None:
        found = self._plan(sql, scope)
        in_transaction = self.in_transaction()
        if in_transaction and not found.never_raises:
            raise Unsettled
        with resolver.transaction(is_own=not in_transaction):
            resolver.settle(found, sql)
        self.con.execute(resolver.result_query())

    def _write(self, sql: str, scope: Scope, resolver: Resolver) -> None:
        found = write.read(sql)
        if found is None or self._exists(found):
            raise Unsettled
        planned = self._plan(found.query, scope)
        in_transaction = self.in_transaction()
        if in_transaction and not planned.never_raises:
            raise Unsettled
        statement = sql
        if planned.statement is not None and found.part != "none":
            statement = found.rebuilt(planned.statement)
        with resolver.transaction(is_own=not in_transaction):
            resolver.bind(statement)
            resolver.settle(planned, found.query)
            resolver.collector.begin(Mode.SPOT)
            resolver.execute(statement)
            rows = pending_table(self.con)
        Scope(locals={"llmsql_rows": rows}).call(
            partial(self.con.execute, "SELECT * FROM llmsql_rows")
        )

    def _plan(self, sql: str, scope: Scope) -> Plan:
        """Plan the query *sql*; raises Unsettled where it may be read only once."""
        statement = tree.parse(sql)
        if statement is None:
            raise Unsettled
        models = self.engine.model_names
        catalog = Catalog(self.con, sql, models)
        reach = explore(statement, catalog, self.once, scope.variables())
        found = plan(sql, models, reach.costly, catalog.trees) if reach.is_repeatable else None
        if found is None:
            raise Unsettled
        return found

    def _exists(self, found: write.Write) -> bool:
        """True when CREATE TABLE AS finds its table there, and so will not run its SELECT."""
        if not found.target or found.replaces:
            return False
        name = found.target.rsplit(".", 1)[-1].strip().strip('"')
        rows = self.con.execute(
            "SELECT count(*) FROM (SELECT table_name AS n FROM duckdb_tables()"
            " UNION ALL SELECT view_name FROM duckdb_views()) WHERE lower(n) = lower(?)",
            [name],
        )
        return bool(rows.fetchone()[0])

    def _native(self, sql: str, parameters: Any, scope: Scope) -> Any:
        arguments = (sql,) if parameters is None else (sql, parameters)
        return scope.call(partial(self.con.execute, *arguments))


def pending_table(con: Any) -> Any:
    """The pending result as an Arrow table."""
    with warnings.catch_warnings():
        # DuckDB 2.0 advises its users to take relations; for a result that is there it is too late.
        warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)
        return con.to_arrow_table()


def _kind(sql: str) -> str:
    """DuckDB's name for the statement's type; empty where it does not parse."""
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error:
        return ""
    return statements[0].type.name if statements else ""


def _identifiers(sql: str) -> set[str]:
    return {word.lower() for word in re.findall(r"\w+", sql)}


def _shadow(function: SqlFunction) -> str:
    """The temporary macro that adds the statement's token to the arguments of *function*."""
    overloads = []
    for signature in function.signatures:
        names = ", ".join(f'"{name}"' for name in signature)
        tag = f"{{'{TAG}': getvariable('{VARIABLE}')}}"
        overloads.append(f'({names}) AS system.main."{function.name}"({names}, {tag})')
    return f'CREATE OR REPLACE TEMP MACRO "{function.name}"' + ", ".join(overloads)


@contextmanager
def _interruptible(collector: Collector) -> Iterator[None]:
    """Let Ctrl-C reach functions that wait in DuckDB's threads: tell the collector first."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def handler(number: int, frame: Any) -> None:
        collector.cancelled.set()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
