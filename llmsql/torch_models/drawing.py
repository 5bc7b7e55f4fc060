"""The next token of each row, from the model's scores.

The library's processors shape the scores; the draw itself uses one number of the row's own
generator, which makes it independent of the batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch

from llmsql.torch_models.rows import Row

# Below this, dividing by the temperature only overflows.
_COLDEST = 1e-4


def draw(scores: torch.Tensor, rows: Sequence[Row]) -> list[int]:
    """Return the next token of each of *rows*, given *scores* of shape (rows, vocabulary)."""
    scores = scores.float()
    for at, row in enumerate(rows):
        for processor in _by_history(row):
            history = torch.tensor([row.tokens], device=scores.device)
            scores[at : at + 1] = processor(history, scores[at : at + 1].clone())
        if len(row.written) < getattr(row.sampling, "min_tokens", 0):
            scores[at, list(row.ends)] = -torch.inf
    tokens: list[int] = scores.argmax(dim=-1).tolist()
    alike = defaultdict(list)
    for at, row in enumerate(rows):
        if row.sampling.temperature > _COLDEST:
            alike[_shape(row.sampling)].append(at)
    for shape, places in alike.items():
        drawn = _drawn(scores[places], shape, [rows[at].number for at in places])
        for at, token in zip(places, drawn, strict=True):
            tokens[at] = token
    return tokens


def _shape(sampling: Any) -> tuple[float, int, float, float]:
    min_p = getattr(sampling, "min_p", 0.0)
    return sampling.temperature, sampling.top_k, sampling.top_p, min_p


def _drawn(
    scores: torch.Tensor, shape: tuple[float, int, float, float], numbers: list[float]
) -> list[int]:
    from transformers.generation import logits_process as library

    temperature, top_k, top_p, min_p = shape
    scores = scores / temperature
    history: Any = None  # these three do not look at it
    if top_k > 0:
        scores = library.TopKLogitsWarper(top_k)(history, scores)
    if top_p < 1:
        scores = library.TopPLogitsWarper(top_p)(history, scores)
    if min_p > 0:
        scores = library.MinPLogitsWarper(min_p)(history, scores)
    # In 64 bits, so that adding up a vocabulary does not blur the borders between tokens.
    reached = scores.double().softmax(dim=-1).cumsum(dim=-1)
    wanted = torch.tensor(numbers, dtype=reached.dtype, device=reached.device)[:, None]
    places = torch.searchsorted(reached, wanted * reached[:, -1:], right=True)
    drawn: list[int] = places.clamp(max=reached.shape[-1] - 1)[:, 0].tolist()
    return drawn


def _by_history(row: Row) -> list[Any]:
    penalty = getattr(row.sampling, "repetition_penalty", 1.0)
    ngram = getattr(row.sampling, "no_repeat_ngram_size", 0)
    if penalty == 1 and not ngram:
        return []
    from transformers.generation import logits_process as library

    found: list[Any] = []
    if penalty != 1:
        found.append(library.RepetitionPenaltyLogitsProcessor(penalty))
    if ngram:
        found.append(library.NoRepeatNGramLogitsProcessor(ngram))
    return found
