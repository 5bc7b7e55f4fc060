"""What a store has of the keys it was asked for, by columns.

An object for each key, a tuple for each answer and a dict of them would take longer than all else
that reading a million answers needs. An `Entry` is made where somebody wants one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from llmsql.store.entry import KEY_BYTES, Entry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")


class Columns(NamedTuple):
    """Answers in any order: their keys, one after the other, and what `Entry` has of each."""

    keys: bytearray
    values: list[Any]
    reasons: list[str]
    read: list[int | None]
    written: list[int | None]
    statements: list[bytes | None]

    @classmethod
    def empty(cls) -> Columns:
        """None yet."""
        return cls(bytearray(), [], [], [], [], [])

    def extend(self, more: Columns) -> None:
        """Add *more* of them."""
        column: Any
        for column, added in zip(self, more, strict=True):
            column.extend(added)

    def pairs(self) -> Iterator[tuple[bytes, Entry]]:
        """Key and entry of each."""
        keys, places = bytes(self.keys), range(len(self.values))
        each = (keys[i * KEY_BYTES : (i + 1) * KEY_BYTES] for i in places)
        return zip(each, self.entries(places), strict=True)

    def entries(self, places: Sequence[int]) -> Iterator[Entry]:
        """The entries at *places*."""
        columns = [map(column.__getitem__, places) for column in self[1:]]
        made = map(tuple.__new__, repeat(Entry), zip(*columns, strict=True))
        return cast("Iterator[Entry]", made)


class Found:
    """What is known of those *asked* for, no two of which are alike: always in their order."""

    def __init__(self, asked: NDArray[np.int64], columns: Columns) -> None:
        places = _places(asked, identifiers(columns.keys))
        is_known = places >= 0
        self._columns = columns
        self._is_known = is_known
        self._places = places[is_known]

    def __len__(self) -> int:
        return len(self._places)

    def split(self, given: Sequence[T]) -> tuple[list[T], list[T]]:
        """Those of *given*, one for each that was asked for, that are known, and the others."""
        if len(self) == len(given):
            return list(given), []
        is_known = self._is_known
        return list(compress(given, is_known.tolist())), list(compress(given, (~is_known).tolist()))

    @property
    def values(self) -> list[Any]:
        """The answer of each."""
        import numpy as np

        values = self._columns.values
        # Half the time of a list comprehension: the values lie anywhere in memory.
        there = np.fromiter(values, object, len(values))
        answers: list[Any] = there[self._places].tolist()
        return answers

    def entries(self) -> Iterator[Entry]:
        """All there is of each."""
        return self._columns.entries(self._places.tolist())

    def ended(self, reason: str) -> list[int]:
        """Which of them ended for this *reason*, counted from 0."""
        reasons = self._columns.reasons
        if reason not in reasons:
            return []
        return [i for i, place in enumerate(self._places.tolist()) if reasons[place] == reason]

    def written(self, number: int) -> int | None:
        """How many tokens the one of this *number* has, counted from 0."""
        return self._columns.written[int(self._places[number])]


def identifiers(keys: bytes | bytearray) -> NDArray[np.int64]:
    """Two integers for each of *keys*, which lie one after the other."""
    import numpy as np

    return np.frombuffer(keys, ">i8").astype(np.int64).reshape(-1, 2)


def _places(asked: NDArray[np.int64], there: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of *asked* is among *there*, -1 where it is not."""
    import numpy as np

    places = np.full(len(asked), -1)
    if not len(there):
        return places
    # Both in order, as a search that jumps about waits for memory.
    order, lined = np.argsort(there[:, 0]), np.argsort(asked[:, 0])
    nearest = np.searchsorted(there[order, 0], asked[lined, 0])
    near = order[np.minimum(nearest, len(there) - 1)]
    is_first, is_second = (there[near, half] == asked[lined, half] for half in (0, 1))
    is_there = is_first & is_second
    places[lined[is_there]] = near[is_there]
    return places
