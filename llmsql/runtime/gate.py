"""Which inputs of a set go to the model now: no more than fit under the caps at the worst.

Owns how many go at a time. What is expected of the whole set has been checked before.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence

from llmsql.runtime import asked, expected
from llmsql.runtime.answers import Answers
from llmsql.runtime.budget import Budget
from llmsql.runtime.deployments import Deployment
from llmsql.runtime.spent import GATED, Need, Reserved
from llmsql.types import Usage

COUNTED = 1_024
WAIT_SECONDS = 0.02

Most = tuple[Hashable, Need]


class Gate:
    """Lets a set of inputs through to its model; *reserved* is what was expected of it.

    *is_counted* says that what they read was counted exactly, and checked.
    """

    def __init__(
        self,
        budget: Budget,
        deployment: Deployment,
        answers: Answers,
        reserved: Reserved,
        *,
        is_counted: bool,
    ) -> None:
        self.budget = budget
        self.deployment = deployment
        self.answers = answers
        self.reserved = reserved
        names = set(GATED) - ({"input_tokens"} if is_counted else set())
        self.caps = [cap for cap in budget.caps if cap.name in names]
        self.bounds_inputs = any(cap.name != "output_tokens" for cap in self.caps)

    def portions(self, keys: Sequence[Hashable], stopped: threading.Event) -> Iterator[range]:
        """Yield places in *keys*: the next ones when all before have been answered.

        Raises LimitError where the next one alone might pass a cap.
        """
        if not self.caps:
            yield range(len(keys))
            return
        start = 0
        while start < len(keys) and (count := self._let_through(keys, start, stopped)):
            yield range(start, start + count)
            self.reserved.land()
            start += count

    def learn(self, key: Hashable, usage: Usage) -> None:
        """Note what the model says that it has read for *key*."""
        if self.bounds_inputs and usage.input_tokens is not None:
            texts = asked.of(self.deployment, self.answers, key).texts
            self.deployment.bound.learn(texts, usage.input_tokens)

    def _let_through(self, keys: Sequence[Hashable], start: int, stopped: threading.Event) -> int:
        """Reserve as many of *keys* as fit, from *start* on; how many, 0 where it was *stopped*."""
        unspent = [cap.unspent for cap in self.caps]
        wanted = dict(self._fitting(self._needs(keys, start), unspent))
        while not stopped.is_set():
            with self.budget.admission:
                room = [cap.room + self.reserved.most(cap.name) for cap in self.caps]
                if sent := dict(self._fitting(wanted.items(), room)):
                    self.reserved.send(sent)
                    return len(sent)
                is_final = not wanted or not self.budget.others_fly(self.reserved)
            if is_final:
                self._refuse(keys, start)
            stopped.wait(WAIT_SECONDS)  # others rarely need the most that they may
        return 0

    def _refuse(self, keys: Sequence[Hashable], start: int) -> None:
        """Say what *keys* from *start* on might need, unless others have just made room for it."""
        self.reserved.give_up()
        self.budget.check_most(expected.together([need for _, need in self._needs(keys, start)]))

    def _fitting(self, needs: Iterable[Most], room: Sequence[float]) -> Iterator[Most]:
        """Yield *needs* up to the first one that there is no *room* for under some cap."""
        left = list(room)
        for key, need in needs:
            for at, cap in enumerate(self.caps):
                left[at] -= getattr(need, cap.name) or 0
            if min(left) < 0:
                return
            yield key, need

    def _needs(self, keys: Sequence[Hashable], start: int) -> Iterator[Most]:
        """Yield each of *keys* from *start* on with the most that it may need."""
        terms = self.deployment.spec.terms
        for at in range(start, len(keys), COUNTED):
            some = keys[at : at + COUNTED]
            read = self._most_read(some) if self.bounds_inputs else [0] * len(some)
            written = asked.most_written(self.deployment, self.answers, some)
            for key, inputs, outputs in zip(some, read, written, strict=True):
                yield key, Need(1, inputs, outputs, terms.cost(inputs, outputs))

    def _most_read(self, keys: Sequence[Hashable]) -> Sequence[int]:
        """The most tokens that the model may count for each of *keys*."""
        deployment = self.deployment
        deployment.wake()  # one that is loaded may count them itself
        counts = expected.tokens_asked(deployment, self.answers, keys)
        return asked.most_read(deployment, self.answers, keys) if counts is None else counts
