"""One prompt on its way through a model: what it has written so far, and when it is done."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from llmsql.errors import GenerationError
from llmsql.types import Sampling

_SLACK = 8  # tokens that are no text, and the first character, of which some may be missing


@dataclass(eq=False)
class Row:
    """
    A prompt in tokens and the answer so far.

    *limit* is how many tokens may be written, *ends* those that end the answer and are no part of
    it, *decode* makes text of tokens. The *number* that draws the next token comes from a generator
    of its own, so that a seeded row does not depend on its neighbours.
    """

    index: int
    prompt: list[int]
    sampling: Sampling
    limit: int
    ends: frozenset[int]
    decode: Callable[[list[int]], str]
    written: list[int] = field(default_factory=list)
    finish: Literal["stop", "length"] | None = None
    text: str = ""
    error: GenerationError | None = None
    cached: int = 0
    began: float | None = None
    """When its first token was drawn, by the performance counter."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.sampling.seed)
        self.number = self._random.random()

    @property
    def tokens(self) -> list[int]:
        """The prompt and the answer so far."""
        return self.prompt + self.written

    @property
    def longest(self) -> int:
        """How many tokens this row may come to."""
        return len(self.prompt) + self.limit

    def take(self, token: int) -> None:
        """Append *token*, and finish where it ends the answer."""
        self.began = self.began or time.perf_counter()
        if token in self.ends:
            self._finish("stop", self.decode(self.written))
            return
        self.written.append(token)
        self.number = self._random.random()
        if self.sampling.stop and self._may_stop():
            text = self.decode(self.written)
            found = [at for at in map(text.find, self.sampling.stop) if at >= 0]
            if found:
                self._finish("stop", text[: min(found)])
                return
        if len(self.written) >= self.limit:
            # The last character may be cut in the middle of its bytes.
            self._finish("length", self.decode(self.written).rstrip("\ufffd"))

    def fail(self, why: str) -> None:
        """End without an answer."""
        self.error = GenerationError(why)
        self._finish("stop", "")

    def _may_stop(self) -> bool:
        """True where a stop text may have just been written: no token is less than a byte."""
        most = max(len(stop.encode("utf-8", "replace")) for stop in self.sampling.stop)
        end = self.decode(self.written[-(most + _SLACK) :])
        return any(stop in end for stop in self.sampling.stop)

    def _finish(self, reason: Literal["stop", "length"], text: str) -> None:
        self.finish, self.text = reason, text
