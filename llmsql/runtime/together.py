"""An INSERT that is run with many sets of parameters: its models get one set of inputs, not many.

Only where what is asked depends on the parameters alone: then passes over all sets tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import duckdb

from llmsql.runtime.collector import Collector, Mode
from llmsql.runtime.resolver import Resolver
from llmsql.runtime.scope import Scope
from llmsql.syntax import tree
from llmsql.syntax.rewrite import Plan

_ELSEWHERE = ("COLUMN_REF", "SUBQUERY", "WINDOW")


def asks_by_parameters(plan: Plan, query: str, models: frozenset[str]) -> bool:
    """True where *query*, planned as *plan*, asks *models*, and by its parameters alone.

    So no set of parameters changes what is asked for the next one, nor does the time.
    """
    statement = tree.parse(query)
    depends = any(
        node.get("class") in _ELSEWHERE
        or node.get("type") in ("BASE_TABLE", "TABLE_FUNCTION")
        or (tree.is_function(node) and tree.function_name(node) not in models | tree.scalars())
        for node in tree.nodes(statement)
    )
    return bool(plan.sites) and not (depends or plan.plain or plan.is_at_once)


def each(con: Any, sets: Sequence[Any], scope: Scope, sql: str) -> None:
    """Run *sql* on *con* with each of *sets*, and the caller's variables."""
    scope.call(partial(con.executemany, sql, sets))


def ask(resolver: Resolver, collector: Collector, plan: Plan, run: Callable[[str], Any]) -> None:
    """Compute all that *run* asks for with the text of *plan*; another run tells what fails."""
    passes = plan.sites + 1
    while passes > 0:
        collector.begin(Mode.COLLECT)
        try:
            run(plan.text)
            resolver.con.fetchall()  # rows of ours, that nobody is to fetch
        except duckdb.Error:
            collector.error = None
            return
        if not (noted := collector.lowest()):
            return
        passes -= not collector.is_full
        resolver.compute(noted)
