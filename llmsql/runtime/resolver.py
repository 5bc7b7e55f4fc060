"""The pass loop: run a query until no model call in it is unknown, and compute between passes.

Owns passes, their number and their transaction. What a pass notes is the collector's, how it is
computed the scheduler's. A query that cannot be settled this way raises Unsettled; the caller then
runs the original statement, which is always right: its functions resolve on the spot.
"""

from __future__ import annotations

import json
import re
import secrets
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

import duckdb

from llmsql.errors import LlmsqlError
from llmsql.runtime import scheduler
from llmsql.runtime.answers import Answers
from llmsql.runtime.collector import Collector, Mode
from llmsql.runtime.deployments import Deployment, Retired
from llmsql.runtime.interrupts import roll_back
from llmsql.runtime.kept_rows import KeptRows
from llmsql.runtime.orders import Orders
from llmsql.runtime.run import Sites
from llmsql.syntax import order, quote
from llmsql.syntax.early import (
    asked_in_turn,
    asks_on_both_sides,
    asks_twice,
    has_own_order,
    may_end_early,
)
from llmsql.syntax.rewrite import Plan
from llmsql.syntax.tree import Node

if TYPE_CHECKING:
    from llmsql.runtime.collector import Noted

RESULT = f"llmsql_result_{secrets.token_hex(4)}"
MOST_AT_A_LIMIT = 1024
"""Asked in passes for a LIMIT; from then on no more than some rows at a time."""

_MOST_PLANS = 8


class Unsettled(Exception):
    """The query is to be run as it was written."""


