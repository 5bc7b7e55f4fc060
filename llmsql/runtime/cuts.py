"""The answers of a statement that were cut short: how many, by what, and of which it was told.

What an answer was cut by stays with the answer (`Answers.cut`), for the statements that reuse it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from llmsql.runtime.answers import Answers, Limit
from llmsql.runtime.reuse import Reuse


class Cuts:
    """The cut answers of one statement, computed, found in the store, or reused from memory."""

    def __init__(self) -> None:
        self._found: Counter[Limit] = Counter()
        self._told: Counter[Limit] = Counter()

    @property
    def count(self) -> int:
        """How many answers were cut."""
        return self._found.total() if self._found else 0

    def add(self, answers: Answers, key: Hashable, reason: str | None, written: int | None) -> None:
        """Note the answer of *key*, of *written* tokens, if *reason* says that it was cut."""
        if reason == "length":
            limit = answers.cut[hash(key)] = _limit(answers, written)
            self._found[limit] += 1

    def add_reused(self, answers: Answers, reuse: Reuse) -> None:
        """Note which of *answers* that memory had were cut when they were computed."""
        cut = answers.cut.copy()  # at once: another statement may add to it meanwhile
        if reuse.count < len(cut):
            self._found.update(limit for limit in map(cut.get, reuse.hashes()) if limit)
            return
        for limit in set(cut.values()):
            self._found[limit] += reuse.among([h for h, by in cut.items() if by == limit])

    def untold(self) -> Counter[Limit]:
        """How many there are by each limit since this was asked last."""
        found, self._told = self._found - self._told, self._found.copy()
        return found


def _limit(answers: Answers, written: int | None) -> Limit:
    """What cut an answer: one with fewer tokens than it might have met the context's end."""
    most = getattr(answers.sampling, "max_tokens", None)
    is_short = most is not None and written is not None and written < most
    return "context" if is_short else "max_tokens"
