"""What a server's answers mean: completions, vectors, scores.

An answer that is none raises GenerationError; one of unknown shape is never guessed at.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from llmsql.errors import GenerationError
from llmsql.types import Completion, Usage

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


def vectors(answer: Any, count: int, dimension: int | None) -> list[np.ndarray | GenerationError]:
    """Return *count* vectors in the order of the request, each of *dimension* numbers if given."""
    try:
        found = [_vector(item["embedding"]) for item in _items(answer["data"], count)]
    except _SHAPE_ERRORS as error:
        raise _unknown(answer) from error
    return [
        vector
        if dimension in (None, vector.size)
        else GenerationError(f"the server gave {vector.size} numbers, not {dimension}")
        for vector in found
    ]


def scores(answer: Any, count: int) -> list[float]:
    """Return the scores of *count* passages in the order of the request."""
    try:
        items = _items(answer["results"], count)
        name = "relevance_score" if "relevance_score" in items[0] else "score"
        return [float(item[name]) for item in items]
    except _SHAPE_ERRORS as error:
        raise _unknown(answer) from error


def _text(content: Any) -> str | None:
    """The text of a message, which some servers give in parts."""
    if content is None or isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _usage(given: dict[str, Any]) -> Usage:
    details = given.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or given.get("prompt_cache_hit_tokens")
    return Usage(
        input_tokens=int(given.get("prompt_tokens") or 0),
        output_tokens=int(given.get("completion_tokens") or 0),
        cached_tokens=int(cached or 0),
    )


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
    return GenerationError(f"the server's answer has an unknown shape: {str(answer)[:500]}")
