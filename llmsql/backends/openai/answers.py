"""What a server's answers mean: completions, vectors, scores.

An answer that is none raises GenerationError; one of unknown shape is never guessed at.
"""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from llmsql.errors import GenerationError
from llmsql.types import Completion, Measured, Usage

MOST_TOKENS = 1 << 40
_CUT = ("length", "model_length", "max_tokens")
_BROKEN_OFF = ("error", "abort", "aborted", "cancelled", "timeout", "insufficient_system_resource")
"""Reasons to end, as servers write them: the token limit, and what leaves half an answer."""
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
    if failure := choice.get("error"):
        raise GenerationError(f"the answer broke off: {failure}")
    if reason in _BROKEN_OFF:
        raise GenerationError(f"the answer broke off (finish_reason {reason})")
    if reason in _CUT:
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
        if dimension in (None, vector.size) and np.isfinite(vector).all()
        else GenerationError(_no_vector(vector, dimension))
        for vector, usage in zip(found, usages, strict=True)
    ]


def scores(answer: Any, sizes: Sequence[int]) -> list[Measured[float] | GenerationError]:
    """Return a score for each of *sizes*, in the order of the request, with its tokens."""
    try:
        items = _items(answer["results"], len(sizes))
        name = "relevance_score" if "relevance_score" in items[0] else "score"
        found = [float(item[name]) for item in items]
        usages = _shares(answer.get("usage") or {}, sizes)
    except _SHAPE_ERRORS as error:
        raise _unknown(answer) from error
    return [
        Measured(score, usage)
        if math.isfinite(score)
        else GenerationError(f"the server gave {score} as a score")
        for score, usage in zip(found, usages, strict=True)
    ]


def _text(content: Any) -> str | None:
    """The text of a message, which some servers give in parts, and some cut within a character."""
    if content is None:
        return None
    if not isinstance(content, str):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    return whole(content)


def whole(text: str) -> str:
    """*text* with a ? for each half of a character, which neither a table nor a file can hold."""
    return text.encode("utf-8", "replace").decode()


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


def _no_vector(vector: np.ndarray, dimension: int | None) -> str:
    if not np.isfinite(vector).all():
        return "the server gave numbers that are infinite, or none"
    return f"the server gave {vector.size} numbers, not {dimension}"


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
