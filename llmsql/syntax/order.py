"""In which order DuckDB evaluates the model calls of a query, read off its plan.

DuckDB sorts conditions by a cost of its own, merges those of several clauses, and moves them into
scans and under joins. What came of it only its plan tells: calls are known in it by their tags.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate, islice
from typing import Any, NamedTuple

from llmsql.syntax import tags
from llmsql.syntax.tree import Node


class Call(NamedTuple):
    """What a call is known by; *scope* is the number of its SELECT, *branch* that of its branch.

    They are -1 where they were not numbered, or all rows come to it.
    """

    text: str
    is_filter: bool  # in WHERE or ON
    scope: int = -1
    branch: int = -1


_Pair = tuple[Call, Call]
_Pairs = dict[_Pair, None]
Detail = str | list[Any]
"""What an operator says of itself under one key: one text, or several."""

_COMPARISON = re.compile(r" (?:=|!=|<|>|<=|>=|IS (?:NOT )?DISTINCT FROM) ")
_JOINTS = {joint: re.compile(rf" {joint} ") for joint in ("AND", "OR")}
_NOT_EVALUATED = "optional: "  # a filter that only skips blocks
_IN_ORDER = ("CTE", "RECURSIVE_CTE")
_ANY_ORDER = ("UNION",)
_CUT = "EMPTY_RESULT"
_TURNED = ("RIGHT_SEMI", "RIGHT_ANTI")


@dataclass
class Order:
    """What a plan evaluates, and when.

    *pairs* are of calls of which the first is made before the other, in some branch of a UNION at
    least, *streams* of those through which the same rows go, the first before the other. *steps*
    are those at which each call is made; calls of one step are made side by side, or in two
    branches. Of those *named* the plan shows only a column's name. *places* are where in all
    conditions, one after the other, each call is first made. Of their parts, *parts* are
    the places of those with calls, by how deep they are and these calls. What comes before a call
    is in *before*, for each branch that makes it. Those *scanned* a table makes while it is read,
    before a join says which of its rows it wants. A plan that *is_cut* leaves out conditions that
    contradict one another, one that *is_torn* has branches that ask in different orders.
    """

    is_known: bool = True
    pairs: _Pairs = field(default_factory=dict)
    streams: set[_Pair] = field(default_factory=set)
    steps: dict[Call, int] = field(default_factory=dict)
    named: set[Call] = field(default_factory=set)
    places: dict[Call, int] = field(default_factory=dict)
    parts: dict[tuple[int, frozenset[Call]], list[int]] = field(default_factory=dict)
    before: dict[Call, list[_Path]] = field(default_factory=dict)
    scanned: set[Call] = field(default_factory=set)
    is_cut: bool = False
    is_torn: bool = False

    def found(self, calls: frozenset[Call], depth: int) -> tuple[int, ...]:
        """Where parts of an AND or OR with just these *calls* are evaluated; 0 if unknown.

        What a condition joins by AND is at depth 0, by OR in one of these at 1, by AND in one of
        those at 2, and so on.
        """
        last = max((self.places.get(call, 0) for call in calls), default=0)
        return tuple(self.parts.get((depth, calls), [last]))

    def keeps(self, plain: Order) -> bool:
        """True when each call still comes behind all that it comes behind in *plain*."""
        return (
            self.scanned <= plain.scanned
            and not _are_turned(self.pairs, plain.pairs)
            and not _are_turned(self.streams, plain.streams)
            and all(
                any(part in condition for condition in ours.conditions)
                for call in plain.before.keys() & self.before.keys()
                for theirs, ours in _alike(plain.before[call], self.before[call])
                for part in theirs.cheap
            )
        )


def _are_turned(pairs: Collection[_Pair], plain: Collection[_Pair]) -> bool:
    """True when one of the *plain* pairs comes the other way round in *pairs*, and only there."""
    turned = ((later, earlier) for earlier, later in plain)
    return any(pair in pairs and pair not in plain for pair in turned)


@dataclass(frozen=True)
class _Path:
    """What has been evaluated on the way to somewhere: calls, conditions, their *cheap* parts."""

    made: frozenset[Call] = frozenset()
    conditions: tuple[str, ...] = ()
    cheap: tuple[str, ...] = ()

    def joined(self, others: Sequence[_Path]) -> _Path:
        """What has been evaluated where *others*, all of which went through this one, meet."""
        known, cheap = len(self.conditions), len(self.cheap)
        return _Path(
            self.made.union(*(other.made for other in others)),
            self.conditions + tuple(c for other in others for c in other.conditions[known:]),
            self.cheap + tuple(c for other in others for c in other.cheap[cheap:]),
        )


def _alike(one: Sequence[_Path], other: Sequence[_Path]) -> Iterator[tuple[_Path, _Path]]:
    """Pairs of the branches of two plans; of the first ones where there are not as many."""
    return zip(*((one, other) if len(one) == len(other) else (one[:1], other[:1])), strict=True)


def read(plan: list[Node] | None, calls: Sequence[Call], columns: Mapping[str, list[int]]) -> Order:
    """The order in a *plan* that EXPLAIN (FORMAT JSON) gives.

    The tags in it are numbers of *calls*. It shows a column by its name alone: *columns* has the
    numbers of the calls in each. Without a plan nothing is known.
    """
    reading = _Reading(calls, _told_apart(columns, calls, plan or ()))
    reading.order.is_known = plan is not None
    for operator in plan or ():
        reading.visit(operator)
    order = reading.order
    pairs = _of_the_first_branches(reading.path.made, order.pairs)
    order.is_torn = len(pairs) < len(order.pairs)
    order.steps = _steps(reading.path.made, pairs)
    return order


def _told_apart(
    columns: Mapping[str, list[int]], calls: Sequence[Call], plan: Sequence[Node]
) -> dict[str, list[int]]:
    """*columns*, where a name that several SELECTs give is of no call that *plan* shows itself."""
    shown = set(_numbers([_details(operator) for operator in plan]))
    return {
        name: [
            number
            for number in numbers
            if number not in shown or len({calls[each].scope for each in numbers}) == 1
        ]
        for name, numbers in columns.items()
    }


def _details(operator: Node) -> list[Any]:
    """All that *operator* says, and those below it."""
    own = (operator.get("extra_info") or {}).values()
    return [*own, *map(_details, operator["children"])]


def is_cut(plan: Sequence[Node] | None) -> bool:
    """True when a *plan* leaves out what gives no rows, as conditions contradict one another."""
    return any(each["name"].strip() == _CUT or is_cut(each["children"]) for each in plan or ())


def turned(plan: Sequence[Node] | None) -> int:
    """How many joins of a *plan* keep rows of the side that is read first.

    Only a side that is read last does DuckDB filter by the other's least and greatest value.
    """
    return sum(
        str((each.get("extra_info") or {}).get("Join Type")).startswith(_TURNED)
        + turned(each["children"])
        for each in plan or ()
    )


def turns(places: Callable[[Node], tuple[int, ...]]) -> Callable[[Node], int]:
    """The key by which to sort parts of one AND or OR, once, which are in the order as written.

    Of those that ask alike, the first one has the first of their *places*, and so on.
    """
    alike: Counter[tuple[int, ...]] = Counter()

    def turn(part: Node) -> int:
        found = places(part)
        number, alike[found] = alike[found], alike[found] + 1
        return found[min(number, len(found) - 1)]

    return turn


class _Reading:
    """One walk over a plan, in the order in which it runs; *path* is what was evaluated so far.

    Of that, *stream* are the calls that the rows of the operator in hand have gone through.
    """

    def __init__(self, calls: Sequence[Call], columns: Mapping[str, list[int]]) -> None:
        self.calls = calls
        self.columns = columns
        self.order = Order()
        self.path = _Path()
        self.stream: frozenset[Call] = frozenset()
        self._length = 0  # of all conditions

    def visit(self, operator: Node) -> None:
        """Note what *operator* evaluates, behind all that those below it do."""
        self.order.is_cut |= operator["name"].strip() == _CUT
        details = dict(operator.get("extra_info") or {})
        self._children(operator, details)
        scanned = _as_run(details.pop("Filters", []))
        self.order.scanned |= {self.calls[number] for number in _numbers(scanned)}
        filters = [*scanned, *_texts(details.pop("Expression", []))]
        joins = [*_texts(details.pop("Conditions", [])), *_texts(details.pop("Condition", []))]
        for text in (*filters, *joins):
            self._note_parts(text, self._length)
            self._pass(text, is_filter=text in filters)
            self._one_by_one(text)
            if operator["children"]:  # a column that a model answers, alone
                self._add(self._named([text]))
        if not operator["children"]:  # a table's columns, which may be named like what is computed
            details.pop("Projections", None)
        self._side_by_side(details)

    def _children(self, operator: Node, details: Node) -> None:
        name, children = operator["name"].strip(), operator["children"]
        if name in _ANY_ORDER:
            start, ends, streams = self.path, [], []
            for child in children:
                self.path = start
                streams.append(self._below(child))
                ends.append(self.path)
            self.path, self.stream = start.joined(ends), frozenset().union(*streams)
            return
        streams = []
        if len(children) > 1 and name not in _IN_ORDER:
            # A join has built the table of its last child before it reads the others.
            self._below(children[-1])
            self._one_by_one(_built_keys(details.get("Conditions", [])))
            streams, children = [self.stream], children[:-1]
        streams += map(self._below, children)
        self.stream = frozenset().union(*streams)

    def _below(self, child: Node) -> frozenset[Call]:
        """Note what *child* evaluates; returns what its rows have gone through."""
        self.stream = frozenset()
        self.visit(child)
        return self.stream

    def _pass(self, condition: str, *, is_filter: bool) -> None:
        """Note where in all that is evaluated a condition, or what is computed, has its calls."""
        start, order = self._length, self.order
        parts = [] if not is_filter else [
            (place, part) for place, part in _parts(condition, "AND")
            if not tags.printed(part) and not part.startswith(_NOT_EVALUATED)
        ]  # fmt: skip
        new: set[Call] = set()
        for place, number in tags.printed(condition):
            call = self.calls[tags.plain(number)]
            order.places.setdefault(call, start + place)
            if call not in self.path.made | new:
                new.add(call)
                order.before.setdefault(call, []).append(self._up_to(condition[:place], parts))
        self.path = self._up_to(condition, parts)
        self._length += len(condition) + 1

    def _up_to(self, start: str, cheap: Sequence[tuple[int, str]]) -> _Path:
        """The path and the *start* of a condition, in which parts at some places are *cheap*."""
        path, passed = self.path, tuple(part for place, part in cheap if place < len(start))
        conditions = (*path.conditions, start)
        return replace(path, conditions=conditions, cheap=path.cheap + passed)

    def _note_parts(self, condition: str, start: int, depth: int = 0) -> None:
        """Note where the parts of *condition*, which stands at *start*, and theirs stand."""
        found = list(_parts(condition, ("AND", "OR")[depth % 2]))
        for place, part in found:
            calls = frozenset(self.calls[number] for number in _numbers(part))
            self.order.parts.setdefault((depth, calls), []).append(start + place)
            if len(found) > 1 or depth % 2 == 0:
                self._note_parts(part, start + place, depth + 1)

    def _one_by_one(self, detail: Detail) -> None:
        """Put each new call in a condition behind those made before."""
        for call in (self.calls[number] for number in _numbers(detail)):
            self._add({call} - self.path.made)
            self._flow({call})

    def _side_by_side(self, details: Node) -> None:
        """Put all new calls in what an operator computes behind those made before."""
        computed = _texts(list(details.values()))
        for text in computed:
            self._pass(text, is_filter=False)
        seen = {self.calls[number] for number in _numbers(computed)}
        named = self._named(_texts(details.get("Projections", []))) - seen
        self.order.named |= named
        self._add((seen - self.path.made) | named)
        self._flow(seen)

    def _flow(self, calls: set[Call]) -> None:
        """Put *calls* behind all that their rows have gone through."""
        self.order.streams |= {(one, call) for one in self.stream - calls for call in calls}
        self.stream |= calls

    def _named(self, shown: list[str]) -> set[Call]:
        """The calls behind the names *shown* whose step nobody knows yet."""
        numbers = (number for name in shown for number in self.columns.get(name, ()))
        return {self.calls[number] for number in numbers} - self.order.steps.keys()

    def _add(self, new: set[Call]) -> None:
        self.order.steps.update(dict.fromkeys(new, 0))
        self.order.pairs.update(((one, call), None) for one in self.path.made for call in new)
        self.path = replace(self.path, made=self.path.made | new)


def _of_the_first_branches(calls: frozenset[Call], pairs: _Pairs) -> _Pairs:
    """*pairs* but for those by which a later branch contradicts an earlier one."""
    while True:
        try:
            _sorter(calls, pairs).prepare()
        except CycleError as error:
            cycle = error.args[1]
            around = set(zip(cycle, cycle[1:], strict=False))
            last = next(pair for pair in reversed(pairs) if pair in around)
            pairs = {pair: None for pair in pairs if pair != last}
        else:
            return pairs


def _steps(calls: frozenset[Call], pairs: _Pairs) -> dict[Call, int]:
    """The first step at which each of *calls* has all behind it that comes before it in *pairs*."""
    sorter = _sorter(calls, pairs)
    sorter.prepare()
    steps: dict[Call, int] = {}
    while ready := sorter.get_ready():
        steps.update(dict.fromkeys(ready, max(steps.values(), default=-1) + 1))
        sorter.done(*ready)
    return steps


def _sorter(calls: frozenset[Call], pairs: _Pairs) -> TopologicalSorter[Call]:
    sorter = TopologicalSorter(dict.fromkeys(calls, ()))
    for earlier, later in pairs:
        sorter.add(later, earlier)
    return sorter


def _numbers(detail: Detail) -> list[int]:
    """The calls in a part of a plan, in the order in which DuckDB gets to them."""
    found = (number for text in _texts(detail) for _, number in tags.printed(text))
    return [*map(tags.plain, found)]


def _texts(detail: Detail) -> list[str]:
    """The texts of *detail*; details of several keys may stand in one list."""
    if isinstance(detail, str):
        return [detail]
    return [text for each in detail for text in _texts(each)]


def _built_keys(conditions: Detail) -> list[str]:
    """What a join compares on the side of the table that it builds: each condition's second."""
    return [text[end:] for text in _texts(conditions) for _, end in _joints(text, _COMPARISON)[:1]]


