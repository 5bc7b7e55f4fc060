"""In what order a set is run, and how much of it at a time: padding is the whole cost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# Texts are tokenised some thousands at a time: the first vectors need not wait for the last.
WINDOW_TEXTS = 4096
WINDOW_CHARACTERS = 1 << 22


def packs(lengths: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Yield indexes in packs, the longest first; longest times count is within *budget*."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        count = budget // max(1, int(lengths[order[start]]))
        pack = order[start : start + min(max(1, count), WINDOW_TEXTS)]
        yield pack
        start += len(pack)
