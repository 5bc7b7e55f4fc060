"""How many different inputs of a statement were answered before, and which came first.

A set of a million texts would hold a million texts: their hashes, eight bytes each, tell as well.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from itertools import islice

import numpy as np

RECORDED = 1_000
"""So many inputs are kept to be written down one by one; the others are counted."""

COMPACTED = 1 << 20


class Reuse:
    """The reused inputs of one statement, of one deployment under one sampling."""

    def __init__(self) -> None:
        self.first: dict[Hashable, int] = {}
        self._hashes: list[np.ndarray] = []
        self._size = 0
        self._compacted_at = COMPACTED

    @property
    def count(self) -> int:
        """How many different inputs there were."""
        self._compact()
        return self._size

    def add(self, keys: Collection[Hashable], site: int) -> None:
        """Count *keys*, which may repeat; NULL is no input."""
        hashes = np.fromiter(map(hash, keys), np.int64, len(keys))
        if None in keys:
            hashes = hashes[hashes != hash(None)]
        self._hashes.append(hashes)
        self._size += len(hashes)
        if len(self.first) < RECORDED:
            wanted = (key for key in keys if key is not None and key not in self.first)
            self.first.update((key, site) for key in islice(wanted, RECORDED))
        if self._size > self._compacted_at:  # doubled since, so that sorting stays in proportion
            self._compact()
            self._compacted_at = max(COMPACTED, 2 * self._size)

    def hashes(self) -> list[int]:
        """The hashes of the inputs, each once."""
        self._compact()
        return [number for hashes in self._hashes for number in hashes.tolist()]

    def among(self, hashes: Collection[int]) -> int:
        """How many of the inputs with these *hashes* there were."""
        if not hashes or not self.count:
            return 0
        return int(np.isin(np.fromiter(hashes, np.int64, len(hashes)), self._hashes[0]).sum())

    def _compact(self) -> None:
        if len(self._hashes) > 1:
            self._hashes = [np.concatenate(self._hashes)]
        if self._hashes:  # sorted, as numpy's own `unique` takes ten times as long
            ordered = np.sort(self._hashes[0])
            is_first = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]
            self._hashes = [ordered[is_first]]
            self._size = len(self._hashes[0])
