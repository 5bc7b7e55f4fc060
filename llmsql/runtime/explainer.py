"""Running EXPLAIN and EXPLAIN ANALYZE of statements that call models, on one session.

Owns transactions and what comes out: DuckDB's rows and one of ours. The counting is `explain`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb

from llmsql.runtime.climber import Climber
from llmsql.runtime.collector import Collector, Mode
from llmsql.runtime.explain import AT_MOST, ESTIMATED, EXACT, Estimate, Query, explain
from llmsql.runtime.interrupts import roll_back
from llmsql.runtime.resolver import Resolver, Unsettled
from llmsql.syntax import tree, write
from llmsql.syntax.explained import Explained, is_recursive
from llmsql.syntax.raising import may_raise
from llmsql.syntax.relaxed import relaxed

if TYPE_CHECKING:
    from llmsql.runtime.scope import Scope
    from llmsql.runtime.session import Session
    from llmsql.syntax.rewrite import Plan

KEY = "model_calls"
NOT_COUNTED = (
    "not counted: the statement is a PIVOT, may be read only once, or fails while answers are "
    "unknown, or its rows may fail, which would end the transaction"
)
_HEADS = (
    "site", "call", "model", "inputs", "known", "calls", "tokens in", "tokens out", "seconds",
    "cost", "",
)  # fmt: skip
_CERTAIN = (EXACT, AT_MOST, ESTIMATED)
_MADE = ("made", "read", "written", "paid")
_TOOK = ("calls_made", "tokens_read", "tokens_written", "spent")  # as in llm_estimates()


class Explainer:
    """One EXPLAIN on its way."""

    def __init__(self, session: Session, parameters: Any, scope: Scope) -> None:
        self.session = session
        self.scope = scope
        self.execute: Callable[[str], Any] = partial(
            session.native, parameters=parameters, scope=scope
        )

    def show(self, sql: str, explained: Explained, collector: Collector) -> None:
        """Let the rows of *sql* be the pending result."""
        rows = self.run(sql, explained, collector)
        places = ", ".join("(?, ?)" for _ in rows)
        self.session.con.execute(
            f"SELECT * FROM (VALUES {places}) AS plan(explain_key, explain_value)",
            [value for row in rows for value in row],
        )

    def run(self, sql: str, explained: Explained, collector: Collector) -> list[tuple[str, str]]:
        """The rows of *sql*, an EXPLAIN; nothing is asked unless it is to be analyzed."""
        collector.is_tracking = explained.is_analyzed  # what is only looked up is not used
        self.session.drops_result = True
        rows = [] if explained.is_analyzed else self._planned(sql, collector)
        estimates, query = self._estimates(explained, collector)
        self.session.conditions.explained = estimates or []
        if explained.is_analyzed:
            collector.account.tallies = {}
            rows = self._analyzed(sql, explained, query, collector)
            estimates = _with_spent(estimates, collector)
            self.session.conditions.explained = estimates or []
        return [*rows, (KEY, _shown(estimates, explained))]

    def _planned(self, sql: str, collector: Collector) -> list[tuple[str, str]]:
        """DuckDB's rows of *sql*; none where it cannot plan before it knows answers."""
        is_own = not self.session.in_transaction()
        collector.begin(Mode.COLLECT)  # nothing of it is asked
        try:
            return list(self.execute(sql).fetchall())
        except duckdb.Error:
            if not is_own or not collector.has_met_unknown:
                raise
            collector.error = None
            with suppress(duckdb.Error):  # DuckDB 1.5 leaves the transaction of a PIVOT behind
                self.session.con.execute("ROLLBACK")
            return []

    def _estimates(
        self, explained: Explained, collector: Collector
    ) -> tuple[list[Estimate] | None, Query | None]:
        """What the statement would ask; None where that cannot be counted."""
        try:
            resolver = self._resolver(collector)
            query = self._query(explained.statement, resolver)
            is_own = not self.session.in_transaction()
            if not is_own and self._may_raise(query.plan, resolver):
                raise Unsettled
            run = partial(self._rolled_back, resolver.discard) if is_own else resolver.discard
            return explain(query, collector, run, may_fail=is_own), query
        except (Unsettled, duckdb.Error):
            return None, None

    def _may_raise(self, plan: Plan, resolver: Resolver) -> bool:
        """True where counting may end the user's transaction."""
        statement = plan.statement or tree.parse(plan.text)
        found = resolver.explain(plan.text, plan.never_raises, may_fail=False, asks=False)
        return (
            statement is None
            or found is None
            or may_raise(statement, found, plan.is_costly, plan.definitions)
        )

    def _resolver(self, collector: Collector) -> Resolver:
        session = self.session
        return Resolver(session.con, collector, self.execute, session.engine.orders)

    def _query(self, statement: str, resolver: Resolver) -> Query:
        """The query that *statement* reads by; raises Unsettled where it may be read only once."""
        found = write.read(statement)
        if found is not None and self.session.exists(found):
            raise Unsettled
        text = found.query if found is not None else statement
        planned = self._plan(text, resolver)
        loosened = relaxed(text, planned.is_costly, planned.definitions)
        loose = self._plan(loosened, resolver) if loosened else None
        return Query(statement, planned, loose, found, is_recursive(text))

    def _plan(self, text: str, resolver: Resolver) -> Plan:
        may_fail = not self.session.in_transaction()
        explain = partial(resolver.explain, may_fail=may_fail, asks=False)
        return self.session.plan(text, self.scope, explain, tags_all=True)

    def _rolled_back(self, run: Callable[[str], Any], text: str) -> None:
        """Run *text* in a transaction that leaves nothing, not even where it fails."""
        con = self.session.con
        con.execute("BEGIN TRANSACTION")
        try:
            run(text)
        finally:
            roll_back(con)

    def _analyzed(
        self, sql: str, explained: Explained, query: Query | None, collector: Collector
    ) -> list[tuple[str, str]]:
        """Settle the statement's query, then let DuckDB run and measure it as it was settled."""
        is_own = not self.session.in_transaction()
        if query is None or not (is_own or query.plan.never_raises):
            collector.begin(Mode.SPOT)
            return list(self.execute(sql).fetchall())
        resolver = self._resolver(collector)
        is_limited, settled = False, query.plan
        climber = self.session.climber = Climber(resolver)
        with resolver.transaction(is_own=is_own):
            with suppress(Unsettled):
                settled = climber.settle(query.plan, query.plan.text)
                is_limited = query.write is None and query.plan.limit is not None
            # Behind a LIMIT not all is known, nor need be: DuckDB looks further than it must.
            collector.begin(Mode.MUTE if is_limited else Mode.SPOT)
            return list(self.execute(explained.head + replace(query, plan=settled).text).fetchall())


