"""Queries inside a statement whose rows are DuckDB's to choose, so that the next run has others.

A LIMIT takes what comes first out of a hash table, a join or rows that sort alike, DISTINCT ON one
row of each, row_number() numbers ties: threads decide which. Such a query can be read once, and
what it gave put in its place. Only those that call no model are found.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmsql.syntax import quote, tree
from llmsql.syntax.conditions import Test, filtering, has_subquery, is_inside
from llmsql.syntax.sets import Definitions
from llmsql.syntax.tree import Node

PARAMETERS = "llmsql_parameters"
KEPT = "llmsql_kept"
"""The key of a query of a view, which DuckDB's printer does not know and leaves out."""
_DECIDED_WINDOWS = frozenset(
    {"WINDOW_RANK", "WINDOW_RANK_DENSE", "WINDOW_PERCENT_RANK", "WINDOW_CUME_DIST",
     "WINDOW_AGGREGATE"}
)  # fmt: skip
_IN_ORDER = frozenset({"BASE_TABLE", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY"})
_ALL = (1 << 63) - 1
_ONLY_LIMIT = (["LIMIT_MODIFIER"], ["LIMIT_PERCENT_MODIFIER"])


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
        tables = content["cte_map"]["map"]
        content["cte_map"]["map"] = [*_reading(self.parameters), *self.scope, *tables]
        made["statements"][0]["node"] = content
        return tree.show(made)

    def stand_in(self, table: str, names: Sequence[str]) -> None:
        """Let *table*, whose columns are c0, c1 and so on, stand in its place, in the statement.

        Behind a LIMIT of more rows than there are, as conditions are not moved into the table then:
        they are evaluated in the order they had behind the query.
        """
        items = ", ".join(f"c{n} AS {quote.identifier(name)}" for n, name in enumerate(names))
        made = tree.parse(f"SELECT {items} FROM {table} LIMIT {_ALL}")
        assert made, names
        query = tree.body(made)
        query["cte_map"]["map"] = _reading(self.parameters)
        self.node.clear()
        self.node.update(query)


def find(
    statement: Node, is_costly: Test, definitions: Definitions = lambda name: []
) -> list[Undecided]:
    """The undecided queries of *statement* that call no model, those before which others read.

    So are views, whose query *definitions* gives; in place, they become queries of all that is in
    them. DuckDB wants all parameters that it is given used: each query reads all.
    """
    finder = _Finder(is_costly, definitions, tree.parameters(statement))
    return list(finder.walk(tree.body(statement), []))


def decide_alone(found: Sequence[Undecided], statement: Node, is_costly: Test) -> bool:
    """True where nothing but their rows decides what *statement* asks about, of those *found*.

    By a join or a subquery DuckDB infers filters from what it knows of a query, and does not of a
    table. What the outermost SELECT list asks comes behind all conditions; those of several queries
    DuckDB may move to other places.
    """
    query = tree.body(statement)
    inside = {id(node) for each in found for node in tree.nodes(each.node)}
    others = [node for node in tree.nodes(query) if id(node) not in inside]
    if any(node.get("type") == "JOIN" or node.get("class") == "SUBQUERY" for node in others):
        return False
    before = [query[part] for part in query if part != "select_list"]
    asks_last = not is_inside({"": before}, is_costly)
    return asks_last or sum(id(each) not in inside for each in filtering(query)) < 2


def chooses(query: Node) -> bool:
    """True for a query whose own clauses leave to DuckDB which rows it gives."""
    return _ends(query) or (query["type"] == "SELECT_NODE" and _keeps_by_ties(query))


def _ends(query: Node) -> bool:
    """True for what no filter is moved into, as it would keep other rows."""
    kinds = {modifier["type"]: modifier for modifier in query["modifiers"]}
    if kinds.get("DISTINCT_MODIFIER", {}).get("distinct_on_targets"):
        return True
    return any("LIMIT" in kind for kind in kinds) and not _is_in_order(query)


def _is_undecided(query: Node) -> bool:
    """True for what `chooses`, and for a query that only numbers rows."""
    return chooses(query) or is_inside({"": query.get("select_list")}, _is_of_ties)


def _keeps_by_ties(select: Node) -> bool:
    """True where a filter may read windows that tell apart rows which sort alike."""
    if select["qualify"] and is_inside(
        {"": [select["qualify"], select["select_list"]]}, _is_of_ties
    ):
        return True
    source = select["from_table"]
    is_one = source["type"] == "SUBQUERY" and not source.get("sample")
    return is_one and _is_undecided(source["subquery"]["node"])


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


@dataclass(frozen=True)
class _Finder:
    """One search for undecided queries that call no model."""

    is_costly: Test
    definitions: Definitions
    parameters: list[Node]

    def walk(self, item: Any, scope: list[Node]) -> Iterator[Undecided]:
        """Those inside *item* with the common tables in sight, those first that they read.

        Left alone is what feeds itself, and what has a common table of a name that one around it
        has, too: others may read that one.
        """
        if isinstance(item, list):
            for part in item:
                yield from self.walk(part, scope)
        if not isinstance(item, dict) or item.get("type") == "RECURSIVE_CTE_NODE":
            return
        if item.get("type") == "BASE_TABLE" and self._is_found_in_view(item, scope):
            _query_view(item)
        if "modifiers" not in item:
            yield from self.walk(list(item.values()), scope)
        elif not _names(scope).isdisjoint(_names(item["cte_map"]["map"])):
            return
        elif self._is_found(item):
            yield Undecided(item, scope, self.parameters)
        else:
            yield from self._inside(item, scope)

    def _inside(self, query: Node, scope: list[Node]) -> Iterator[Undecided]:
        for entry in query["cte_map"]["map"]:
            yield from self.walk(entry["value"], scope)
            if not is_inside(entry, self.is_costly):
                scope = [*scope, entry]
        parts = [value for key, value in query.items() if key != "cte_map"]
        yield from self.walk(parts, scope)

    def _is_found_in_view(self, table: Node, scope: list[Node]) -> bool:
        name = table["table_name"].lower()
        if name in _names(scope) or self.is_costly(table):
            return False
        return any(self._is_found(tree.body(each)) for each in self.definitions(name))

    def _is_found(self, query: Node) -> bool:
        return (_is_undecided(query) or KEPT in query) and not is_inside(query, self.is_costly)


def _names(tables: Sequence[Node]) -> set[str]:
    return {entry["key"].lower() for entry in tables}


def _query_view(table: Node) -> None:
    """Make of *table*, a view in a FROM, a query of it."""
    made = tree.parse("SELECT * FROM (SELECT * FROM a) AS a")
    assert made
    source = tree.body(made)["from_table"]
    read = {**copy.deepcopy(table), "alias": "", "column_name_alias": []}
    source["subquery"]["node"] |= {"from_table": read, KEPT: True}
    source["alias"] = table.get("alias") or table["table_name"]
    source["column_name_alias"] = table["column_name_alias"]
    table.clear()
    table.update(source)


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
