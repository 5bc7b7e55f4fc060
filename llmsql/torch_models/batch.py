"""Rows side by side: their keys and values, and which of these count.

Rows of different lengths stand flush right; what fills the left is masked out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llmsql.torch_models.rows import Row


@dataclass
class Batch:
    """*rows*, the *cache* of what they have read, and a *mask* of shape (rows, tokens) over it."""

    rows: list[Row]
    cache: Any
    mask: torch.Tensor

    def joined(self, other: Batch | None) -> Batch:
        """Return a batch of these rows and those of *other*."""
        if other is None:
            return self
        width = max(self.mask.shape[1], other.mask.shape[1])
        for mine, theirs in zip(filled(self.cache), filled(other.cache), strict=True):
            mine.keys = torch.cat([_widened(layer.keys, width) for layer in (mine, theirs)])
            mine.values = torch.cat([_widened(layer.values, width) for layer in (mine, theirs)])
        masks = [
            torch.nn.functional.pad(m, (width - m.shape[1], 0)) for m in (self.mask, other.mask)
        ]
        return Batch(self.rows + other.rows, self.cache, torch.cat(masks))

    def unfinished(self) -> Batch | None:
        """Return the batch without the rows that are done, and without columns nobody needs."""
        places = [at for at, row in enumerate(self.rows) if row.finish is None]
        if len(places) == len(self.rows):
            return self
        if not places:
            return None
        kept = torch.tensor(places, device=self.mask.device)
        mask = self.mask[kept]
        columns = mask.any(dim=0).nonzero()[:, 0]
        for layer in filled(self.cache):
            # A model spread over devices keeps its layers apart.
            here, there = kept.to(layer.keys.device), columns.to(layer.keys.device)
            layer.keys = layer.keys[here].index_select(2, there)
            layer.values = layer.values[here].index_select(2, there)
        return Batch([self.rows[at] for at in places], self.cache, mask[:, columns])


def filled(cache: Any) -> list[Any]:
    """Return the layers of *cache* that hold something; a model may share some between layers."""
    return [layer for layer in cache.layers if layer.is_initialized]


def _widened(states: torch.Tensor, width: int) -> torch.Tensor:
    # Zeros, not whatever is in memory: a masked NaN is still a NaN after the product.
    return torch.nn.functional.pad(states, (0, 0, width - states.shape[2], 0))


def flush_right(
    sequences: Sequence[Sequence[int]], place: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return *sequences* as one tensor padded on the left, and its mask."""
    width = max(map(len, sequences))
    padded = [[0] * (width - len(tokens)) + list(tokens) for tokens in sequences]
    counts = [[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in sequences]
    return torch.tensor(padded, device=place), torch.tensor(counts, device=place)
