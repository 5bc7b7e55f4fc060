"""A model that is there several times, as the rest of llmsql knows models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmsql.backends.base.hosted import Hosted
from llmsql.backends.base.proxy import Proxy
from llmsql.errors import warn
from llmsql.replicas.replica import Replica
from llmsql.replicas.sharing import Sharing


class Replicated(Proxy):
    """
    Several replicas of one model, which share every batch.

    Each is given *least* inputs at a time or more. One that dies is started again as soon as there
    is something for it to do, and what it had not answered is run again; an input at which a
    replica dies twice fails alone.
    """

    def __init__(self, starts: Sequence[Callable[[], Hosted]], least: int) -> None:
        self.replicas: list[Replica] = []
        self.least = least
        try:
            for number, start in enumerate(starts):
                self.replicas.append(Replica(number, start))
            for replica in self.replicas:
                replica.settle()
            for said in self.replicas[0].model.told.get("warnings", ()):
                warn(said)
        except BaseException:  # Ctrl-C as well
            self.unload()
            raise
        first = self.replicas[0].model
        devices = [replica.model.device for replica in self.replicas]
        self.device = ", ".join(dict.fromkeys(devices))
        self.dimension, self.note = first.dimension, first.note

    @property
    def pids(self) -> list[int]:
        """The ids of the processes."""
        return [replica.model.process.pid for replica in self.replicas]

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return what one of them returns."""
        return self.replicas[0].ask(method, *arguments)

    def stream(self, method: str, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield what they answer, each its share."""
        return iter(Sharing(self.replicas, method, items, self.least))

    def unload(self) -> None:
        """End every process, all at the same time."""
        ending = [threading.Thread(target=replica.unload) for replica in self.replicas]
        for thread in ending:
            thread.start()
        for thread in ending:
            thread.join()
