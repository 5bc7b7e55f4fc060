"""Whether DuckDB may end a query before its model calls have seen all rows, read off its plan.

A LIMIT stops what it reads from, and so does a join that finds its other side empty. A pass in
which answers decide about rows and are unknown lets none through, and so would not come to that
end. What only computes columns lets them through, known or not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from llmsql.syntax import tags
from llmsql.syntax.ranks import TAG
from llmsql.syntax.tree import Node

_ENDINGS = frozenset({"LIMIT", "STREAMING_LIMIT", "LIMITED_DISTINCT", "TOP_N"})
_KEEPING = frozenset({"LEFT", "ANTI", "MARK", "SINGLE", "OUTER", "FULL", "RIGHT_ANTI"})
"""Joins that give rows also where the side that is read first is empty."""

_WHOLE = ("AGGREGATE", "GROUP_BY", "ORDER_BY", "TOP_N", "WINDOW", "LIMIT_PERCENT")
"""In the names of what reads all rows before it gives any."""


_NOTHING = json.dumps(["", ""])
_EXPECTED = "Estimated Cardinality"
ROW_GROUP = 122_880
"""A Top-N skips whole ones of these, where it has enough better rows already."""


def may_end_early(plan: Sequence[Node]) -> bool:
    """True when something in *plan*, of EXPLAIN (FORMAT JSON), may stop the calls of a model."""
    stoppable = (
        _deciding(child)
        for root in plan
        for operator in _operators(root)
        for child in _stoppable(operator)
    )
    return any(map(_asks, stoppable))


def asks_on_both_sides(plan: Sequence[Node]) -> bool:
    """True when a join of *plan* may find nothing on one side by what models answer there.

    Where the calls of the other side are the same ones, they do not wait for it.
    """
    joins = (each["children"] for root in plan for each in _operators(root) if _is_join(each))
    return any(all(map(_has_calls, sides)) and any(map(_keeps_some, sides)) for sides in joins)


def asks_twice(plan: Sequence[Node]) -> bool:
    """True when a filter of *plan* asks what one below it asks, of some rows, and others between.

    DuckDB makes the one below of an OR's alternatives. Neither may wait for what is between.
    """
    return any(_is_asked_again(operator) for root in plan for operator in _operators(root))


def has_own_order(plan: Sequence[Node]) -> bool:
    """True when a filter of *plan* asks in another order than that of the ranks.

    DuckDB makes one filter of those of several queries.
    """
    return any(
        ranks != sorted(ranks)
        for root in plan
        for operator in _operators(root)
        if (ranks := tags.ranks(_shown(operator)))
    )


def asked_in_turn(plan: Sequence[Node]) -> list[list[int]]:
    """The sites of the calls by which the filters of *plan* keep rows, each in its order."""
    operators = (operator for root in plan for operator in _operators(root))
    return sorted(filter(None, map(_filtering, operators)))


def _is_asked_again(operator: Node) -> bool:
    mine = set(_filtering(operator))
    below = [each for each in _operators(operator) if each is not operator] if mine else []
    others = {site for _, site in tags.printed(json.dumps(below))} - mine
    return bool(others) and any(mine.intersection(_filtering(each)) for each in below)


def _filtering(operator: Node) -> list[int]:
    """The sites of the calls by which *operator* keeps rows, in its order."""
    return [site for _, site in tags.printed(_shown(operator))]


def _shown(operator: Node) -> str:
    """What *operator* keeps rows by, as DuckDB prints it."""
    details = operator.get("extra_info") or {}
    return json.dumps([details.get("Filters", ""), details.get("Expression", "")])


def _operators(operator: Node) -> Iterator[Node]:
    yield operator
    for child in operator["children"]:
        yield from _operators(child)


def _stoppable(operator: Node) -> list[Node]:
    """The children that *operator* may stop once it has got rows of them."""
    if _name(operator) == "TOP_N" and _most_rows(operator) <= ROW_GROUP:
        return []
    if _name(operator) in _ENDINGS:
        return list(operator["children"])
    if not _is_join(operator):
        return []
    first, other = operator["children"][0], _deciding(operator["children"][-1])
    is_one_row = _name(other) == "UNGROUPED_AGGREGATE"  # which a join by equality drops, if NULL
    has_rows = _is_whole_table(other) or (is_one_row and _name(operator) == "CROSS_PRODUCT")
    return [] if has_rows else [first]  # it looks at the other side at its first row


def _is_join(operator: Node) -> bool:
    """True for a join that gives nothing where one side is empty."""
    is_join = len(operator["children"]) > 1 and _name(operator) not in ("CTE", "UNION")
    return is_join and (operator.get("extra_info") or {}).get("Join Type", "INNER") not in _KEEPING


def _has_calls(operator: Node) -> bool:
    """True when *operator*, or anything it reads, may call a model: not what only reads results."""
    found = list(_operators(operator))
    is_of_results = all(_name(each) == "CTE_SCAN" for each in found if not each["children"])
    return not is_of_results and any(map(_calls, found))


def _keeps_some(operator: Node) -> bool:
    """True when *operator*, or anything it reads, keeps rows by what models may answer."""
    keeping = (each for each in _operators(operator) if _shown(each) != _NOTHING)
    return any(map(_has_calls, keeping))


def _is_whole_table(operator: Node) -> bool:
    """True for a table of which all rows are read, and which has some."""
    details = operator.get("extra_info") or {}
    return "Table" in details and "Filters" not in details and _most_rows(operator) > 0


def _most_rows(operator: Node) -> int:
    """How many rows DuckDB expects at most of anything in *operator*."""
    said = ((each.get("extra_info") or {}).get(_EXPECTED, 0) for each in _operators(operator))
    return max(int(rows) for rows in said)


def _deciding(operator: Node) -> Node:
    """What decides how many rows *operator* gives."""
    while _name(operator) == "PROJECTION":
        (operator,) = operator["children"]
    return operator


def _asks(operator: Node) -> bool:
    """True when *operator*, or what it reads row by row, may call a model."""
    return _calls(operator) or any(map(_asks, _streamed(operator)))


def _calls(operator: Node) -> bool:
    """True when *operator* may call a model: a projection may show only the name of a column."""
    details = operator.get("extra_info") or {}
    return f"'{TAG}': " in json.dumps(details) or _computes_names(operator, details)


def _computes_names(operator: Node, details: Node) -> bool:
    shown = details.get("Projections", []) if _name(operator) == "PROJECTION" else []
    return any(text.isidentifier() for text in ([shown] if isinstance(shown, str) else shown))


def _streamed(operator: Node) -> list[Node]:
    """The children whose rows *operator* takes one by one."""
    name, children = _name(operator), operator["children"]
    if any(part in name for part in _WHOLE) and "STREAMING" not in name:
        return []
    if name in ("CTE", "RECURSIVE_CTE"):
        return list(children[1:])
    return list(children) if name == "UNION" else list(children[:1])


def _name(operator: Node) -> str:
    return str(operator["name"]).strip()
