"""What one statement knows of its model calls: its mode, what it could not answer, its counts.

A collector belongs to a token that `Connection` puts into a session variable; the functions find it
by that token and ask it what to do with inputs that nobody has computed yet.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from llmsql.errors import GenerationError
from llmsql.runtime.answers import MISSING, Answers

if TYPE_CHECKING:
    from llmsql.runtime.deployments import Deployment

MAX_NOTED = 262_144
FIRST_BUDGET = 16
UNTAGGED = -1

_tokens = itertools.count(1)


class Mode(Enum):
    """What an unknown input gets."""

    COLLECT = auto()  # noted, NULL for now
    LIMIT = auto()  # as COLLECT, but few, and NULL from the first unknown row on
    SPOT = auto()  # computed on the spot
    MUTE = auto()  # NULL; the statement is only bound or explained


@dataclass
class Counts:
    """What happened to the inputs of a statement."""

    computed: int = 0
    cut: int = 0
    failed: int = 0
    first_error: GenerationError | None = None


class Collector:
    """The state of one running statement."""

    def __init__(self, *, on_error: str = "null", max_noted: int = MAX_NOTED) -> None:
        self.token = next(_tokens)
        self.mode = Mode.SPOT
        self.on_error = on_error
        self.max_noted = max_noted
        self.counts = Counts()
        self.error: BaseException | None = None
        self.cancelled = threading.Event()
        self.failed: dict[Answers, dict[Hashable, GenerationError]] = {}
        self._own: dict[tuple[Any, Any], Answers] = {}
        self._lock = threading.Lock()
        self.limit = _Budget()
        self.begin(Mode.SPOT)

    def begin(self, mode: Mode) -> None:
        """Start a pass in *mode*: nothing is noted yet."""
        self.mode = mode
        self.noted: dict[int, dict[tuple[Deployment, Answers], dict[Hashable, None]]] = {}
        self.count = 0
        self.is_full = False
        self.has_met_unknown = False
        self.limit.begin()

    def answers(self, deployment: Deployment, sampling: Any) -> Answers:
        """Where answers under *sampling* are kept: beyond this statement only if repeatable."""
        if sampling is None or sampling.is_deterministic:
            return deployment.answers(sampling)
        return self._own.setdefault((deployment, sampling), Answers(sampling))

    def failures(self, answers: Answers) -> dict[Hashable, GenerationError]:
        """The inputs that failed in this statement, which answers NULL for them."""
        return self.failed.setdefault(answers, {})

    def unknown(
        self,
        deployment: Deployment,
        answers: Answers,
        keys: list[Hashable],
        values: list[Any],
        rank: int,
    ) -> list[Any]:
        """Note what is MISSING in *values* and return them with NULL in its place."""
        failures = self.failed.get(answers)
        if failures:
            values = [
                None if v is MISSING and k in failures else v
                for k, v in zip(keys, values, strict=True)
            ]
        if self.mode is Mode.LIMIT and rank <= self.limit.where_rank:
            return self._unknown_limited(deployment, answers, keys, values, rank)
        missing = [k for k, v in zip(keys, values, strict=True) if v is MISSING]
        if missing and self.mode is not Mode.MUTE:
            self._note(deployment, answers, missing, rank)
        return [None if v is MISSING else v for v in values]

    def lowest(self) -> dict[tuple[Deployment, Answers], dict[Hashable, None]]:
        """What was noted at the lowest rank, and everything untagged."""
        ranks = sorted(self.noted)
        tagged = [rank for rank in ranks if rank != UNTAGGED]
        chosen = [UNTAGGED] * (UNTAGGED in self.noted) + tagged[:1]
        return self._merged(chosen)

    def at(self, *, where: bool) -> dict[tuple[Deployment, Answers], dict[Hashable, None]]:
        """What was noted in WHERE, or behind it, at the lowest rank there."""
        ranks = sorted(r for r in self.noted if (r <= self.limit.where_rank) is where)
        return self._merged(ranks[:1])

    def fail(self, answers: Answers, key: Hashable, error: GenerationError) -> None:
        """Record that *key* failed; raises the error where the statement wants that."""
        if self.on_error == "raise":
            raise error
        self.failures(answers)[key] = error
        self.counts.failed += 1
        self.counts.first_error = self.counts.first_error or error

    def _merged(
        self, ranks: Iterable[int]
    ) -> dict[tuple[Deployment, Answers], dict[Hashable, None]]:
        merged: dict[tuple[Deployment, Answers], dict[Hashable, None]] = {}
        for rank in ranks:
            for group, keys in self.noted[rank].items():
                merged.setdefault(group, {}).update(keys)
        return merged

    def _note(
        self, deployment: Deployment, answers: Answers, missing: list[Hashable], rank: int
    ) -> None:
        with self._lock:
            self.has_met_unknown = True
            if self.is_full:
                return
            group = self.noted.setdefault(rank, {}).setdefault((deployment, answers), {})
            before = len(group)
            group.update(dict.fromkeys(missing))
            self.count += len(group) - before
            self.is_full = self.count >= self.max_noted

    def _unknown_limited(
        self,
        deployment: Deployment,
        answers: Answers,
        keys: list[Hashable],
        values: list[Any],
        rank: int,
    ) -> list[Any]:
        first = next((i for i, value in enumerate(values) if value is MISSING), len(values))
        missing = [k for k, v in zip(keys, values, strict=True) if v is MISSING]
        with self._lock:
            if self.limit.is_poisoned:
                first = 0
            if missing:
                self.limit.is_poisoned = self.has_met_unknown = True
                group = self.noted.setdefault(rank, {}).setdefault((deployment, answers), {})
                for key in missing:
                    if self.limit.left <= 0:
                        break
                    if key not in group:
                        group[key] = None
                        self.limit.left -= 1
        return [value if i < first else None for i, value in enumerate(values)]


@dataclass
class _Budget:
    """How many unknown inputs a statement that ends with a LIMIT may note: in all 16, then 32, …"""

    where_rank: int = -2
    total: int = FIRST_BUDGET // 2
    spent: int = 0
    left: int = 0
    is_poisoned: bool = False

    def begin(self) -> None:
        self.is_poisoned = False

    def double(self) -> None:
        """Allow twice as many in all as before."""
        self.spent = self.total if self.spent else 0
        self.total *= 2
        self.left = self.total - self.spent
        self.spent = self.total
