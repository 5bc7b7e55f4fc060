"""Queries inside a statement whose rows are DuckDB's to choose, so that the next run has others.

A LIMIT takes what comes first out of a hash table, a join or rows that sort alike, DISTINCT ON one
row of each, row_number() numbers ties: threads decide which. Such a query can be read once, and
what it gave put in its place. Only those that call no model are found.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmsql.syntax import quote, tree
from llmsql.syntax.conditions import Test, has_subquery, is_inside
from llmsql.syntax.tree import Node

PARAMETERS = "llmsql_parameters"
_DECIDED_WINDOWS = frozenset(
    {"WINDOW_RANK", "WINDOW_RANK_DENSE", "WINDOW_PERCENT_RANK", "WINDOW_CUME_DIST",
     "WINDOW_AGGREGATE"}
)  # fmt: skip
_IN_ORDER = frozenset({"BASE_TABLE", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY"})
_ONLY_LIMIT = (["LIMIT_MODIFIER"], ["LIMIT_PERCENT_MODIFIER"])
_MAY_HAVE = re.compile(r"\b(limit|fetch|on|over)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Undecided:
    """A query inside a statement, with the common tables in its sight."""

    node: Node = field(repr=False)
    scope: list[Node] = field(repr=False)
    parameters: list[Node] = field(repr=False)

    @property
    def text(self) -> str:
        """What it is when it stands alone; with what now stands in for others that it reads."""
        made = tree.parse("SELECT 1")
        assert made
        content = copy.deepcopy(self.node)
        own = content["cte_map"]["map"]
        names = {entry["key"] for entry in own}
        others = [entry for entry in self.scope if entry["key"] not in names]
        content["cte_map"]["map"] = [*_reading(self.parameters), *others, *own]
        made["statements"][0]["node"] = content
        return tree.show(made)

    def stand_in(self, table: str, names: Sequence[str]) -> None:
        """Let *table*, whose columns are c0, c1 and so on, stand in its place, in the statement."""
        items = ", ".join(f"c{n} AS {quote.identifier(name)}" for n, name in enumerate(names))
        made = tree.parse(f"SELECT {items} FROM {table}")
        assert made, names
        query = tree.body(made)
        query["cte_map"]["map"] = _reading(self.parameters)
        self.node.clear()
        self.node.update(query)


def find(statement: Node, is_costly: Test) -> list[Undecided]:
    """The undecided queries of *statement* that call no model, those before which others read.

    With each parameter of the statement in each of them: DuckDB wants all that it is given used.
    """
    parameters = _parameters(statement)
    found = _walk(tree.body(statement), [], is_costly)
    return [Undecided(node, scope, parameters) for node, scope in found]


def may_be_in(sql: str) -> bool:
    """False where the text *sql* has none of the words that make a query undecided."""
    return bool(_MAY_HAVE.search(sql))


def is_undecided(query: Node) -> bool:
    """True for a query whose own clauses leave to DuckDB which rows it gives, or their numbers."""
    kinds = {modifier["type"]: modifier for modifier in query["modifiers"]}
    if kinds.get("DISTINCT_MODIFIER", {}).get("distinct_on_targets"):
        return True
    if query["type"] == "SELECT_NODE" and _numbers_ties(query):
        return True
    return any("LIMIT" in kind for kind in kinds) and not _is_in_order(query)


def _numbers_ties(select: Node) -> bool:
    """True for windows that tell apart rows that sort alike; also where only a filter follows."""
    parts = [select["select_list"], select["qualify"]]
    if any(map(_is_of_ties, tree.nodes(parts))):
        return True
    source = select["from_table"]
    is_one = source["type"] == "SUBQUERY" and not source.get("sample")
    inner = source["subquery"]["node"] if is_one else {}
    return inner.get("type") == "SELECT_NODE" and _numbers_ties(inner)


def _is_of_ties(node: Node) -> bool:
    if node.get("class") != "WINDOW":
        return False
    counts_rows = any(str(node.get(end)).endswith("_ROWS") for end in ("start", "end"))
    return counts_rows or node["type"] not in _DECIDED_WINDOWS


def _is_in_order(query: Node) -> bool:
    """True for a query of one table as it is, filtered perhaps: DuckDB keeps the order of that."""
    return (
        query["type"] == "SELECT_NODE"
        and query["from_table"]["type"] in _IN_ORDER
        and [modifier["type"] for modifier in query["modifiers"]] in _ONLY_LIMIT
        and query["aggregate_handling"] == "STANDARD_HANDLING"
        and not any(query[part] for part in ("group_expressions", "having", "qualify"))
        and not has_subquery(query)
    )


def _walk(item: Any, scope: list[Node], is_costly: Test) -> Iterator[tuple[Node, list[Node]]]:
    """Undecided queries inside *item* with the common tables in sight, those first that they read.

    What feeds itself is left alone.
    """
    if isinstance(item, list):
        for part in item:
            yield from _walk(part, scope, is_costly)
    elif isinstance(item, dict) and item.get("type") != "RECURSIVE_CTE_NODE":
        if "modifiers" in item and is_undecided(item) and not is_inside(item, is_costly):
            yield item, scope
            return
        for entry in (item.get("cte_map") or {}).get("map", ()):
            yield from _walk(entry["value"], scope, is_costly)
            if not is_inside(entry, is_costly):
                scope = [*(each for each in scope if each["key"] != entry["key"]), entry]
        for key, value in item.items():
            if key != "cte_map":
                yield from _walk(value, scope, is_costly)


def _parameters(statement: Node) -> list[Node]:
    found = {
        node["identifier"]: node
        for node in tree.nodes(statement)
        if node.get("class") == "PARAMETER"
    }
    return [found[name] for name in sorted(found)]


def _reading(parameters: list[Node]) -> list[Node]:
    """A common table that reads *parameters*, and that nothing reads."""
    if not parameters:
        return []
    made = tree.parse(f"WITH {PARAMETERS} AS (SELECT 1) SELECT 1")
    assert made
    (entry,) = tree.body(made)["cte_map"]["map"]
    select = next(n for n in tree.nodes(entry) if n.get("type") == "SELECT_NODE")
    select["select_list"] = copy.deepcopy(parameters)
    return [entry]
