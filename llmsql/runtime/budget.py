"""What one statement may still ask: its caps, those of its connection, and who is asked first.

Nothing is asked here. How many inputs go to a model at a time is the gate's business.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

from llmsql.errors import LimitError, warn
from llmsql.runtime import caps, expected
from llmsql.runtime.answers import Answers
from llmsql.runtime.conditions import Conditions
from llmsql.runtime.deployments import Deployment
from llmsql.runtime.expected import Expected
from llmsql.runtime.spent import GATED, Need, Reserved, Spent

Needs = Sequence[tuple[Deployment, Answers, Sequence[Any]]]


class Budget:
    """The caps over what a statement has *spent*, and over what its connection has."""

    def __init__(self, conditions: Conditions, spent: Spent) -> None:
        self.conditions = conditions
        self.spents = (spent, conditions.spent)
        self.caps = [
            *caps.of(conditions.caps, spent, "max_"),
            *caps.of(conditions.total_caps, conditions.spent, "total_max_"),
        ]
        self._is_confirmed = False
        self._priced = 0  # the calls of priced models so far, which nobody was told of

    @property
    def admission(self) -> threading.Lock:
        """Held while something is checked and reserved."""
        return self.conditions.spent.admission

    def allow(
        self, deployment: Deployment, answers: Answers, keys: Sequence[Any]
    ) -> tuple[Reserved, bool]:
        """Reserve what asking *keys* will cost, to be released when they have been asked.

        Says too whether what they read was counted, and not estimated. Raises LimitError where it
        is more than it may; nothing is asked then.
        """
        need = self.check([(deployment, answers, keys)])
        if self._is_to_be_confirmed(deployment, len(keys)):
            need = need or expected.of(deployment, answers, keys, self.conditions.store)
            self._confirm(deployment, need)
        is_counted = need is not None and need.is_counted
        return self._reserve(need.need if need else Need(len(keys))), is_counted

    def release(self, reserved: Reserved) -> None:
        """Give back what is left of what was *reserved*: it is not going to be asked."""
        for spent in self.spents:
            spent.reserved.remove(reserved)

    def others_fly(self, reserved: Reserved) -> bool:
        """True where others that share a cap may take more than they are expected to."""
        all_reserved = list(self.conditions.spent.reserved)
        return any(other.is_flying for other in all_reserved if other is not reserved)

    def check(self, needs: Needs) -> Expected | None:
        """Raise LimitError where all of *needs* would cost too much; returns what they need.

        None where no cap had to know it. A cap on what is read has every text counted.
        """
        calls = Need(sum(len(keys) for _, _, keys in needs))
        others = [cap for cap in self.caps if cap.name != "calls"]
        for cap in self.caps:
            if cap.name == "calls":
                cap.check(calls)
        if not others:
            return None
        is_exact = any(cap.name == "input_tokens" for cap in others)
        store = self.conditions.store
        found = [expected.of(*need, store, is_exact=is_exact) for need in needs]
        for cap in others:
            cap.check(expected.together([one.need for one in found]), at_most=partial(_most, needs))
        return found[0]

    def check_most(self, most: Need) -> None:
        """Raise LimitError where *most*, which may be needed at the worst, does not fit."""
        for cap in self.caps:
            if cap.name in GATED:
                cap.check(most, "up to ")

    def enforce(self, *names: str) -> None:
        """Raise LimitError where more is spent than allowed, of *names* or of anything."""
        for cap in self.caps:
            if not names or cap.name in names:
                cap.enforce()

    def _reserve(self, need: Need) -> Reserved:
        """Reserve *need*, unless others that share a cap have been faster."""
        reserved = Reserved(need)
        with self.admission:
            for cap in self.caps:
                cap.check(need)
            for spent in self.spents:
                spent.reserved.append(reserved)
        return reserved

    def _is_to_be_confirmed(self, deployment: Deployment, calls: int) -> bool:
        terms, most = deployment.spec.terms, self.conditions.confirm_calls
        if terms.price_input is None and terms.price_output is None:
            return False
        self._priced += calls
        return 0 < most < self._priced and not self._is_confirmed

    def _confirm(self, deployment: Deployment, need: Expected) -> None:
        """Let somebody confirm a statement of many priced calls, or warn of it."""
        self._is_confirmed = True
        more = "more " if self._priced > need.calls else ""
        cost = "" if need.cost is None else f", for about {need.cost:.2f}"
        said = (
            f'this statement makes {need.calls} {more}calls of the priced model "{deployment.name}"'
        )
        if self.conditions.confirm is None:
            warn(f"{said}{cost}; max_calls or max_cost would stop it")
            return
        with self.conditions.telling():
            is_meant = self.conditions.confirm(f"{said}{cost}.")
        if not is_meant:
            raise LimitError(f"{said}{cost}, and that was declined\n  nothing {more}was asked")


def _most(needs: Needs) -> Need:
    return expected.together([expected.at_most(*need) for need in needs])
