"""The order of the fields in a set of prompts: one for all rows, so that sorted rows share most.

After Liu et al., "Optimizing LLM Queries in Relational Data Analytics Workloads", arXiv 2403.05821,
whose search gives each row an order of its own; ours is one for all rows, found by other means.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from llmsql.ordering.cells import Column, Groups, Split, distinct

SWEEPS = 2
REACH = 8
"""How many places a column is tried before its own: so its cost does not grow with the columns."""


def best_order(columns: Sequence[Column]) -> list[int]:
    """Return the order in which *columns* should stand, as their places in the given order.

    Each row's columns before the first that differs from the row before, once rows are sorted, are
    read once for both: that is made as much as a greedy choice and moves of single columns can
    make it. Deterministic. Columns that share nothing keep the order they were given in.
    """
    rows = distinct(columns)
    bundles = _bundled([column.of_rows(rows) for column in columns])
    merged = [column for column, _ in bundles]
    walk = _Walk(merged, len(rows))
    walk.choose()
    for _ in range(SWEEPS):
        if not walk.sweep():
            break
    return [place for bundle in walk.order for place in bundles[bundle][1]]


def _bundled(columns: Sequence[Column]) -> list[tuple[Column, list[int]]]:
    """Columns that decide each other as one, with their places: nothing can come between them."""
    bundles: dict[bytes, tuple[Column, list[int]]] = {}
    for place, column in enumerate(columns):
        key = column.codes.tobytes()  # numbered as they come, so the same for the same division
        if key in bundles:
            before, places = bundles[key]
            bundles[key] = Column(before.codes, before.sizes + column.sizes), [*places, place]
        else:
            bundles[key] = column, [place]
    return list(bundles.values())


class _Walk:
    """An order of *columns* on trial, and the splits it makes until no two rows are alike."""

    def __init__(self, columns: Sequence[Column], rows: int) -> None:
        self.columns = columns
        self.order = list[int]()
        self.splits = list[Split]()
        self._all = Groups.all(rows)
        self._most = dict[int, float]()

    def groups(self, place: int) -> Groups:
        """The rows that are alike in what stands before *place*."""
        return self.splits[place - 1].groups if place else self._all

    def reach(self, place: int) -> bool:
        """Look as far as *place*; False where no two rows are alike before it."""
        while (at := len(self.splits)) < place and self.groups(at).count:
            self.splits.append(self._split(at, self.order[at]))
        return len(self.splits) >= place

    def choose(self) -> None:
        """Take the column next that shares most, until no two rows are alike."""
        # The finer the groups, the less a column shares: what was best once and still is, is best.
        heap = [self._rated(place) for place in range(len(self.columns))]
        self._most = {place: -shared for shared, place, _, _ in heap}
        heapq.heapify(heap)
        while heap and self.groups(len(self.order)).count:
            _, place, seen, split = heapq.heappop(heap)
            if seen != len(self.order):
                heapq.heappush(heap, self._rated(place))
                continue
            self.order.append(place)
            self.splits.append(split)
        self.order += sorted(place for _, place, _, _ in heap)

    def _rated(self, place: int) -> tuple[float, int, int, Split]:
        split = self._split(len(self.order), place)
        return -split.shared, place, len(self.order), split

    def _split(self, at: int, column: int) -> Split:
        return self.groups(at).split(self.columns[column])

    def sweep(self) -> bool:
        """Let each column go forward to where it helps most; True if one did."""
        before = list(self.order)
        for end in range(1, len(self.order)):
            if not self.reach(end + 1):
                break
            self._advance(end)
        return self.order != before

    def _advance(self, end: int) -> None:
        """Move the column at *end* to the place before it by which most is shared, if there is one.

        What it passes then shares less, the same however far it goes on. It goes on where that
        changes nothing: past two columns that a third one decides, to before that one.
        """
        column = self.order[end]
        place, best, lost = end, self.splits[end].shared * (1 + 1e-9), 0.0
        for at in range(end - 1, max(-1, end - 1 - REACH), -1):
            if self._most[column] - lost <= best:
                break
            moved = self._split(at, column)
            passed = moved.groups.split(self.columns[self.order[at]])
            lost += self.splits[at].shared - passed.shared
            if moved.shared - lost > best:
                place, best = at, moved.shared - lost
        if place < end:
            self.order.insert(place, self.order.pop(end))
            del self.splits[place:]