def _as_run(filters: Detail) -> list[str]:
    """The filters of a scan, one for each column, in the order in which it begins with them.

    That is by DuckDB's estimate, in which every expression costs the same.
    """

    def cost(text: str) -> int:
        parts = list(_split(text, "AND"))
        return sum(1000 if "(" in part else 5 for _, part in parts) + 5 * (len(parts) > 1)

    return sorted(_texts(filters), key=cost)


def _parts(condition: str, joint: str) -> Iterator[tuple[int, str]]:
    """What *condition*, perhaps in brackets, joins by AND or OR, each with its place in it.

    Brackets around what is joined in the same way are looked into.
    """
    found, start = [*_split(condition, joint)], 0
    if _is_bracketed(condition) and len(inside := [*_split(condition[1:-1], joint)]) > 1:
        found, start = inside, 1
    if len(found) < 2:
        yield from found
        return
    for place, part in found:
        yield from ((start + place + at, each) for at, each in _parts(part, joint))


def _is_bracketed(text: str) -> bool:
    """True when the bracket that begins *text* is closed at its end."""
    depths = accumulate({"(": 1, ")": -1}.get(letter, 0) for letter in text)
    return text.startswith("(") and all(depth > 0 for depth in islice(depths, len(text) - 1))


def _split(condition: str, joint: str) -> Iterator[tuple[int, str]]:
    joints = _joints(condition, _JOINTS[joint])
    starts = [0, *(end for _, end in joints)]
    ends = [*(start for start, _ in joints), len(condition)]
    return ((start, condition[start:end]) for start, end in zip(starts, ends, strict=True))


def _joints(text: str, joint: re.Pattern[str]) -> list[tuple[int, int]]:
    """Where each *joint* of *text* starts and ends that stands in no brackets."""
    found = (match.span() for match in joint.finditer(text))
    return [span for span in found if text.count("(", 0, span[0]) == text.count(")", 0, span[0])]
