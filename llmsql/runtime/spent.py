"""What is spent, was told, is going to be, and may be at the worst: numbers only.

What may be spent is the business of the caps.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields
from typing import TypeVar

from llmsql.types import Usage

Number = TypeVar("Number", int, float)

GATED = ("input_tokens", "output_tokens", "cost")
"""What nobody knows exactly before it is spent."""


@dataclass(frozen=True)
class Need:
    """What a set of calls needs; None where nobody can tell."""

    calls: float = 0
    input_tokens: float | None = None
    output_tokens: float | None = None
    cost: float | None = None
    seconds: float | None = None


class Reserved:
    """What a set of calls that is being asked will still take, as expected and at the worst."""

    def __init__(self, need: Need) -> None:
        self._left = {f.name: getattr(need, f.name) or 0 for f in fields(need)} | {"seconds": 0}
        self._flying: dict[Hashable, Need] = {}
        self._most = dict.fromkeys(GATED, 0.0)

    @property
    def is_flying(self) -> bool:
        """True while more may be taken than is expected."""
        return bool(self._flying)

    def left(self, name: str) -> float:
        """How much of *name* is expected to come."""
        return self._left[name]

    def most(self, name: str) -> float:
        """The same, or what those in flight may take at the worst if that is more."""
        return max(self._left[name], self._most[name])

    def send(self, most: Mapping[Hashable, Need]) -> None:
        """Reserve the *most* that each of some inputs may need, which are sent now."""
        self._flying = dict(most)
        self._sum()

    def take(self, key: Hashable, inputs: int, outputs: int, cost: float | None) -> None:
        """Count off the call of *key*, which is spent from now on."""
        taken = {"calls": 1, "input_tokens": inputs, "output_tokens": outputs, "cost": cost or 0}
        for name, number in taken.items():
            self._left[name] = max(0, self._left[name] - number)
        most = self._flying.pop(key, None)
        for name in GATED if most is not None else ():
            self._most[name] -= getattr(most, name) or 0

    def land(self) -> None:
        """Nothing is in flight any more."""
        self._flying.clear()
        self._sum()

    def give_up(self) -> None:
        """Nothing more is going to be asked."""
        self._left = dict.fromkeys(self._left, 0)
        self.land()

    def _sum(self) -> None:
        for name in GATED:
            self._most[name] = sum(getattr(need, name) or 0 for need in self._flying.values())


@dataclass
class Spent:
    """What calls count for so far. *cost* is None until something had a price.

    *reserved* is what is being asked; *admission* is held while something is checked and reserved.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    running: dict[object, float] = field(default_factory=dict, repr=False)
    reserved: list[Reserved] = field(default_factory=list, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    admission: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, inputs: int, outputs: int, cost: float | None) -> None:
        """Count one call, for what it may have taken where nobody told."""
        with self.lock:
            self.calls += 1
            self.input_tokens += inputs
            self.output_tokens += outputs
            if cost is not None:
                self.cost = (self.cost or 0.0) + cost

    def so_far(self, name: str) -> float:
        """What was spent of *name*, up to now."""
        if name != "seconds":
            return getattr(self, name) or 0
        now = time.monotonic()
        return self.seconds + sum(now - started for started in list(self.running.values()))

    def promised(self, name: str) -> float:
        """What is going to be spent of *name* by what is being asked now."""
        return sum(reserved.left(name) for reserved in list(self.reserved))

    def promised_at_worst(self, name: str) -> float:
        """The most that may be spent of *name* by what is being asked now."""
        return sum(reserved.most(name) for reserved in list(self.reserved))

    def begin(self, run: object) -> None:
        """Count the seconds of *run* from now on, beside those of others."""
        self.running[run] = time.monotonic()

    def end(self, run: object, share: float = 1.0) -> None:
        """Count the *share* of the seconds of *run* up to now that no other run counts."""
        with self.lock:
            self.seconds += (time.monotonic() - self.running.pop(run)) * share


@dataclass
class Told:
    """What calls have cost, as the records say it: the sum of what was told, None where nothing."""

    calls: int = 0
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    cached_tokens: int | None = 0
    cost: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, usage: Usage, cost: float | None) -> None:
        """Count one call."""
        with self.lock:
            if not self.calls:  # no call has no tokens
                self.input_tokens = self.output_tokens = self.cached_tokens = None
            self.calls += 1
            self.input_tokens = _sum(self.input_tokens, usage.input_tokens)
            self.output_tokens = _sum(self.output_tokens, usage.output_tokens)
            self.cached_tokens = _sum(self.cached_tokens, usage.cached_tokens)
            self.cost = _sum(self.cost, cost)


def _sum(total: Number | None, more: Number | None) -> Number | None:
    return more if total is None else total if more is None else total + more
