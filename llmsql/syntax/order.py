"""In which order DuckDB evaluates a statement's model calls, read off its plan.

DuckDB sorts conditions by a cost of its own, merges those of several clauses, and moves them into
scans and under joins. What came of it only its plan tells: calls are known in it by their tags.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

from llmsql.syntax.tree import Node

Detail = str | list[Any]
"""What an operator says of itself under one key: one text, or several."""

Key = TypeVar("Key", bound=Hashable)
_CALL = re.compile(r"'rank': -?\d+, 'site': (\d+)")
_COMPARISON = re.compile(r" (?:=|!=|<|>|<=|>=|IS (?:NOT )?DISTINCT FROM) ")
_AND = re.compile(r" AND ")
_CONDITIONS = ("Conditions", "Condition", "Expression")
_IN_ORDER = ("CTE", "RECURSIVE_CTE")
_ANY_ORDER = ("UNION",)


def steps(plan: list[Node], named: Mapping[str, list[int]]) -> dict[int, int]:
    """The step at which each call, by its number, is first evaluated by *plan*.

    The plan is one that EXPLAIN (FORMAT JSON) gives; it shows a column by its name alone, and
    *named* are the calls in a column of that name. Calls of one step are evaluated side by side,
    for the same rows.
    """
    reading = _Reading(named)
    for operator in plan:
        reading.visit(operator, 0)
    return reading.found


def contradict(one: Mapping[Key, int], other: Mapping[Key, int]) -> bool:
    """True when of some two calls the earlier one is the later in the *other* order."""
    shared = sorted(one.keys() & other.keys(), key=one.__getitem__)
    return any(
        one[first] < one[second] and other[first] > other[second]
        for place, first in enumerate(shared)
        for second in shared[place + 1 :]
    )


class _Reading:
    """One walk over a plan, in the order in which it runs."""

    def __init__(self, named: Mapping[str, list[int]]) -> None:
        self.named = named
        self.found: dict[int, int] = {}

    def visit(self, operator: Node, step: int) -> int:
        """Note what *operator* evaluates from *step* on; returns the first step after it."""
        details = dict(operator.get("extra_info") or {})
        step = self._children(operator, details, step)
        step = self._one_by_one(_as_run(details.pop("Filters", [])), step)
        for key in _CONDITIONS:
            step = self._one_by_one(details.pop(key, []), step)
        beside = [*_numbers(list(details.values())), *self._columns(details)]
        new = [number for number in beside if number not in self.found]
        self.found.update(dict.fromkeys(new, step))
        return step + bool(new)

    def _children(self, operator: Node, details: Node, step: int) -> int:
        name, children = operator["name"].strip(), operator["children"]
        if name in _ANY_ORDER:
            return max((self.visit(child, step) for child in children), default=step)
        if len(children) > 1 and name not in _IN_ORDER:
            # A join has built the table of its last child before it reads the others.
            step = self.visit(children[-1], step)
            step = self._one_by_one(_built_keys(details.get("Conditions", [])), step)
            children = children[:-1]
        for child in children:
            step = self.visit(child, step)
        return step

    def _one_by_one(self, detail: Detail, step: int) -> int:
        """Give each new call in a condition a step of its own; returns the first one after them."""
        for number in _numbers(detail):
            if number not in self.found:
                self.found[number] = step
                step += 1
        return step

    def _columns(self, details: Node) -> list[int]:
        """The calls in the columns that an operator computes."""
        columns = _texts(details.get("Projections", []))
        return [number for name in columns for number in self.named.get(name, ())]


def _numbers(detail: Detail) -> list[int]:
    """The calls in a part of a plan, in the order in which DuckDB gets to them."""
    return [int(number) for text in _texts(detail) for number in _CALL.findall(text)]


def _texts(detail: Detail) -> list[str]:
    """The texts of *detail*; details of several keys may stand in one list."""
    if isinstance(detail, str):
        return [detail]
    return [text for each in detail for text in _texts(each)]


def _built_keys(conditions: Detail) -> list[str]:
    """What a join compares on the side of the table that it builds: each condition's second."""
    return [text[end:] for text in _texts(conditions) for end in _ends(text, _COMPARISON)[:1]]


def _as_run(filters: Detail) -> list[str]:
    """The filters of a scan, one for each column, in the order in which it begins with them.

    That is by DuckDB's estimate, in which every expression costs the same.
    """

    def cost(text: str) -> int:
        starts = [0, *_ends(text, _AND)]
        parts = [text[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
        return sum(1000 if "(" in part else 5 for part in parts) + 5 * (len(parts) > 1)

    return sorted(_texts(filters), key=cost)


def _ends(text: str, joint: re.Pattern[str]) -> list[int]:
    """Where each *joint* of *text* ends that stands in no brackets."""
    found = joint.finditer(text)
    return [
        m.end() for m in found if text.count("(", 0, m.start()) == text.count(")", 0, m.start())
    ]
