"""One model in several processes, each with its part of every layer, that take each step together.

Owns what is said to the processes. All get the same calls in the same order; every rank finds the
same answers, and the first one tells them. Their side is `rank`'s business.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from llmsql.backends import base
from llmsql.backends.base.proxy import Proxy
from llmsql.errors import BackendError, LlmsqlError
from llmsql.process import Process, ProcessEnded
from llmsql.types import ModelSpec, Prompt

BEHIND_SECONDS = 60.0
"""How long the other ranks may take to fail when one has failed."""


@dataclass(frozen=True)
class Order:
    """
    What each rank loads: files that were checked, and how many of them share the work.

    *accelerator* is what they compute on, *meeting* the file by which they find each other.
    """

    spec: ModelSpec
    path: str
    adapter: str | None
    options: Any
    ranks: int
    accelerator: str = "cuda"
    meeting: str = ""


class Ranked(Proxy):
    """A model whose layers are split over several processes, which `unload` ends."""

    def __init__(self, order: Order) -> None:
        self._lock = threading.Lock()
        self._ended: BackendError | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="llmsql-deepspeed-")
        order = replace(order, meeting=str(Path(self._folder.name) / "meeting"))
        self.ranks: list[Process] = []
        try:
            for number in range(order.ranks):
                self.ranks.append(_started(number, order))
            self.ask("load", order)
        except BaseException:  # Ctrl-C as well
            self.unload()
            raise
        self.device = order.accelerator

    def generate(self, prompts: Sequence[Prompt]) -> base.Answered:
        """Yield the completion of each prompt, the first to end first."""
        return super().generate([_drawn_alike(prompt) for prompt in prompts])

    embed = base.Model.embed  # where memory runs out, ranks would not go on with the same texts

    def unload(self) -> None:
        """End every process, and with them all their memory."""
        self._end(BackendError("this model was unloaded"))

    def stream(self, method: str, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield what every rank finds."""
        self.ask("begin", method, list(items))
        try:
            for _ in items:
                yield self.ask("next")
        finally:
            with contextlib.suppress(LlmsqlError):
                self.ask("close")

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return what the first rank answers when all are asked; raises what it raised."""
        with self._lock:
            if self._ended:
                raise self._ended
            try:
                answers = self._answers(method, arguments)
            except BaseException as error:  # Ctrl-C as well: its answers would come next time
                self._end(BackendError(str(error)))
                raise
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        ((_, found),) = answers[0]
        return found

    def _answers(self, method: str, arguments: Sequence[Any]) -> list[Any]:
        """What is delivered of each rank; BackendError where not all answer: none can go on."""
        delivered = SimpleQueue[tuple[int, Any]]()
        ranks = list(self.ranks)  # an unload takes them away meanwhile
        for number, rank in enumerate(ranks):
            rank.begin(method, *arguments, count=1, deliver=partial(_tagged, delivered, number))
        found: dict[int, Any] = {}
        failed: BaseException | None = None
        while len(found) < len(ranks):
            try:
                number, answer = delivered.get(timeout=BEHIND_SECONDS if failed else None)
            except Empty:
                assert failed
                raise failed from None
            if isinstance(answer, ProcessEnded):
                raise BackendError(
                    f"{answer}\n  !llm model reload NAME starts it again"
                ) from answer
            found[number] = answer
            if isinstance(answer, BaseException):
                failed = failed or answer
        return [found[number] for number in range(len(ranks))]

    def _end(self, reason: BackendError) -> None:
        self._ended = self._ended or reason
        while self.ranks:
            self.ranks.pop().end()
        self._folder.cleanup()


def _started(number: int, order: Order) -> Process:
    """Start the rank *number*, which is told so as torch and DeepSpeed tell ranks."""
    environment = {
        "DS_ACCELERATOR": order.accelerator,
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(order.ranks),
    }
    return Process("llmsql.backends.deepspeed.rank", "a process of DeepSpeed's", environment)


def _tagged(delivered: SimpleQueue[tuple[int, Any]], number: int, answer: Any) -> None:
    delivered.put((number, answer))


def _drawn_alike(prompt: Prompt) -> Prompt:
    """*prompt* with a seed: ranks that drew different words would wait for each other forever."""
    sampling = prompt.sampling
    if sampling.seed is not None or sampling.temperature == 0:
        return prompt
    return replace(prompt, sampling=replace(sampling, seed=secrets.randbits(63)))
