"""The joins of a FROM clause, and the conditions they join by."""

from __future__ import annotations

from llmsql.syntax import tree
from llmsql.syntax.conditions import conjuncts
from llmsql.syntax.tree import Node


def is_key(part: Node) -> bool:
    """True for an equality whose two sides both read columns: the join may hash on it."""
    return part.get("type") == "COMPARE_EQUAL" and all(
        tree.column_references(part[side]) for side in ("left", "right")
    )


def links(select: Node) -> list[Node]:
    """The equalities in WHERE that link *select*, a subquery, to a table of the query around it."""
    if select.get("type") != "SELECT_NODE":
        return []
    own = {str(_table_name(source)).lower() for source in _sources(select["from_table"])}
    return [
        part
        for part in conjuncts(select["where_clause"])
        if is_key(part)
        and any(
            len(reference["column_names"]) > 1 and reference["column_names"][-2].lower() not in own
            for reference in tree.column_references(part)
        )
    ]


def within(source: Node | None) -> list[Node]:
    """The joins of a FROM clause, outermost first."""
    if not source or source.get("type") != "JOIN":
        return []
    return [source, *within(source["left"]), *within(source["right"])]


def conditions(source: Node | None) -> list[Node]:
    """The conditions of a tree of inner joins; none where one is not inner, or has no words."""
    found: list[Node] = []
    for join in within(source):
        if join["join_type"] != "INNER" or join["ref_type"] not in ("REGULAR", "CROSS"):
            return []
        if join["using_columns"]:
            pairs = _using_conditions(join)
            if pairs is None:
                return []
            found += pairs
        found += conjuncts(join["condition"])
    return found


def _sources(source: Node) -> list[Node]:
    """What is joined in a FROM clause."""
    if source.get("type") != "JOIN":
        return [source]
    return _sources(source["left"]) + _sources(source["right"])


def _using_conditions(join: Node) -> list[Node] | None:
    """What USING (…) says, spelled out; None where a side has no name to spell it with."""
    names = [_table_name(join[side]) for side in ("left", "right")]
    if None in names:
        return None
    found = []
    for column in join["using_columns"]:
        condition = tree.expression("a.b = c.d")
        for side, name in zip(("left", "right"), names, strict=True):
            condition[side]["column_names"] = [name, column]
        found.append(condition)
    return found


def _table_name(source: Node) -> str | None:
    if source.get("alias"):
        return str(source["alias"])
    return str(source["table_name"]) if source.get("type") == "BASE_TABLE" else None