class Resolver:
    """Settles the queries of one statement on one DuckDB connection."""

    def __init__(
        self, con: Any, collector: Collector, execute: Callable[[str], Any], orders: Orders
    ) -> None:
        self.con = con
        self.collector = collector
        self.orders = orders
        self.execute = execute  # runs the user's text with his parameters and his variables
        self.columns: list[tuple[str, str]] = []
        self.in_own_transaction = False
        self.keeps_rows = True  # else they are only asked about, for a statement that writes
        self.reads_as_planned = True  # else the statement's own text has the last word
        this = weakref.proxy(self)  # a circle would keep the connection until it is collected
        self.kept = KeptRows(
            con, lambda sql: this.describe(sql), lambda sql: this.read_once(sql), Unsettled
        )
        self._may_stop = True
        self._can_stop: dict[str, bool] = {}

    @contextmanager
    def transaction(self, is_own: bool) -> Iterator[None]:
        """All passes of a statement share one: `now()` and other writers stand still."""
        self.in_own_transaction = is_own
        try:
            if is_own:
                self.con.execute("BEGIN TRANSACTION")
            yield
            if is_own:
                self.con.execute("COMMIT")
        except BaseException:
            if is_own:
                roll_back(self.con)
            raise

    def release(self) -> None:
        """Let go of the caller's variables: the statement has ended, its tables are still there."""
        self.execute = self.con.execute

    def read_once(self, statement: str) -> None:
        """Run *statement*, which keeps rows that no model was seen to have a say in.

        Raises Unsettled where one has that is unknown: something hides it.
        """
        before = self.collector.unknowns
        self.execute(statement)
        if self.collector.unknowns > before:
            raise Unsettled

    def bind(self, statement: str) -> None:
        """Raise Unsettled unless DuckDB can plan *statement*; nothing is run, no model asked."""
        self.collector.begin(Mode.MUTE)
        try:
            self.execute(f"EXPLAIN {statement}").fetchall()
        except duckdb.Error as error:
            has_ended_the_users = isinstance(error, duckdb.TransactionException)
            if has_ended_the_users and not self.in_own_transaction:
                raise
            self.restart()
            raise Unsettled from error

    def explain(
        self, sql: str, never_raises: bool, *, may_fail: bool, asks: bool = True
    ) -> list[Node] | None:
        """DuckDB's plan of the query *sql*; None where there is none to be had.

        A call that reads no column is made while DuckDB plans, and its answer decides what is
        planned: so it is computed, where this *asks*. In the user's transaction nothing *may_fail*.
        """
        for _ in range(_MOST_PLANS if may_fail or never_raises else 0):
            self.collector.begin(Mode.COLLECT if asks else Mode.MUTE)
            try:
                ((_, plan),) = self.execute(f"EXPLAIN (FORMAT JSON) {sql}\n").fetchall()
            except duckdb.Error:
                self.collector.error = None
                return None
            if not self.collector.noted:
                found: list[Node] = json.loads(plan)
                return found
            self._resolve(self.collector.lowest())
        return None

    def with_kept_rows(self, plan: Plan) -> Plan:
        """*plan* with what DuckDB is to choose chosen now, where that may be tried.

        Raises Unsettled where it may not, as each pass would choose others, and where conditions
        would come in another order then.
        """
        if plan.is_at_once:
            return plan
        if not (self.in_own_transaction and self.reads_as_planned):
            if self.kept.is_wanted(plan):
                raise Unsettled
            return plan
        self.collector.begin(Mode.MUTE)
        try:
            found = self.kept.in_place(plan)
            if found is not plan and plan.asks_several and not self._filters_alike(plan, found):
                raise Unsettled
            return found
        except duckdb.Error:  # for a row that the statement may not come to
            self.kept.forget()
            self.restart()
            return plan

    def settle(self, plan: Plan, sql: str, *, may_stop: bool = True) -> Plan:
        """Leave the rows of *sql*, planned as *plan*, in the temp table RESULT.

        Returns the plan by which that was done, *plan* or its plain one. Unless it *may_stop*
        early, DuckDB is not asked whether it would.
        """
        self.columns = self.describe(sql)
        self._may_stop = may_stop
        if plan.statement is not None:
            self.describe(plan.text)
        if plan.limit is not None:
            return self._settle_limit(plan)
        return self._settle(plan)

    def discard(self, text: str) -> None:
        """Run the query *text* in the mode that was begun, and keep none of its rows."""
        mode = self.collector.mode
        columns = self.describe(text)
        error = self._pass(text, len(columns), mode)
        if error is not None:
            raise error

    def result_query(self) -> str:
        """The query over RESULT that gives the rows their names back."""
        items = ", ".join(
            f"c{index} AS {quote.identifier(name)}" for index, (name, _) in enumerate(self.columns)
        )
        return f"SELECT {items} FROM temp.main.{RESULT}"

    def _settle(self, plan: Plan) -> Plan:
        if plan.is_at_once:
            return self._run_at_once(plan)
        plain, passes = plan.plain, plan.sites + 2
        passes *= 2 if plain else 1
        while passes > 0:
            error = self._pass(plan.text, len(self.columns), Mode.COLLECT)
            if not self.collector.has_met_unknown:
                if error is not None:
                    self._give_up(error)
                return plan
            if error is not None:
                self.restart()  # before anything else is asked of DuckDB
                if self._may_want_vectors(plan):
                    self.collector.has_vectors = True
                    continue
            passes -= not self.collector.is_full
            if self.collector.decide(self.orders):  # what else was noted may be of a placeholder
                continue
            if self._may_ask_less(plan):
                return self._run_at_once(plain or plan)
            noted = self.collector.lowest()
            if plain and noted:
                found = self._needed_by_both(noted, plain, is_last=self._is_last(plan))
                if isinstance(found, Plan):
                    return found
                noted = found
            if not noted:
                break
            self.compute(noted)
        raise Unsettled

    def _is_last(self, plan: Plan) -> bool:
        """True when no call of *plan* can wait for what was noted."""
        if not plan.is_ordered or plan.last_rank is None:
            return False
        return self.collector.lowest_rank() >= plan.last_rank

    def _needed_by_both(self, noted: Noted, plain: Plan, *, is_last: bool) -> Noted | Plan:
        """What *plain* needs, too, of what another plan of the query has *noted*.

        *plain* itself where it needs nothing, its rows are the result. So never more is asked than
        it needs, and less where one of the two is settled before. Where they want nothing alike, it
        decides, unless what was noted *is_last*, and less than it needs now.
        """
        self.collector.is_tracking = False
        error = self._pass(plain.text, len(self.columns), Mode.COLLECT)
        if error is not None:
            self.restart()
            return noted
        if not self.collector.has_met_unknown:
            return plain
        if self._may_ask_less(plain):
            return self._run_at_once(plain)
        wanted = self.collector.lowest()
        both = {
            group: {key: site for key, site in keys.items() if key in wanted.get(group, ())}
            for group, keys in noted.items()
        }
        both = {group: keys for group, keys in both.items() if keys}
        is_enough = is_last and _count(noted) <= _count(wanted)
        return both or (noted if is_enough else wanted or noted)

    def _settle_limit(self, plan: Plan) -> Plan:
        """Let passes see ever more unknown rows until LIMIT rows stand before the first of them."""
        budget = self.collector.limit
        budget.where_rank = plan.where_rank if plan.is_tagged else _ALL_RANKS
        budget.sees_all = not plan.hides
        budget.double()
        while budget.total <= MOST_AT_A_LIMIT:
            error = self._pass(plan.limited_text, len(self.columns) + 1, Mode.LIMIT)
            if error is not None:
                self._give_up(error)
            if budget.is_hopeless:
                return self._settle(plan)
            if not self.collector.has_met_unknown:
                return plan
            if self.collector.decide_where(self.orders):
                continue
            behind = self.collector.behind_where()
            if self.rows() == plan.limit:
                if self.collector.decide(self.orders):
                    continue
                if not behind:
                    return plan
                self.compute(behind)
            elif where := self.collector.in_where():
                self.compute(where)
                budget.double()
            elif not self.collector.decide(self.orders):
                self.compute(behind)
        return self._run_at_once(plan)

    def _may_want_vectors(self, plan: Plan) -> bool:
        """True when the pass may have failed because DuckDB's lists take no vector that is NULL.

        What waits for one is of a higher rank, and is not asked before it is known.
        """
        asked = [deployment for deployment, _ in self.collector.lowest()]
        is_new = plan.is_ordered and not self.collector.has_vectors
        return is_new and any(each.any_vector() is not None for each in asked)

    def _may_ask_less(self, plan: Plan) -> bool:
        """True when *plan*, which has just run, may need less than it noted.

        DuckDB may stop it before all rows are asked about, or one call wait for another unseen.
        What a function met first is needed in any case.
        """
        is_of_many = self.collector.is_of_many(at_any_rank=not plan.is_ordered)
        if not (is_of_many and self._may_stop):
            return False
        if plan.text not in self._can_stop:
            self._can_stop[plan.text] = not plan.is_ordered or self._is_needed_in_part(plan)
        return self._can_stop[plan.text]

    def _is_needed_in_part(self, plan: Plan) -> bool:
        found = self._plan_again(plan.text)
        is_shared = plan.is_shared and asks_on_both_sides(found)
        return is_shared or may_end_early(found) or asks_twice(found) or has_own_order(found)

    def _filters_alike(self, plan: Plan, other: Plan) -> bool:
        """True when DuckDB asks by the same conditions, in the same order, in both."""
        one, another = map(self._plan_again, (plan.text, other.text))
        return asked_in_turn(one) == asked_in_turn(another)

    def turned(self, plan: Plan) -> int:
        """How many joins of *plan* DuckDB has turned round, with what it knows now."""
        return order.turned(self._plan_again(plan.text))

    def _plan_again(self, text: str) -> list[Node]:
        """DuckDB's plan of *text*, with what this pass noted left as it is."""
        mode, self.collector.mode = self.collector.mode, Mode.MUTE
        try:
            ((_, plan),) = self.execute(f"EXPLAIN (FORMAT JSON) {text}\n").fetchall()
        finally:
            self.collector.mode = mode
        found: list[Node] = json.loads(plan)
        return found

    def _run_at_once(self, plan: Plan) -> Plan:
        """Let the calls of *plan* compute what they meet, some rows at a time, until DuckDB ends.

        No function alone is asked about fewer rows. What writes will do so by itself.
        """
        if not self.keeps_rows:
            return plan
        self.collector.begin(Mode.SPOT)
        try:
            self._fill(plan.text, len(self.columns))
        except duckdb.Error as error:
            if self.collector.error is not None:
                raise
            self._give_up(error)
        return plan

    def _pass(self, text: str, width: int, mode: Mode) -> duckdb.Error | None:
        """Run *text* into RESULT; returns the error of a pass that failed on its own."""
        self.collector.begin(mode)
        try:
            self._fill(text, width)
        except duckdb.Error as error:
            original, self.collector.error = self.collector.error, None
            if original is not None and not isinstance(original, LlmsqlError):
                raise original from error
            return error  # one of ours may be about a placeholder: the last run will tell
        refused = self.collector.refused
        if refused and (mode is Mode.LIMIT or not self.collector.has_met_unknown):
            raise refused
        return None

    def _fill(self, text: str, width: int) -> None:
        names = ", ".join(f"c{index}" for index in range(width))
        self.execute(f"CREATE OR REPLACE TEMP TABLE {RESULT}({names}) AS {text}\n")

    def describe(self, sql: str) -> list[tuple[str, str]]:
        """The names and types of what *sql* gives; raises Unsettled where it does not bind."""
        self.collector.begin(Mode.MUTE)
        try:
            rows = self.execute(f"DESCRIBE {sql}\n").fetchall()
            described = [(row[0], row[1]) for row in rows]
            return self._spelled(described, sql) if _may_misspell(described, sql) else described
        except duckdb.Error as error:
            self.restart()
            raise Unsettled from error

    def _spelled(self, described: list[tuple[str, str]], sql: str) -> list[tuple[str, str]]:
        """*described* with the names as *sql* spells them: DESCRIBE has those of the columns."""
        self.execute(f"SELECT * FROM ({sql}\n) LIMIT 0")
        names = [column[0] for column in self.con.description]
        return [
            (spelled if spelled.lower() == name.lower() else name, kind)
            for spelled, (name, kind) in zip(names, described, strict=True)
        ]

    def compute(self, noted: Noted) -> None:
        """Compute what was noted; what a later pass finds known is no reuse then."""
        self.collector.is_tracking &= not noted
        self._resolve(noted)

    def _resolve(self, noted: Noted) -> None:
        scheduler.check_together(noted, self.collector)
        groups: dict[Deployment, dict[Answers, Sites]] = {}
        for (deployment, answers), keys in noted.items():
            groups.setdefault(deployment, {})[answers] = keys
        for deployment, asked in groups.items():
            with suppress(Retired):  # the next pass notes them for the model that serves now
                scheduler.resolve(deployment, asked, self.collector)

    def rows(self) -> int:
        """How many rows the last pass left."""
        row = self.con.execute(f"SELECT count(*) FROM temp.main.{RESULT}").fetchone()
        return int(row[0])

    def _give_up(self, error: duckdb.Error) -> NoReturn:
        """Leave the error to the original statement, unless it has ended the user's transaction."""
        if self.in_own_transaction:
            raise Unsettled from error
        raise error

    def restart(self) -> None:
        """Begin anew after an error, where the transaction is ours."""
        if self.in_own_transaction:
            roll_back(self.con)
            self.con.execute("BEGIN TRANSACTION")
            if not self.collector.cancelled.is_set():  # else the next pass is refused
                self.kept.make_again()


def _count(noted: Noted) -> int:
    return sum(map(len, noted.values()))


def _may_misspell(described: list[tuple[str, str]], sql: str) -> bool:
    """True where *sql* has a word that only its letters' case tells from a name of *described*.

    DuckDB 2.0 describes `SELECT id AS ID` as giving `id`, and gives `ID`.
    """
    names = {name.lower(): name for name, _ in described}
    return any(names.get(word.lower(), word) != word for word in re.findall(r"\w+", sql))


_ALL_RANKS = 1 << 30
