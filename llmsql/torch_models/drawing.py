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


def is_greedy(sampling: Any) -> bool:
    """True where the best token is the next one, whatever was written before."""
    return (
        sampling.temperature <= _COLDEST
        and getattr(sampling, "repetition_penalty", 1.0) == 1
        and not getattr(sampling, "no_repeat_ngram_size", 0)
        and not getattr(sampling, "min_tokens", 0)
    )


def draw(scores: torch.Tensor, rows: Sequence[Row]) -> list[int | None]:
    """Return the next token of each of *rows*, given *scores* of shape (rows, vocabulary).

    None where the scores are no numbers.
    """
    scores = scores.float()
    _penalise(scores, rows)
    for at, row in enumerate(rows):
        ngram = getattr(row.sampling, "no_repeat_ngram_size", 0)
        if ngram:
            _forbid_repeated(scores[at : at + 1], row, ngram)
        if len(row.written) < getattr(row.sampling, "min_tokens", 0):
            known = [token for token in row.ends if 0 <= token < scores.shape[-1]]
            scores[at, known] = -torch.inf  # another one would end all that a GPU does
    best, places = scores.max(dim=-1)  # NaN where any is
    is_broken = best.isnan() | best.isposinf()
    told = torch.stack([places, is_broken.long()]).T.tolist()  # one wait for the device
    tokens = [None if broken else token for token, broken in told]
    alike = defaultdict(list)
    for at, row in enumerate(rows):
        if row.sampling.temperature > _COLDEST and tokens[at] is not None:
            alike[_shape(row.sampling)].append(at)
    for shape, chosen in alike.items():
        drawn = _drawn(scores[chosen], shape, [rows[at].number for at in chosen])
        for at, token in zip(chosen, drawn, strict=True):
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


def _penalise(scores: torch.Tensor, rows: Sequence[Row]) -> None:
    """Make tokens that a row has less likely, in place, all rows of one penalty at a time."""
    alike = defaultdict(list)
    for at, row in enumerate(rows):
        alike[getattr(row.sampling, "repetition_penalty", 1.0)].append(at)
    alike.pop(1, None)
    for penalty, places in alike.items():
        from transformers.generation import RepetitionPenaltyLogitsProcessor

        histories = [rows[at].tokens for at in places]
        width = max(map(len, histories))
        # A token that stands twice counts once, so any of its own may fill a row up.
        filled = [tokens + tokens[:1] * (width - len(tokens)) for tokens in histories]
        history = torch.tensor(filled, device=scores.device)
        scores[places] = RepetitionPenaltyLogitsProcessor(penalty)(history, scores[places])


def _forbid_repeated(scores: torch.Tensor, row: Row, ngram: int) -> None:
    """Rule out, in place, what would repeat so many tokens of *row*; its *scores* are (1, n)."""
    from transformers.generation import NoRepeatNGramLogitsProcessor

    history = torch.tensor([row.tokens], device=scores.device)
    scores[:] = NoRepeatNGramLogitsProcessor(ngram)(history, scores.clone())
