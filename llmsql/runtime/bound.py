"""The most tokens that a server may count for a text, which only the server can count.

Begins with what every tokenizer keeps to, a token a byte, and learns from what the server says it
has read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmsql.token_estimate import estimate

FRAME = 32
"""More than chat formats put around a prompt, with a system prompt of their own."""
TURN = 8
MARGIN = 1.1
"""So much more than the most that was seen, and more by one over the number of answers seen."""


class Bound:
    """
    What one model makes of texts at most.

    A text may be as dense as the densest that was seen, by its bytes and by what a usual tokenizer
    would make of it. An overhead beyond what one expects is an unknown system prompt.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._per_byte = self._per_token = 0.0
        self._shortest = self._least = math.inf
        self._hidden = 0.0

    def of(self, texts: Sequence[str]) -> int:
        """The most tokens that *texts*, which are read together, are counted as."""
        size = _bytes(texts)
        most = size + FRAME + TURN * len(texts) + self._hidden
        if not self._seen:
            return math.ceil(most)
        dense = max(self._per_byte * size, self._per_token * _tokens(texts))
        dense = dense * (MARGIN + 1 / self._seen) + self._hidden
        if size < self._shortest:  # of which what is put around it is more than of any before
            dense += min(FRAME, self._least)
        return math.ceil(min(most, dense))

    def learn(self, texts: Sequence[str], tokens: int) -> None:
        """Note that the server has counted *texts* as so many *tokens*."""
        size = _bytes(texts)
        self._seen += 1
        self._shortest = min(self._shortest, size)
        self._least = min(self._least, tokens)
        self._hidden = max(self._hidden, tokens - size - FRAME - TURN * len(texts))
        self._per_byte = max(self._per_byte, tokens / max(1, size))
        self._per_token = max(self._per_token, tokens / max(1, _tokens(texts)))


def _bytes(texts: Sequence[str]) -> int:
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def _tokens(texts: Sequence[str]) -> float:
    return sum(map(estimate, texts))
