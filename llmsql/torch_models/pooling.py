"""The vector of a text from a causal model: the mean of its last hidden states, of length 1.

Batches by length and by the memory of a step. Which texts, and in which tokens, is others'
business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from llmsql.errors import GenerationError
from llmsql.torch_models import placement


def vectors(
    model: Any, sequences: Sequence[Sequence[int]], *, step_tokens: int, is_padded: bool
) -> Iterator[tuple[int, np.ndarray | GenerationError]]:
    """Yield the index and the vector of each of *sequences*, which are tokens, the longest first.

    A step reads up to *step_tokens*; a model that cannot be padded reads one text at a time.
    """
    order = sorted(range(len(sequences)), key=lambda at: -len(sequences[at]))
    start = 0
    while start < len(order):
        width = len(sequences[order[start]])
        count = max(1, step_tokens // width) if is_padded else 1
        chosen = order[start : start + count]
        try:
            found = _pooled(model, [sequences[at] for at in chosen], has_mask=is_padded)
        except (RuntimeError, MemoryError) as error:
            placement.check_memory(error)
            placement.release(error)
            if len(chosen) > 1:
                step_tokens = width * len(chosen) // 2
                continue
            yield chosen[0], GenerationError(f"a text of {width} tokens does not fit into memory")
        else:
            yield from zip(chosen, found, strict=True)
        start += len(chosen)


def _pooled(model: Any, sequences: Sequence[Sequence[int]], *, has_mask: bool) -> np.ndarray:
    ids, mask = _flush_left(sequences, model.device)
    given = {"attention_mask": mask} if has_mask else {}
    with torch.inference_mode():
        # Without the head: its scores over the vocabulary are the larger part of the memory.
        states = model.base_model(input_ids=ids, **given).last_hidden_state.float()
        weights = mask.to(states.device).unsqueeze(-1)
        means = (states * weights).sum(dim=1) / weights.sum(dim=1)
        found: np.ndarray = torch.nn.functional.normalize(means).cpu().numpy()
    return found


def _flush_left(
    sequences: Sequence[Sequence[int]], place: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return *sequences* padded on the right, where no token before looks, and their mask."""
    width = max(map(len, sequences))
    padded = [[*tokens, *[0] * (width - len(tokens))] for tokens in sequences]
    counts = [[1] * len(tokens) + [0] * (width - len(tokens)) for tokens in sequences]
    return torch.tensor(padded, device=place), torch.tensor(counts, device=place)
