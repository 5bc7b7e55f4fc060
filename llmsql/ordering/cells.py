"""A table of texts in numbers: equal cells have equal codes, each code a size in tokens.

Owns the encoding and the grouping of rows. Which column should come first is `fields`' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BYTES_PER_TOKEN = 4.0
DENSE = 8
"""Up to so many possible keys for each key, a table of all is faster than a hash."""

_MARKS = 2.0  # tokens of the quotes, the colon and the comma around a name and a value


@dataclass(frozen=True)
class Column:
    """The *codes* of a column's cells, and for each code about how many tokens it is."""

    codes: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, name: str, texts: Any) -> Column:
        """Encode *texts*, an Arrow array of strings under *name*; NULL is an empty text."""
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
        ids, first = _numbered(self.ids * width + codes, self.count * width)
        shared = column.sizes[codes].sum() - column.sizes[first % max(1, width)].sum()
        return Split(self, ids, len(first), float(shared))


@dataclass(frozen=True)
class Split:
    """
    Groups divided by one more column.

    *shared* is how many tokens of that column need not be read, as the row before has them too.
    """

    before: Groups
    ids: np.ndarray
    count: int
    shared: float

    @property
    def is_determined(self) -> bool:
        """True where the column says nothing new: each group has one value."""
        return self.count == self.before.count

    def groups(self) -> Groups:
        """The divided groups, without those of a single row."""
        sizes = np.bincount(self.ids, minlength=self.count)
        is_kept = sizes > 1
        numbers = np.cumsum(is_kept) - 1
        chosen = is_kept[self.ids]
        return Groups(
            self.before.rows[chosen],
            numbers[self.ids[chosen]].astype(np.int64),
            int(is_kept.sum()),
        )


def distinct(columns: Sequence[Column]) -> np.ndarray:
    """Return the places of the rows of *columns* without those that repeat another."""
    count = len(columns[0].codes) if columns else 0
    ids, found = np.zeros(count, np.int64), 1
    for column in columns:
        width = len(column.sizes)
        ids, first = _numbered(ids * width + column.codes, found * width)
        found = len(first)
        if found == count:
            return np.arange(count)
    places = np.empty(found, np.int64)
    places[ids[::-1]] = np.arange(count)[::-1]  # of rows that are alike the first one
    return np.sort(places)


def _numbered(keys: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Number the different *keys*, which are below *end*; return their numbers, and each key."""
    if end > DENSE * len(keys) + 1_024:
        found = pa.array(keys).dictionary_encode()
        return found.indices.to_numpy().astype(np.int64), found.dictionary.to_numpy()
    is_there = np.zeros(end, bool)
    is_there[keys] = True
    first = np.flatnonzero(is_there)
    numbers = np.empty(end, np.int64)
    numbers[first] = np.arange(len(first))
    return numbers[keys], first
