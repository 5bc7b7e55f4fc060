"""One connection's statements: which call models, how each is run, what it says afterwards.

The session has a token in a session variable; temporary macros that shadow the model functions
pass it on, so that a function finds its collector, which is another for each statement.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import duckdb

from llmsql.config import Settings
from llmsql.errors import BackendError, CatalogError, GenerationError, LimitError
from llmsql.runtime import exports, lookup, outcome, together
from llmsql.runtime.account import Account
from llmsql.runtime.climber import Climber, sorting
from llmsql.runtime.collector import Collector, Mode
from llmsql.runtime.conditions import Conditions
from llmsql.runtime.definitions import ViewsAndMacros, identifiers
from llmsql.runtime.engine import Engine
from llmsql.runtime.explainer import Explainer
from llmsql.runtime.interrupts import interruptible
from llmsql.runtime.on_failure import Defaults, may_destroy
from llmsql.runtime.reach import explore, reaches_models
from llmsql.runtime.resolver import RESULT, Resolver, Unsettled
from llmsql.runtime.scope import Scope
from llmsql.runtime.shadows import shadows
from llmsql.syntax import explained, hints, prepared, quote, receivers, tree, write
from llmsql.syntax.kind import kind_of
from llmsql.syntax.ranks import VARIABLE, is_call
from llmsql.syntax.rewrite import Explain, Plan, plan

_tokens = itertools.count(1)
_OF_SHADOWS: tuple[list[str], ...] = ([], ["main"], ["temp"], ["temp", "main"])
_STACK = "\n\nAt:\n"  # DuckDB 1.5 puts Python's behind what a function raised
_ENDING = (BackendError, LimitError, GenerationError)
WRITES = frozenset({"INSERT", "CREATE", "COPY", "UPDATE", "DELETE"})


class Session:
    """The running of statements on one DuckDB connection."""

    def __init__(self, con: Any, engine: Engine, settings: Settings) -> None:
        self.con = con
        self.engine = engine
        self.settings = settings
        self.next_settings: Settings | None = None  # of the next statement that calls models only
        self.max_noted: int | None = None
        self.registered: dict[str, bool] = {}  # Python's objects: which can be read only once
        self.macros: dict[str, str] = {}  # of the library: they reach models; and their signatures
        self.token = next(_tokens)
        self.conditions = Conditions(engine.stores)
        self.change_settings(settings)
        self._changing = threading.RLock()  # the collector; a signal may interrupt from anywhere
        self.collector = self._collect(self._idle())
        self.rows_are_ours = False
        self.gives_rows = True
        self.result_query: str | None = None
        self.written_rows: int | None = None  # where a statement of ours counted them
        self._defaults = Defaults()
        self._version = -1
        self._made_in: int | None = None  # the user's transaction
        self._is_streaming = False
        self._is_unlogged = False  # a table was altered by models since the last checkpoint
        self.drops_result = False
        self.climber: Climber | None = None
        self._shadows: set[str] = set()

    def change_settings(self, settings: Settings) -> None:
        """Run statements with *settings* from now on."""
        self.settings = settings
        self.conditions = self.conditions.under(settings)

    def _idle(self) -> Collector:
        """What answers between statements: a relation that is read later may call models.

        It may also write, as its `update()` does, and nobody tells: a row that fails raises.
        """
        on_error = self.settings.on_error or "raise"
        return Collector(Account(self.conditions), on_error=on_error, is_idle=True)

    def execute(self, sql: str, parameters: Any, scope: Scope) -> None:
        """Run one DuckDB statement; its result is then pending on the connection."""
        self.clear()
        written, sql = sql, self.engine.spelled_out(sql)
        self.sync()
        if not self.calls_models(sql):
            self._plain(sql, parameters, scope)
        else:
            self._run(sql, parameters, scope, written)
        if self._is_unlogged and kind_of(sql) in ("ALTER", "TRANSACTION"):
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Write down what models changed: DuckDB's log would have them run as it is opened again.

        There are none yet then, and the file could not be opened.
        """
        with suppress(duckdb.Error):  # somebody else writes just now
            if not self.in_transaction():
                self.con.execute("CHECKPOINT")
                self._is_unlogged = False

    def _plain(self, sql: str, parameters: Any, scope: Scope) -> None:
        # A macro with the name of one of DuckDB's functions may yet call a model.
        collector, before = self.collector, self.collector.on_error
        if not self.settings.on_error:
            collector.on_error = "raise" if may_destroy(sql) else "null"
        try:
            self.native(sql, parameters, scope)
            if exports.is_export(sql):
                exports.clean(sql)
        except duckdb.InvalidInputException as error:
            _, found, said = str(error).partition("executing the UDF: CatalogError: ")
            if found:  # the function of a model that was removed
                raise CatalogError(said.partition(_STACK)[0]) from error
            original = self.raised(error)
            if original is error:
                raise
            raise original from error.__cause__
        finally:
            collector.on_error = before

    def calls_models(self, sql: str) -> bool:
        """True when *sql* reaches a model: by name, or through views and macros."""
        names = identifiers(sql)
        if names & self.engine.model_names:
            return True
        if "execute" in names and prepared.executed(sql) in self._defaults.prepared:
            return True
        if not names & self.macros.keys() and not any(True for _ in self.engine.deployments):
            return False
        try:
            catalog = self._catalog(sql)
        except duckdb.Error:  # an aborted transaction, say: DuckDB will say what is wrong
            return False
        return reaches_models(catalog, names)

    def sync(self) -> None:
        """Make this connection's shadows those of the functions that exist now.

        What was made in a transaction of the user's is made again after it, as its end, whichever
        it was, may have taken it back. Functions that came since it began it does not see, and an
        error would end it.
        """
        if self._version == self.engine.version and self._made_in is None:
            return
        try:
            within = lookup.transaction(self.con)
        except duckdb.Error:  # an aborted transaction: its rollback brings us back here
            return
        if self._version == self.engine.version and self._made_in == within:
            return
        known = None if within is None else lookup.functions(self.con)
        wanted, unseen = dict[str, str](), dict[str, str]()
        for function in self.engine.shadowed():
            native = self.engine.native_name(function)
            is_seen = known is None or native.lower() in known
            (wanted if is_seen else unseen).update(shadows(function, native))
        try:
            self.con.execute(f"SET VARIABLE {VARIABLE} = {self.token}")
            for name in self._shadows - wanted.keys() - unseen.keys():
                self.con.execute(f'DROP MACRO IF EXISTS temp.main."{name}"')
            for text in wanted.values():
                self.con.execute(text)
        except duckdb.Error:
            return
        self._shadows = set(wanted) | (self._shadows & unseen.keys())
        self._version, self._made_in = self.engine.version, within

    def drop_shadows(self) -> None:
        """Take the shadows away, until the next statement."""
        for name in self._shadows:
            self.con.execute(f'DROP MACRO IF EXISTS temp.main."{name}"')
        self._shadows = set()
        self._version = -1

    def in_transaction(self) -> bool:
        """True inside a transaction that the user began."""
        return lookup.in_transaction(self.con)

    def finish(self, error: BaseException | None = None) -> None:
        """End the running statement: write it down, and say what it has to say unless it failed."""
        collector = self.collector
        self._collect(self._idle())
        if self.climber:
            self.climber.resolver.release()
        for deployment in self.engine.deployments:
            deployment.shrink()
        state = outcome.state(collector, error)
        collector.settle_account(state, error)
        if error is None:
            outcome.warn_of(collector)
            return
        is_said = self.settings.on_error or collector.is_idle or collector.on_error != "raise"
        if isinstance(error, GenerationError) and not is_said:
            outcome.say_what_else(error)
        if state == "interrupted" or isinstance(error, _ENDING):
            outcome.say_how_to_go_on(error, collector)

    def clear(self) -> None:
        """Forget the statement before, its rows too: another one begins."""
        self.finish()
        self.rows_are_ours, self.gives_rows, self.result_query = False, True, None
        self.written_rows = None
        if self.climber:
            self.climber.forget()
            self.climber = None
        if self.drops_result:
            self.drops_result = False
            with suppress(duckdb.Error):  # an aborted transaction takes them along
                self.con.execute(f"DROP TABLE IF EXISTS temp.main.{RESULT}")

    def interrupt(self) -> None:
        """Stop what runs, from another thread; what runs next is not stopped."""
        with self._changing:
            collector = self.collector
            if collector.is_idle:
                self._collect(self._idle())
            collector.cancelled.set()
        self.con.interrupt()

    def close(self) -> None:
        """End the last statement, and answer no function any more."""
        self.engine.collectors.pop(self.token, None)
        self.collector.settle_account(outcome.state(self.collector, None))
        outcome.warn_of(self.collector)
        self.climber = None  # it runs statements by us, and would keep us

    def raised(self, error: BaseException) -> BaseException:
        """The exception that Ctrl-C or a model function raised, if DuckDB raised *error* for it."""
        if self.collector.is_signalled:
            return KeyboardInterrupt()
        original = self.collector.error
        # DuckDB's other threads stop where one fails, and one of them may speak first.
        is_stopped = isinstance(error, duckdb.InterruptException)
        is_stopped = is_stopped and not self.collector.cancelled.is_set()
        is_told = original is not None and (is_stopped or str(original) in str(error))
        return original if original is not None and is_told else error

    def insert_many(self, sql: str, sets: Sequence[Any], scope: Scope) -> bool:
        """Run the INSERT *sql* with each of *sets*, its models asked together.

        Returns False, and has done nothing, where one set may change what is asked for another.
        """
        written, sql = sql, self.engine.spelled_out(sql)
        self.sync()
        if kind_of(sql) != "INSERT" or not (found := write.read(sql)):
            return False
        sql = write.with_names(sql, self._is_call)
        try:
            plan = self.plan(found.query, scope, lambda sql, never_raises: None)
        except (Unsettled, duckdb.Error):
            return False
        is_safe = plan.never_raises or not self.in_transaction()
        if not (
            is_safe and together.asks_by_parameters(plan, found.query, self.engine.model_names)
        ):
            return False
        self.clear()
        with self._running("INSERT", sql, written) as collector:
            first = partial(self.native, parameters=sets[0], scope=scope)
            resolver = Resolver(self.con, collector, first, self.engine.orders)
            run = partial(together.each, self.con, sets, scope)
            with suppress(Unsettled):  # the statement's own run says what is wrong
                resolver.bind(sql)
                together.ask(resolver, collector, plan, run)
            collector.begin(Mode.SPOT)
            run(sql)
        return True

    def _run(self, sql: str, parameters: Any, scope: Scope, written: str) -> None:
        kind = kind_of(sql)
        self._refuse_what_breaks(kind, sql)
        with self._running(kind, sql, written) as collector:
            if kind == "EXPLAIN" and (about := explained.read(sql)):
                Explainer(self, parameters, scope).show(sql, about, collector)
            elif kind == "CREATE" and write.makes_trigger(sql):
                self.drop_shadows()
                self.native(sql, parameters, scope)
            else:
                self._resolve(kind, sql, parameters, scope, collector)

    @contextmanager
    def _running(self, kind: str, sql: str, written: str) -> Iterator[Collector]:
        """Begin a statement, whose functions ask what is yielded, and end it as it ends."""
        collector = self._begin(kind, sql, written)
        try:
            with interruptible(collector):
                yield collector
        except (duckdb.Error, RuntimeError) as error:  # RuntimeError: Ctrl-C, in DuckDB's words
            original = self.raised(error)
            self.finish(original)
            if original is error:
                raise
            raise original from error.__cause__
        except BaseException as error:
            self.finish(error)
            raise
        if not self._is_streaming:
            self.finish()

    def _begin(self, kind: str, sql: str, written: str) -> Collector:
        settings = self.next_settings or self.settings
        if kind != "EXPLAIN":  # which shows what they will do
            self.next_settings = None
        on_error = settings.on_error or self._defaults.on_error(kind, sql, self._catalog)
        account = Account(self.conditions.under(settings), kind, written)
        collector = Collector(account, on_error=on_error)
        if self.max_noted:
            collector.max_noted = self.max_noted
        self._is_streaming = False
        return self._collect(collector)

    def _collect(self, collector: Collector) -> Collector:
        """Let *collector* be who the functions called from this connection ask."""
        with self._changing:
            self.collector = self.engine.collectors[self.token] = collector
        return collector

    def _refuse_what_breaks(self, kind: str, sql: str) -> None:
        """Refuse an index, a macro that a model's name hides, and to drop the function of a model.

        That is a shadow of it, which would go on without caps and records.
        """
        if kind == "CREATE" and write.is_index(sql):
            raise CatalogError(
                "an index cannot ask models: the table could not be written to any more\n"
                "  keep the answers in a column, and index that"
            )
        path = write.macro(sql) if kind in ("CREATE", "DROP") else []
        name = path[-1] if path else ""
        is_elsewhere = kind == "DROP" and path[:-1] not in _OF_SHADOWS
        if name in self.engine.functions and not is_elsewhere:
            remove = f"!llm model remove {name}"
            what = (
                f"{remove} takes it away" if kind == "DROP" else f"choose another name, or {remove}"
            )
            raise CatalogError(f'"{name}" is the function of a model\n  {what}')
        if name in self.macros:
            self.macros[name] = ""  # its defaults are no longer the library's

    def _resolve(
        self, kind: str, sql: str, parameters: Any, scope: Scope, collector: Collector
    ) -> None:
        """Run in passes where that is allowed, else once, resolving on the spot."""
        if kind in WRITES:
            sql = write.with_names(sql, self._is_call)
        execute = partial(self.native, parameters=parameters, scope=scope)
        resolver = Resolver(self.con, collector, execute, self.engine.orders)
        with suppress(Unsettled):
            if kind == "SELECT":
                return self._query(sql, scope, resolver)
            if kind in WRITES:
                return self._write(sql, scope, resolver)
        collector.error = None
        # DuckDB computes constants while it plans, also where it wants no rows.
        collector.begin(Mode.MUTE if write.takes_no_rows(sql) else Mode.SPOT)
        self._is_streaming = True  # its functions may run while its rows are fetched
        execute(sql)
        self._is_unlogged |= kind == "ALTER"
        return None

    def _query(self, sql: str, scope: Scope, resolver: Resolver) -> None:
        climber = self.climber = Climber(resolver)
        in_transaction = self.in_transaction()
        found = self.plan(sql, scope, partial(resolver.explain, may_fail=not in_transaction))
        if in_transaction and not found.never_raises:
            raise Unsettled
        keeps_order = self._keeps_order()
        self.drops_result = True
        with resolver.transaction(is_own=not in_transaction):
            climber.settle(found if keeps_order else replace(found, limit=None, ladder=None), sql)
        if not keeps_order:  # rows came into the table in any order: with all known, ask once more
            raise Unsettled
        self.result_query = resolver.result_query()
        self.con.execute(self.result_query)

    def kept_result(self) -> str:
        """Keep the last result until the connection closes; returns the query over it."""
        assert self.result_query, "there is a result"
        kept = f"{RESULT}_{next(_tokens)}"
        self.con.execute(f"ALTER TABLE temp.main.{RESULT} RENAME TO {kept}")
        self.drops_result = False
        return self.result_query.replace(RESULT, kept)

    def _keeps_order(self) -> bool:
        row = self.con.execute("SELECT current_setting('preserve_insertion_order')").fetchall()
        return bool(row[0][0])

    def _write(self, sql: str, scope: Scope, resolver: Resolver) -> None:
        found = write.read(sql)
        if found is None or self.exists(found):
            raise Unsettled
        in_transaction = self.in_transaction()
        explain = partial(resolver.explain, may_fail=not in_transaction)
        planned = self.plan(found.query, scope, explain)
        if in_transaction and not planned.never_raises:
            raise Unsettled
        statement = _rebuilt(found, planned, sql)
        returns_rows = write.returns_rows(sql)
        self.drops_result, resolver.keeps_rows = True, False
        resolver.reads_as_planned = found.part == "query"
        climber = self.climber = Climber(resolver)
        with resolver.transaction(is_own=not in_transaction):
            resolver.bind(statement)
            settled = climber.settle(planned, found.query)
            statement = _rebuilt(found, settled, sql)
            resolver.collector.begin(Mode.SPOT)
            if not returns_rows:
                resolver.execute(statement)
                count = (self.con.fetchall() or [(0,)])[0][0]
        if returns_rows:  # they must outlive the transaction, in DuckDB's own types
            resolver.execute(statement)
        else:
            self.written_rows = int(count)
            self._show_count(f"SELECT {self.written_rows}::BIGINT AS Count")
            self.rows_are_ours, self.gives_rows = True, False

    def _show_count(self, query: str) -> None:
        """Let the row of *query* be the result of what has been committed: it is not undone now."""
        try:
            self.con.execute(query)
        except (duckdb.InterruptException, RuntimeError, KeyboardInterrupt):
            self.con.execute(query)

    def _catalog(self, sql: str) -> ViewsAndMacros:
        return ViewsAndMacros(self.con, sql, self.engine.model_names, self.macros)

    def _is_call(self, node: tree.Node) -> bool:
        """True for a model's call."""
        return is_call(node, self.engine.model_names)

    def plan(
        self,
        sql: str,
        scope: Scope,
        explain: Explain,
        *,
        tags_all: bool = False,
    ) -> Plan:
        """Plan the query *sql*; raises Unsettled where it may be read only once.

        *explain* gives DuckDB's plan of a query.
        """
        models = self.engine.model_names
        try:
            statement = tree.parse(sql)
            if statement is None:
                raise Unsettled
            if receivers.spell_out(statement, partial(lookup.schemas, self.con)):
                if not hints.restore(statement, sql):
                    raise Unsettled
                sql = tree.show(statement)
            catalog = self._catalog(sql)
            reach = explore(statement, catalog, self.registered, scope.variables())
            found = None
            if reach.is_repeatable:
                found = plan(
                    sql, models, reach.costly, catalog.trees, explain,
                    macros=catalog.macro, tags_all=tags_all, sorting=partial(sorting, self.con),
                )  # fmt: skip
        except RecursionError:  # an expression of hundreds of levels
            raise Unsettled from None
        if found is None:
            raise Unsettled
        return replace(found, sites=max(found.sites, reach.sites))

    def exists(self, found: write.Write) -> bool:
        """True when CREATE TABLE AS finds its table there, and so will not run its SELECT."""
        if not found.target or found.replaces:
            return False
        return lookup.has_table(self.con, quote.names(found.target))

    def native(self, sql: str, parameters: Any, scope: Scope) -> Any:
        """Let DuckDB run *sql* as it is, with the caller's variables."""
        arguments = (sql,) if parameters is None else (sql, parameters)
        return scope.call(partial(self.con.execute, *arguments))


def _rebuilt(found: write.Write, planned: Plan, sql: str) -> str:
    """The statement *sql*, that writes what *found* says, with its query as it is *planned*."""
    if planned.statement is None or found.part == "none":
        return sql
    return found.rebuilt(planned.statement)
