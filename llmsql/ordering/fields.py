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
    walk = _Walk(merged, len(rows), _greedy(merged, len(rows)))
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


def _greedy(columns: Sequence[Column], rows: int) -> list[int]:
    """Take the column next that shares most, until no two rows are alike."""
    groups, order = Groups.all(rows), list[int]()

    def rated(place: int) -> tuple[float, int, int]:
        split = groups.split(columns[place])
        return -split.shared, place, len(order)

    # The finer the groups, the less a column shares: what was best once and still is, is best.
    heap = [rated(place) for place in range(len(columns))]
    heapq.heapify(heap)
    while heap and groups.count:
        _, place, seen = heapq.heappop(heap)
        if seen != len(order):
            heapq.heappush(heap, rated(place))
            continue
        groups = groups.split(columns[place]).groups()
        order.append(place)
    return order + sorted(place for _, place, _ in heap)


class _Walk:
    """An order of *columns* on trial: what each of its places shares, and the groups before it."""

    def __init__(self, columns: Sequence[Column], rows: int, order: list[int]) -> None:
        self.columns = columns
        self.order = order
        self.levels = [Groups.all(rows)]
        self.splits: list[Split] = []

    @property
    def shared(self) -> float:
        """How many tokens rows need not read, as the row before has read them."""
        self.reach(len(self.order))
        return sum(split.shared for split in self.splits)

    def reach(self, place: int) -> bool:
        """Look as far as *place*; False where no two rows are alike before it."""
        while len(self.splits) < place and self.levels[-1].count:
            self._append(self.levels[-1].split(self.columns[self.order[len(self.splits)]]))
        return len(self.splits) >= place

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
        first = self.levels[at].split(self.columns[other])
        if first.shared <= self.splits[at + 1].shared:
            return False
        second = first.groups().split(self.columns[one])
        if first.shared + second.shared <= before * (1 + 1e-9):
            return False
        self.order[at : at + 2] = other, one
        del self.splits[at:], self.levels[at + 1 :]
        self._append(first)
        self._append(second)
        return True

    def _append(self, split: Split) -> None:
        self.splits.append(split)
        self.levels.append(split.groups())
