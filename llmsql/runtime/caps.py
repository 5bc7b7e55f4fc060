"""What statements may cost, and what they have cost: checked before anything is asked.

Knows numbers only. What a set of inputs will need is `expected`'s business, and when to look is the
account's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from llmsql.errors import LimitError


@dataclass(frozen=True)
class Caps:
    """The most that may be spent; None is without end. *cost* is in the currency of the prices."""

    calls: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    cost: float | None = None
    seconds: float | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) is not None for f in fields(self))


@dataclass(frozen=True)
class Need:
    """What a set of calls needs; None where nobody can tell."""

    calls: float = 0
    input_tokens: float | None = None
    output_tokens: float | None = None
    cost: float | None = None
    seconds: float | None = None


class Reserved:
    """What a set of calls that is being asked will still take, as it was expected."""

    def __init__(self, need: Need) -> None:
        self._left = {f.name: getattr(need, f.name) or 0 for f in fields(need)} | {"seconds": 0}

    def left(self, name: str) -> float:
        """How much of *name* is still to come."""
        return self._left[name]

    def take(self, inputs: int, outputs: int, cost: float | None) -> None:
        """Count off one call, which is spent from now on."""
        taken = {"calls": 1, "input_tokens": inputs, "output_tokens": outputs, "cost": cost or 0}
        for name, number in taken.items():
            self._left[name] = max(0, self._left[name] - number)


@dataclass
class Spent:
    """What calls have cost so far. *cost* is None until something had a price.

    *reserved* is what is being asked; *admission* is held while something is checked and reserved.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    running: dict[object, float] = field(default_factory=dict, repr=False)
    reserved: list[Reserved] = field(default_factory=list, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    admission: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, inputs: int, outputs: int, cached: int, cost: float | None) -> None:
        """Count one call."""
        with self.lock:
            self.calls += 1
            self.input_tokens += inputs
            self.output_tokens += outputs
            self.cached_tokens += cached
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

    def begin(self, run: object) -> None:
        """Count the seconds of *run* from now on, beside those of others."""
        self.running[run] = time.monotonic()

    def end(self, run: object) -> None:
        """Count the seconds of *run* up to now."""
        with self.lock:
            self.seconds += time.monotonic() - self.running.pop(run)


@dataclass(frozen=True)
class Cap:
    """One cap as the user knows it: its setting, how much it allows, and of what."""

    setting: str
    name: str
    most: float
    spent: Spent

    def check(self, need: Need) -> None:
        """Raise LimitError where *need* does not fit any more, or where nobody can tell."""
        spent = self.spent.so_far(self.name) + self.spent.promised(self.name)
        more = getattr(need, self.name)
        if more is None and self.name == "cost":
            raise LimitError(
                f'"{self.setting}" is set, and the price of these calls is not known\n'
                "  deploy the model with price_input and price_output, per million tokens"
            )
        if more is None:
            self.enforce()
        elif spent + more > self.most:
            raise LimitError(
                f"{_amount(self.name, more)} would be needed, and {self.setting} is "
                f"{_number(self.most)}, of which {_number(spent)} are spent\n"
                f'  nothing more was asked; !llm setup "{self.setting}={_number(spent + more)}" '
                "allows it"
            )

    def enforce(self) -> None:
        """Raise LimitError where more is spent than allowed: an expectation was too low."""
        spent = self.spent.so_far(self.name)
        if spent > self.most:
            raise LimitError(
                f"{self.setting} is {_number(self.most)}, and {_number(spent)} are spent\n"
                "  what was answered is kept; with a higher cap the same statement goes on"
            )


def of(caps: Caps, spent: Spent, prefix: str) -> Iterator[Cap]:
    """Every cap of *caps* that is set, over what is *spent*; *prefix* begins its setting's name."""
    for f in fields(caps):
        most = getattr(caps, f.name)
        if most is not None:
            yield Cap(prefix + f.name, f.name, most, spent)


def _amount(name: str, number: float) -> str:
    words = {"calls": "more model calls", "cost": "more of cost", "seconds": "more seconds"}
    return f"{_number(number)} {words.get(name, 'more ' + name.replace('_', ' '))}"


def _number(number: float) -> str:
    """*number* as one reads it: whole, or with as many decimals as say something."""
    if number >= 1000 or number == int(number):
        return f"{number:.0f}"
    return f"{number:.4g}"
