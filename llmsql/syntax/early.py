"""Whether DuckDB may end a query before its model calls have seen all rows, read off its plan.

A LIMIT stops what it reads from, and so does a join whose other side turns out to be empty, which
is open only where that side asks too. A pass in which answers are unknown lets no row through, and
so would not come to that end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from llmsql.syntax.ranks import TAG
from llmsql.syntax.tree import Node

_ENDINGS = frozenset({"LIMIT", "STREAMING_LIMIT", "LIMITED_DISTINCT", "TOP_N"})
_KEEPING = frozenset({"LEFT", "ANTI", "MARK", "SINGLE", "OUTER", "FULL", "RIGHT_ANTI"})
"""Joins that give rows also where the side that is read first is empty."""

_WHOLE = ("AGGREGATE", "GROUP_BY", "ORDER_BY", "TOP_N", "WINDOW", "LIMIT_PERCENT")
"""In the names of what reads all rows before it gives any."""


def may_end_early(plan: Sequence[Node]) -> bool:
    """True when something in *plan*, one of EXPLAIN (FORMAT JSON), may stop a model's calls."""
    return any(
        any(map(_asks, _stoppable(operator))) for root in plan for operator in _operators(root)
    )


def _operators(operator: Node) -> Iterator[Node]:
    yield operator
    for child in operator["children"]:
        yield from _operators(child)


def _stoppable(operator: Node) -> list[Node]:
    """The children that *operator* may stop."""
    if _name(operator) in _ENDINGS:
        return list(operator["children"])
    is_join = len(operator["children"]) > 1 and _name(operator) not in ("CTE", "UNION")
    kind = (operator.get("extra_info") or {}).get("Join Type", "INNER")
    if not is_join or kind in _KEEPING:
        return []
    first, *others = operator["children"]
    return [first] if any(map(_is_open, others)) else []


def _is_open(side: Node) -> bool:
    """True when answers decide whether *side* has rows; what only computes columns does not."""
    while _name(side) == "PROJECTION":
        (side,) = side["children"]
    return any(map(_calls, _operators(side)))


def _asks(operator: Node) -> bool:
    """True when *operator*, or what it reads row by row, may call a model.

    A projection may show only the name of what it computes.
    """
    return _calls(operator) or any(map(_asks, _streamed(operator)))


def _calls(operator: Node) -> bool:
    details = operator.get("extra_info") or {}
    return f"'{TAG}': " in json.dumps(details) or _computes_names(operator, details)


def _computes_names(operator: Node, details: Node) -> bool:
    shown = details.get("Projections", []) if _name(operator) == "PROJECTION" else []
    return any(text.isidentifier() for text in ([shown] if isinstance(shown, str) else shown))


def _streamed(operator: Node) -> list[Node]:
    name, children = _name(operator), operator["children"]
    if any(part in name for part in _WHOLE) and "STREAMING" not in name:
        return []
    if name in ("CTE", "RECURSIVE_CTE"):
        return list(children[1:])
    return list(children) if name == "UNION" else list(children[:1])


def _name(operator: Node) -> str:
    return str(operator["name"]).strip()
