"""What is kept of a call: the group its answer belongs to, its key, its answer and what it cost."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

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
        return cls(model, text, _digest(text.encode("utf-8", "surrogatepass")))

    def key(self, given: Any) -> bytes:
        """The key of the input *given*: a text, or a pair of texts."""
        digest = self._begun.copy()
        for part in (given,) if isinstance(given, str) else given:
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
        return digest.digest()

    def keys(self, inputs: Iterable[Any]) -> list[bytes]:
        """The key of each of *inputs*, in about half the time: texts as long begin alike."""
        begun: dict[int, hashlib.blake2b] = {}
        keys = []
        for given in inputs:
            if isinstance(given, str):
                data = given.encode("utf-8", "surrogatepass")
                size = len(data)
                digest = (begun.get(size) or begun.setdefault(size, self._sized(size))).copy()
                digest.update(data)
                keys.append(digest.digest())
            else:
                keys.append(self.key(given))
        return keys

    @cached_property
    def seed(self) -> int:
        """Where the checksums of this group's entries begin."""
        return zlib.crc32(self.digest)

    @cached_property
    def _begun(self) -> hashlib.blake2b:
        return hashlib.blake2b(self.digest, digest_size=KEY_BYTES)

    def _sized(self, size: int) -> hashlib.blake2b:
        """What the key of a text of *size* bytes begins with."""
        digest = self._begun.copy()
        digest.update(size.to_bytes(8, "little"))
        return digest

    def __reduce__(self) -> tuple[Any, ...]:
        return Group, (self.model, self.about, self.digest)  # a hash that has begun has no pickle


class Entry(NamedTuple):
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