def _with_spent(estimates: list[Estimate] | None, collector: Collector) -> list[Estimate] | None:
    """*estimates* with what each call has cost in the meantime."""
    tallies = collector.account.tallies or {}
    return estimates and [
        replace(e, spent=tallies.get((e.answers, e.site - 1 if e.site else -1))) for e in estimates
    ]


def _shown(estimates: Sequence[Estimate] | None, explained: Explained) -> str:
    if explained.is_json:
        values = partial(_values, is_analyzed=explained.is_analyzed)
        return json.dumps(list(map(values, estimates)) if estimates is not None else None)
    if estimates is None:
        return f"model calls: {NOT_COUNTED}\n"
    heads = [*_HEADS, *(_MADE if explained.is_analyzed else ())]
    rows = [_row(estimate, explained.is_analyzed) for estimate in estimates]
    rows.append(_sum(estimates, explained.is_analyzed))
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    ]
    return "model calls\n" + "\n".join(lines) + "\n"


def _values(estimate: Estimate, is_analyzed: bool) -> dict[str, Any]:
    names = [name for name in Estimate.__dataclass_fields__ if name not in ("answers", "spent")]
    made = dict(zip(_TOOK, _took(estimate), strict=True)) if is_analyzed else {}
    return {name: getattr(estimate, name) for name in names} | made


def _row(estimate: Estimate, is_analyzed: bool) -> list[str]:
    call = estimate.call if len(estimate.call) <= 40 else estimate.call[:39] + "…"
    cells = [
        _number(estimate.site),
        call,
        estimate.model,
        _number(estimate.inputs),
        _number(estimate.known),
        _number(estimate.calls),
        _tokens(estimate.input_tokens, is_counted=estimate.is_counted),
        _tokens(estimate.output_tokens),
        _number(estimate.seconds),
        _number(estimate.cost),
        _precision(estimate.precision),
    ]
    return cells + (_made(estimate) if is_analyzed else [])


def _made(estimate: Estimate) -> list[str]:
    return [_number(number) for number in _took(estimate)]


def _took(estimate: Estimate) -> tuple[float | None, ...]:
    """Calls, tokens read and written, and money: what happened."""
    spent = estimate.spent
    if spent is None:
        return 0, 0, 0, None if estimate.cost is None else 0
    return spent.calls, spent.input_tokens, spent.output_tokens, spent.cost


def _sum(estimates: Sequence[Estimate], is_analyzed: bool) -> list[str]:
    """The last line, as certain as the least certain of what it adds up."""
    asking = [estimate for estimate in estimates if estimate.calls]

    def total(name: str) -> float | None:
        return _together([getattr(estimate, name) for estimate in asking])

    cells = [
        "",
        "in all",
        "",
        _number(sum(estimate.inputs for estimate in estimates)),
        _number(sum(estimate.known for estimate in estimates)),
        _number(total("calls")),
        _tokens(total("input_tokens"), is_counted=all(e.is_counted for e in asking)),
        _tokens(total("output_tokens"), is_counted=not asking),
        _number(total("seconds")),
        _number(total("cost")),
        _precision(max((e.precision for e in estimates), key=_CERTAIN.index, default=EXACT)),
    ]
    if not is_analyzed:
        return cells
    columns = ([_took(estimate)[at] for estimate in estimates] for at in range(len(_MADE)))
    return cells + [_number(_together(column)) for column in columns]


def _together(values: Sequence[float | None]) -> float | None:
    """The sum; None where one of *values* is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _tokens(value: float | None, *, is_counted: bool = False) -> str:
    """A number of tokens, marked where nobody counted them."""
    if value is None:
        return "NULL"
    return ("" if is_counted else "~") + _number(round(value))


def _precision(precision: str) -> str:
    return "" if precision == EXACT else precision


def _number(value: float | None) -> str:
    """A number as one reads it; NULL for what nobody knows, never 0."""
    if value is None:
        return "NULL"
    if value == 0 or value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2g}" if value < 1 else f"{value:.2f}"
