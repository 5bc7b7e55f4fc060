"""The order of the fields in a set of prompts: one for all rows, so that sorted rows share most.

After Liu et al., "Optimizing LLM Queries in Relational Data Analytics Workloads", arXiv 2403.05821,
whose search gives each row an order of its own; ours is one for all rows, found by other means.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from llmsql.ordering.cells import Column, Groups, Split, distinct

SWEEPS = 2


def best_order(columns: Sequence[Column]) -> list[int]:
    """Return the order in which *columns* should stand, as their places in the given order.

    Each row's columns before the first that differs from the row before, once rows are sorted, are
    read once for both: that is made as much as a greedy choice and exchanges of neighbours can
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
        """Let each column go forward past its neighbours as far as that helps; True if one did."""
        has_changed = False
        for end in range(1, len(self.order)):
            if not self.reach(end + 1):
                break
            at = end
            while at > 0 and self._swap(at - 1):
                at -= 1
            has_changed |= at < end
        return has_changed

    def _swap(self, at: int) -> bool:
        """Exchange the columns at *at* and after it, if more is shared so."""
        one, other = self.order[at : at + 2]
        before = sum(split.shared for split in self.splits[at : at + 2])
        first = self._split(at, other)
        if first.shared <= self.splits[at + 1].shared:
            return False
        second = first.groups.split(self.columns[one])
        if first.shared + second.shared <= before * (1 + 1e-9):
            return False
        self.order[at : at + 2] = other, one
        self.splits[at:] = first, second
        return True
