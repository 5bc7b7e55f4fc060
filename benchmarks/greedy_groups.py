"""The greedy search of Liu et al. (arXiv 2403.05821), for comparison: each row its own order.

Written from the paper. Take the value whose rows save most by it: the square of its length and of
the lengths of what it decides, times the rows but one. Its rows come first, that value and what it
decides before their other fields; the same again within them, and within the rows without it. It
is run to the end here, while the paper stops at some depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

Placed = tuple[int, tuple[int, ...]]
"""A row, and the order of its columns."""


def greedy_groups(codes: np.ndarray, lengths: np.ndarray) -> list[Placed]:
    """Return the rows in their order, each with that of its columns.

    *codes* has a row for each column, and *lengths* the length of each cell in its shape.
    """
    search = _Search(codes, lengths)
    rows = np.arange(codes.shape[1])
    return list(search.placed(rows, tuple(range(len(codes))), ()))


class _Search:
    def __init__(self, codes: np.ndarray, lengths: np.ndarray) -> None:
        self.codes = codes
        self.squares = lengths.astype(np.float64) ** 2
        self.decides = [self._decided(column) for column in range(len(codes))]

    def _decided(self, column: int) -> tuple[int, ...]:
        """The columns that have one value for each of *column*."""
        codes = self.codes[column]
        return tuple(
            other
            for other in range(len(self.codes))
            if other != column
            and len(np.unique(codes * (self.codes[other].max() + 1) + self.codes[other]))
            == len(np.unique(codes))
        )

    def placed(
        self, rows: np.ndarray, columns: tuple[int, ...], before: tuple[int, ...]
    ) -> Iterator[Placed]:
        waiting = [(rows, columns, before)]
        while waiting:
            rows, columns, before = waiting.pop()
            found = self._best(rows, columns) if len(rows) > 1 and columns else None
            if found is None:
                yield from self._sorted(rows, columns, before)
                continue
            value, column = found
            taken = (column, *(c for c in self.decides[column] if c in columns))
            rest = tuple(c for c in columns if c not in taken)
            has_it = self.codes[column, rows] == value
            waiting.append((rows[~has_it], columns, before))
            waiting.append((rows[has_it], rest, before + taken))

    def _best(self, rows: np.ndarray, columns: Sequence[int]) -> tuple[int, int] | None:
        best, found = 0.0, None
        for column in columns:
            codes = self.codes[column, rows]
            counts = np.bincount(codes)
            with_decided = [column, *(c for c in self.decides[column] if c in columns)]
            saved = np.zeros(len(counts))
            for other in with_decided:
                sums = np.bincount(codes, weights=self.squares[other, rows])
                saved += sums / np.maximum(counts, 1)
            saved *= np.maximum(counts - 1, 0)
            at = int(saved.argmax())
            if saved[at] > best:
                best, found = float(saved[at]), (at, column)
        return found

    def _sorted(
        self, rows: np.ndarray, columns: tuple[int, ...], before: tuple[int, ...]
    ) -> Iterator[Placed]:
        """No two rows share a value: by their columns as they come."""
        keys = [self.codes[c, rows] for c in reversed(columns)]
        order = np.lexsort(keys) if keys else np.arange(len(rows))
        for row in rows[order]:
            yield int(row), before + columns
