"""What a server's answers mean: completions, vectors, scores.

An answer that is none raises GenerationError; one of unknown shape is never guessed at.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from llmsql.errors import GenerationError
from llmsql.types import Completion, Measured, Usage

MOST_TOKENS = 1 << 40
_SHAPE_ERRORS = (KeyError, IndexError, TypeError, ValueError, AttributeError)


def completion(answer: Any) -> Completion:
    """Return what a chat model said; a refusal or a filtered answer is an error, never a text."""
    try:
        choice = answer["choices"][0]
        message, reason = choice["message"], choice.get("finish_reason")
        text = _text(message.get("content"))
        used = _usage(answer.get("usage") or {})
    except _SHAPE_ERRORS as error:
        raise _unknown(answer) from error
    if message.get("refusal"):
        raise GenerationError(f"the model refuses: {message['refusal']}")
    if reason == "content_filter":
        raise GenerationError("the server filtered the answer (finish_reason content_filter)")
    if reason == "length":
        # A reasoning model may have used up max_tokens before its first word.
        return Completion(text or "", "length", used)
    if text is None:
        raise GenerationError(f"the server gave no text (finish_reason {reason})")
    return Completion(text, "stop", used)


def vectors(
    answer: Any, sizes: Sequence[int], dimension: int | None
) -> list[Measured[np.ndarray] | GenerationError]:
    """Return a vector for each of *sizes*, in the order of the request.

    Each has *dimension* numbers if given, and the tokens that a text of its size read.
    """
    try:
        found = [_vector(item["embedding"]) for item in _items(answer["data"], len(sizes))]
        usages = _shares(answer.get("usage") or {}, sizes)
    except _SHAPE_ERRORS as error:
        raise _unknown(answer) from error
    return [
        Measured(vector, usage)
        if dimension in (None, vector.size)
        else GenerationError(f"the server gave {vector.size} numbers, not {dimension}")
        for vector, usage in zip(found, usages, strict=True)
    ]


def scores(answer: Any, sizes: Sequence[int]) -> list[Measured[float]]:
    """Return a score for each of *sizes*, in the order of the request, with its tokens."""
    try:
        items = _items(answer["results"], len(sizes))
        name = "relevance_score" if "relevance_score" in items[0] else "score"
        found = [float(item[name]) for item in items]
        usages = _shares(answer.get("usage") or {}, sizes)
    except _SHAPE_ERRORS as error:
        raise _unknown(answer) from error
    return [Measured(score, usage) for score, usage in zip(found, usages, strict=True)]


def _text(content: Any) -> str | None:
    """The text of a message, which some servers give in parts."""
    if content is None or isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _usage(given: dict[str, Any]) -> Usage:
    details = given.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens", given.get("prompt_cache_hit_tokens"))
    return Usage(
        input_tokens=_count(given.get("prompt_tokens")),
        output_tokens=_count(given.get("completion_tokens")),
        cached_tokens=_count(cached),
    )


def _shares(given: dict[str, Any], sizes: Sequence[int]) -> list[Usage]:
    """What each text read of the tokens of a request, by its size; the sum is the request's."""
    total = _count(given.get("prompt_tokens", given.get("total_tokens")))
    if total is None:
        return [Usage(output_tokens=0)] * len(sizes)
    ends = list(itertools.accumulate(size or 1 for size in sizes))
    marks = [0, *(total * end // ends[-1] for end in ends)]
    return [Usage(after - before, 0) for before, after in itertools.pairwise(marks)]


def _count(given: Any) -> int | None:
    """A number of tokens, None for what is none; some gateways write 5.0."""
    is_whole = isinstance(given, int | float) and 0 <= given == given // 1 and given < MOST_TOKENS
    return int(given) if is_whole else None


def _items(given: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The items in the order of the request: each says its place, or they are in order."""
    by_index = {item.get("index", place): item for place, item in enumerate(given)}
    return [by_index[place] for place in range(count)]


def _vector(given: Any) -> np.ndarray:
    """A vector from numbers, or from base64 if the server knows that."""
    if isinstance(given, str):
        return np.frombuffer(base64.b64decode(given, validate=True), dtype="<f4")
    vector = np.asarray(given, dtype=np.float32)
    if vector.ndim != 1:
        raise ValueError("not a vector")
    return vector


def _unknown(answer: Any) -> GenerationError:
    return GenerationError(f"the server's answer has an unknown shape: {answer}")
