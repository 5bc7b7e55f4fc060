"""A model that is there several times, as the rest of llmsql knows models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llmsql.backends import base
from llmsql.backends.hosted import Hosted
from llmsql.errors import warn
from llmsql.replicas.replica import Replica
from llmsql.replicas.sharing import Sharing
from llmsql.types import Message, Prompt


class Replicated(base.Model):
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

    def generate(self, prompts: Sequence[Prompt]) -> base.Answered:
        """Yield the completion of each prompt."""
        return self._shared("generate", prompts)

    def embed(self, texts: Sequence[str]) -> base.Embedded:
        """Yield the vector of each text."""
        return self._shared("embed", texts)

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> base.Scored:
        """Yield the score of each pair."""
        return self._shared("rerank", pairs)

    def count_tokens(self, inputs: Sequence[Any]) -> list[int] | None:
        """Return what one of them returns."""
        counted: list[int] | None = self.replicas[0].ask("count_tokens", inputs)
        return counted

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return what one of them returns."""
        tokens: list[list[int]] = self.replicas[0].ask("tokenize", texts)
        return tokens

    def apply_chat_template(self, messages: Sequence[Message]) -> str:
        """Return what one of them returns."""
        text: str = self.replicas[0].ask("apply_chat_template", messages)
        return text

    def meta(self) -> Mapping[str, Any]:
        """Return what one of them returns."""
        told: Mapping[str, Any] = self.replicas[0].ask("meta")
        return told

    def unload(self) -> None:
        """End every process, all at the same time."""
        ending = [threading.Thread(target=replica.unload) for replica in self.replicas]
        for thread in ending:
            thread.start()
        for thread in ending:
            thread.join()

    def _shared(self, method: str, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        return iter(Sharing(self.replicas, method, items, self.least))
