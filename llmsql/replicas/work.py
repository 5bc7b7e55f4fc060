"""What is still to be asked of a set of inputs, in units; knows nothing of processes.

A unit is a share of what is left: large at first, so that a model can order and batch it, and
smaller towards the end, so that all are done at the same time. What a death leaves unanswered is
suspected: it is run again after all the rest, in ever smaller units, until the input that is to
blame stands alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

PIECES = 16
"""What one death left is run again in so many units: few rows are run twice alone, and from
thousands it takes no more than four deaths to find the one."""


@dataclass(eq=False)
class Unit:
    """Inputs that a replica is given at once, by number, and those not answered yet by place."""

    rows: Sequence[int]
    is_suspect: bool = False
    left: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.left = set(range(len(self.rows)))


class Work:
    """*count* inputs for so many *replicas*, which take *least* at a time or what there is."""

    def __init__(self, count: int, replicas: int, least: int) -> None:
        self.unsettled = count
        self._fresh = range(count)
        self._suspects: deque[Sequence[int]] = deque()
        self._replicas = replicas
        self._least = least

    def take(self) -> Unit | None:
        """Return what to run next; None where all is under way or done."""
        if self._fresh:
            size = self._size(len(self._fresh))
            unit, self._fresh = Unit(self._fresh[:size]), self._fresh[size:]
            return unit
        return Unit(self._suspects.popleft(), is_suspect=True) if self._suspects else None

    @property
    def has_more(self) -> bool:
        """True where `take` would return something."""
        return bool(self._fresh or self._suspects)

    @property
    def has_fresh(self) -> bool:
        """True where there are inputs that nobody was given yet."""
        return bool(self._fresh)

    def answered(self, unit: Unit, place: int) -> int:
        """Settle the input at *place* of *unit*; returns its number."""
        unit.left.discard(place)
        self.unsettled -= 1
        return unit.rows[place]

    def died(self, unit: Unit) -> int | None:
        """Take back what is left of *unit*, whose replica died; returns who is to blame, settled.

        That is an input that was there at two deaths, at the second one alone.
        """
        left = [unit.rows[place] for place in sorted(unit.left)]
        if len(left) == 1 and unit.is_suspect:
            self.unsettled -= 1
            return left[0]
        size = -(-len(left) // PIECES)
        self._suspects += [left[i : i + size] for i in range(0, len(left), size or 1)]
        return None

    def _size(self, left: int) -> int:
        """How much of what is left a replica gets; where it is the only one, all."""
        return left if self._replicas == 1 else max(self._least, -(-left // (2 * self._replicas)))
