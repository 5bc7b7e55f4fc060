"""What statements may cost, over what they have spent: checked before anything is asked.

Owns the words. What a set of inputs will need is `expected`'s business, and when to look that of
the budget and its gate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from decimal import Decimal

from llmsql.errors import LimitError
from llmsql.runtime.spent import GATED, Need, Spent

ROUNDING = 1 + 1e-9
"""Sums of prices may come out a little above what they are."""


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
class Cap:
    """One cap as the user knows it: its setting, how much it allows, and of what."""

    setting: str
    name: str
    most: float
    spent: Spent

    @property
    def unspent(self) -> float:
        """How much would be left if nothing were being asked."""
        return self.most * ROUNDING - self.spent.so_far(self.name)

    @property
    def room(self) -> float:
        """How much is left beside the most that is being asked."""
        return self.unspent - self.spent.promised_at_worst(self.name)

    def check(self, need: Need, about: str = "", at_most: Callable[[], Need] | None = None) -> None:
        """Raise LimitError where *need* does not fit any more, or where nobody can tell.

        *about* stands before what is needed. *at_most* gives what it may turn out to be: only a cap
        above that is sure to let it through.
        """
        spent = self.spent.so_far(self.name) + self.spent.promised(self.name)
        more = getattr(need, self.name)
        if more is None and self.name == "cost":
            raise LimitError(
                f'"{self.setting}" is set, and the price of these calls is not known\n'
                "  deploy the model with price_input and price_output, per million tokens"
            )
        if more is None:
            self.enforce()
        elif spent + more > self.most * ROUNDING:
            worst = getattr(at_most(), self.name) if at_most and self.name in GATED else None
            enough = spent + max(more, worst or 0)
            surely = ", however long the answers are" if enough > spent + more else ""
            raise LimitError(
                f"{about}{_amount(self.name, more)} would be needed, and {self.setting} is "
                f"{_number(self.most)}, of which {_number(spent)} are spent\n"
                f'  nothing more was asked; !llm setup "{self.setting}={_enough(enough)}" '
                f"allows it{surely}{_otherwise(self.name) if about else ''}"
            )

    def enforce(self) -> None:
        """Raise LimitError where more is spent than allowed: an expectation was too low."""
        spent = self.spent.so_far(self.name)
        if spent > self.most * ROUNDING:
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


def _otherwise(name: str) -> str:
    """What else helps where an answer might be as long as it may."""
    return "" if name == "input_tokens" else ", and a lower max_tokens needs less"


def _amount(name: str, number: float) -> str:
    words = {"calls": "more model calls", "cost": "more of cost", "seconds": "more seconds"}
    return f"{_number(number)} {words.get(name, 'more ' + name.replace('_', ' '))}"


def _enough(number: float) -> str:
    """*number* as `_number` writes it, never below what it is."""
    digits = math.floor(math.log10(number)) - 3 if 0 < number < 1000 else 0
    return _number(math.ceil(number / 10.0**digits / ROUNDING) * 10.0**digits)


def _number(number: float) -> str:
    """*number* as one reads it: whole, or with as many decimals as say something."""
    if number >= 1000 or number == int(number):
        return f"{number:.0f}"
    return f"{Decimal(f'{number:.4g}'):f}"
