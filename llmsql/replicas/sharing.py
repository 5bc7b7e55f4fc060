"""One set of inputs on its way through the replicas, whichever of them die meanwhile.

Runs in the thread that asks: what the processes say comes as events, one after the other. Which
inputs are next is `work`'s business, how a process is started again that of `replica`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import Any

from llmsql.errors import BackendError, GenerationError
from llmsql.process import ProcessEnded
from llmsql.replicas.replica import Replica
from llmsql.replicas.work import Unit, Work
from llmsql.types import Completion, Measured, Usage

HOPELESS_AT_FIRST, HOPELESS_LATER = 3, 8
"""So many deaths of a replica in a row, with no answer of its own between, mean that there will be
none. Once something was answered more are borne: there may be several inputs that kill."""

Event = tuple[Replica, Unit | None, Any]
"""What a replica said of a unit; without a unit, what came of starting it again."""


class Sharing:
    """The answers to *items*, from the *method* of all *replicas*, in the order they come."""

    def __init__(
        self, replicas: Sequence[Replica], method: str, items: Sequence[Any], least: int
    ) -> None:
        self.replicas = replicas
        self.method = method
        self.items = items
        self.least = least
        self.work = Work(len(items), len(replicas), least)
        self._events: SimpleQueue[Event] = SimpleQueue()
        # What each is asked now, with how to give it up.
        self._running: dict[Replica, dict[Unit, Callable[[], None]]] = {r: {} for r in replicas}
        self._loading: set[Replica] = set()
        self._barren = dict.fromkeys(replicas, 0)
        self._has_answers = False

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Yield every index with its result; closed early, what runs is given up."""
        try:
            while self.work.unsettled:
                self._occupy()
                yield from self._taken(*self._events.get())
        finally:
            for units in self._running.values():
                for give_up in units.values():
                    give_up()

    def _occupy(self) -> None:
        """Give every replica something to do that has too little, as long as there is something."""
        for replica in self.replicas:
            if replica in self._loading or not self._has_room(replica):
                continue
            if not replica.is_ready and self.work.has_more:
                self._load(replica)
            elif unit := self.work.take():
                self._give(replica, unit)

    def _has_room(self, replica: Replica) -> bool:
        """True where *replica* has less than it may have; suspects are run by themselves."""
        units = self._running[replica]
        if not (units and replica.is_ready):  # that it died with them is still to be told
            return not units
        is_by_itself = any(unit.is_suspect for unit in units) or not self.work.has_fresh
        return not is_by_itself and sum(len(unit.left) for unit in units) < self.least

    def _give(self, replica: Replica, unit: Unit) -> None:
        asked = [self.items[row] for row in unit.rows]
        deliver = partial(self._deliver, replica, unit)
        call = replica.model.begin(self.method, asked, deliver)
        self._running[replica][unit] = partial(replica.model.process.give_up, call)

    def _load(self, replica: Replica) -> None:
        self._loading.add(replica)
        replica.load().add_done_callback(lambda _: self._deliver(replica, None, None))

    def _deliver(self, replica: Replica, unit: Unit | None, said: Any) -> None:
        """In another thread."""
        self._events.put((replica, unit, said))

    def _taken(self, replica: Replica, unit: Unit | None, said: Any) -> Iterator[tuple[int, Any]]:
        """Yield what *said* settles, which *replica* said of *unit*."""
        if unit is None:
            self._settle(replica)
        elif unit not in self._running[replica]:
            pass  # it died with another
        elif isinstance(said, ProcessEnded):
            yield from self._died(replica, said)
        elif isinstance(said, BaseException):
            raise said
        else:
            yield from self._answered(replica, unit, said)

    def _settle(self, replica: Replica) -> None:
        self._loading.discard(replica)
        try:
            replica.settle()
        except BackendError as error:
            self._count_death(replica, error, HOPELESS_AT_FIRST)

    def _answered(
        self, replica: Replica, unit: Unit, results: Sequence[tuple[int, Any]]
    ) -> Iterator[tuple[int, Any]]:
        self._barren[replica], self._has_answers = 0, True
        settled = [(self.work.answered(unit, place), result) for place, result in results]
        if not unit.left:
            del self._running[replica][unit]
        self._occupy()  # before the reader takes his time
        for index, result in settled:
            yield index, numbered(result, replica.number)

    def _died(self, replica: Replica, error: ProcessEnded) -> Iterator[tuple[int, GenerationError]]:
        units, self._running[replica] = self._running[replica], {}
        for to_blame in map(self.work.died, units):
            if to_blame is not None:
                yield to_blame, numbered(_twice(error), replica.number)
        limit = HOPELESS_LATER if self._has_answers else HOPELESS_AT_FIRST
        self._count_death(replica, error, limit)

    def _count_death(self, replica: Replica, error: BackendError, limit: int) -> None:
        """Raise *error* where it is the last of so many, unless nothing is left to be asked."""
        self._barren[replica] += 1
        if self._barren[replica] >= limit and self.work.unsettled:
            times = self._barren[replica]
            raise BackendError(
                f"{error}\n  that was {times} times in a row without an answer between\n"
                "  free memory, or deploy a smaller model; what was answered is kept"
            ) from error


def _twice(error: ProcessEnded) -> GenerationError:
    """The error of an input at which a replica died a second time."""
    who, _, why = str(error).partition(" ended: ")
    return GenerationError(f"{who} ended twice on this input: {why}")


def numbered(result: Any, number: int) -> Any:
    """*result* with the number of the replica that it comes from."""
    if isinstance(result, GenerationError):
        result.replica = number
        return result
    if isinstance(result, Completion | Measured):
        return replace(result, replica=number) if number else result
    return Measured(result, Usage(), replica=number)
