"""An INSERT that is run with many sets of parameters: its models get one set of inputs, not many.

Only where what is asked depends on the parameters alone: then passes over all sets tell it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb

from llmsql.runtime.collector import Collector, Mode
from llmsql.runtime.resolver import Resolver
from llmsql.syntax import tree
from llmsql.syntax.rewrite import Plan

_TABLES = ("BASE_TABLE", "TABLE_FUNCTION")


def asks_by_parameters(plan: Plan, query: str) -> bool:
    """True where *query*, planned as *plan*, asks models, and reads no table.

    So no set of parameters changes what is asked for the next one.
    """
    is_read = any(node.get("type") in _TABLES for node in tree.nodes(tree.parse(query)))
    return bool(plan.sites) and not (is_read or plan.plain or plan.is_at_once)


def ask(resolver: Resolver, collector: Collector, plan: Plan, run: Callable[[str], Any]) -> None:
    """Compute all that *run* asks for with the text of *plan*; another run tells what fails."""
    passes = plan.sites + 1
    while passes > 0:
        collector.begin(Mode.COLLECT)
        try:
            run(plan.text)
        except duckdb.Error:
            collector.error = None
            return
        if not (noted := collector.lowest()):
            return
        passes -= not collector.is_full
        resolver.compute(noted)
