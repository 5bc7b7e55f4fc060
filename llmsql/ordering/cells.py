"""A table of texts in numbers: equal cells have equal codes, each code a size in tokens.

Owns the encoding and the grouping of rows. Which column should come first is `fields`' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

BYTES_PER_TOKEN = 4.0
MOST_KEYS = 1 << 20
"""Up to so many possible keys, a table of them all is faster than a hash of those there are."""

_MARKS = 2.0  # tokens of the quotes, the colon and the comma around a name and a value


@dataclass(frozen=True)
class Column:
    """The *codes* of a column's cells, and for each code about how many tokens it is."""

    codes: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, name: str, texts: Any) -> Column:
        """Encode *texts*, an Arrow array of strings under *name*; NULL is an empty text."""
        import pyarrow.compute as pc

        encoded = pc.dictionary_encode(texts, null_encoding="encode")
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        lengths = pc.fill_null(pc.binary_length(encoded.dictionary), 0)
        sizes = (lengths.to_numpy(zero_copy_only=False) + len(name)) / BYTES_PER_TOKEN + _MARKS
        return cls(encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), sizes)

    def of_rows(self, rows: np.ndarray) -> Column:
        """The same column of some *rows*."""
        return Column(self.codes[rows], self.sizes)


@dataclass(frozen=True)
class Groups:
    """Rows that are alike so far, by the number of their group; rows like no other are left out.

    *rows* are the places of those that are in, *ids* their groups, *count* how many groups there
    are.
    """

    rows: np.ndarray
    ids: np.ndarray
    count: int

    @classmethod
    def all(cls, rows: int) -> Groups:
        """One group of all *rows*."""
        return cls(np.arange(rows), np.zeros(rows, np.int64), min(1, rows))

    def split(self, column: Column) -> Split:
        """See what *column* makes of these groups."""
        codes = column.codes[self.rows]
        width = len(column.sizes)
        alike = _alike(self.ids * width + codes, self.count * width)
        repeats = codes[alike != np.arange(len(alike))]
        return Split(self, alike, float(column.sizes[repeats].sum()))


@dataclass(frozen=True)
class Split:
    """
    Groups divided by one more column.

    *alike* says of each row that is in where the row stands that speaks for its new group, and
    *shared* is how many tokens of the column need not be read, as the row before has them too.
    """

    before: Groups
    alike: np.ndarray
    shared: float

    @cached_property
    def groups(self) -> Groups:
        """The divided groups, without those of a single row."""
        is_kept = np.bincount(self.alike) > 1
        numbers = np.cumsum(is_kept)
        chosen = is_kept[self.alike]
        count = int(numbers[-1]) if len(numbers) else 0
        return Groups(self.before.rows[chosen], numbers[self.alike[chosen]] - 1, count)


def distinct(columns: Sequence[Column]) -> np.ndarray:
    """Return the places of the rows of *columns* without those that repeat another."""
    count = len(columns[0].codes) if columns else 0
    groups = Groups.all(count)
    for column in sorted(columns, key=lambda column: -len(column.sizes)):  # the sooner none is left
        if not groups.count:
            break
        groups = groups.split(column).groups
    first = np.empty(groups.count, np.int64)
    first[groups.ids[::-1]] = groups.rows[::-1]
    is_in = np.ones(count, bool)
    is_in[groups.rows] = False
    is_in[first] = True
    return np.flatnonzero(is_in)


def _alike(keys: np.ndarray, end: int) -> np.ndarray:
    """Return for each of *keys*, all below *end*, where the last one stands that equals it."""
    if end > MOST_KEYS:
        keys = pa.array(keys).dictionary_encode().indices.to_numpy()
        end = len(keys)
    last = np.empty(end, np.int64)  # what is not written is not read
    last[keys] = np.arange(len(keys))
    alike: np.ndarray = last[keys]
    return alike
