"""What is kept of a call: the group its answer belongs to, its key, its answer and what it cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEY_BYTES = 16


@dataclass(frozen=True)
class Group:
    """
    All answers of one model under one sampling: everything that decides an answer but the input.

    *model* is the name it was deployed under, for people; *about* is what *digest* was made of.
    """

    model: str
    about: str
    digest: bytes

    @classmethod
    def of(cls, model: str, about: Mapping[str, Any]) -> Group:
        """The group of what *about* says, whose values JSON can hold; *model* does not count."""
        text = json.dumps(about, sort_keys=True, ensure_ascii=False, default=repr)
        return cls(model, text, _digest(text.encode()))

    def key(self, given: Any) -> bytes:
        """The key of the input *given*: a text, or a pair of texts."""
        digest = hashlib.blake2b(self.digest, digest_size=KEY_BYTES)
        for part in (given,) if isinstance(given, str) else given:
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        return digest.digest()


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One answer: a text, a vector of float32, or a score.

    *statement* names the statement (a digest of its text) until whose end a sampled answer is kept.
    """

    value: Any
    finish_reason: str = "stop"
    input_tokens: int | None = None
    output_tokens: int | None = None
    statement: bytes | None = None


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=KEY_BYTES).digest()
