"""What models have answered: input to value, for one deployment under one sampling.

Owns only memory of the process; what is kept on disk is the store's business. An input is a prompt,
a text, or a (query, passage) pair, and the input None is NULL: known from the start, as NULL.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import islice
from typing import Any, Literal

from llmsql.store import Group

MISSING = object()

Tokens = tuple[int | None, int | None]
"""Read and written."""

Limit = Literal["max_tokens", "context"]
"""What cuts an answer short."""


class Answers:
    """
    The known answers of one deployment under one sampling.

    *statement* names the one statement they belong to, where they are drawn at random. *cut* says
    by what an answer was cut, for the hash of its input; *unkept* how many tokens those were that
    were computed by a statement which kept none on disk.
    """

    __slots__ = ("cut", "family", "group", "known", "sampling", "statement", "unkept")

    def __init__(self, sampling: Any, statement: bytes | None = None) -> None:
        self.sampling = sampling
        self.statement = statement
        self.group: Group | None = None
        self.family: Group | None = None
        self.unkept: dict[Hashable, Tokens] = {}
        self.known: dict[Hashable, Any] = {None: None}
        self.cut: dict[int, Limit] = {}

    def __len__(self) -> int:
        return len(self.known) - 1

    def shrink(self, size: int) -> None:
        """Forget the oldest answers beyond *size* of them."""
        excess = len(self) - size
        if excess > 0:
            for key in list(islice(self.known, 1, excess + 1)):
                del self.known[key]
                self.unkept.pop(key, None)
                self.cut.pop(hash(key), None)

    def clear(self) -> None:
        """Forget every answer."""
        self.known.clear()
        self.known[None] = None
        self.unkept.clear()
        self.cut.clear()
