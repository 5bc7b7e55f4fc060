"""In which order a set of inputs goes to an engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmsql.types import Kind


def in_order(keys: Iterable[Any], kind: Kind) -> list[Any]:
    """Return *keys*, inputs of a model of *kind*, as its engine reads them best.

    Prompts and pairs are sorted as text: those that share a beginning follow one another, so a
    prefix cache need hold no more than one of them. Texts to embed go the longest first, as what
    is padded together should be of one length, and what does not fit should be known at once;
    backends that count tokens sort by those again.
    """
    if kind == "emb":
        return sorted(keys, key=_longest_first)
    return sorted(keys)


def _longest_first(text: Any) -> tuple[int, Any]:
    return -len(text), text
