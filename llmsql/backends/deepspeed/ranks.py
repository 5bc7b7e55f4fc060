"""One model in several processes, each with its part of every layer, that take each step together.

Owns the processes and what is said to them. All get the same calls in the same order; every rank
finds the same answers, and the first one tells them. Their side is `rank`'s business.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from llmsql.backends import base
from llmsql.errors import BackendError, LlmsqlError
from llmsql.types import Message, ModelSpec, Prompt

START = (
    "import sys; sys.path[:] = sys.argv[2:];"
    "from llmsql.backends.deepspeed import rank; rank.main(int(sys.argv[1]))"
)
STOP_SECONDS = 5.0
BEHIND_SECONDS = 60.0
"""How long the other ranks may take to fail when one has failed."""
SHOWN_CHARACTERS = 600


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


class Rank:
    """One process: its pipe, and what it writes."""

    def __init__(self, number: int, count: int, accelerator: str) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self.connection: Connection[Any, Any]
        self.connection, theirs = Pipe()
        said = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count}
        with theirs:
            self.popen = subprocess.Popen(
                [sys.executable, "-c", START, str(theirs.fileno()), *sys.path],
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
                pass_fds=[theirs.fileno()],
                env={
                    **os.environ,
                    "DS_ACCELERATOR": accelerator,
                    **{name: str(value) for name, value in said.items()},
                },
                start_new_session=True,  # Ctrl-C is for us; and the group can be ended whole
            )

    def end(self) -> None:
        """End the process, and wait until it is gone."""
        self.connection.close()  # it takes this for the end
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self.log.close()

    def answer(self) -> Any:
        """Return its next answer; raises BackendError where it is gone."""
        try:
            return self.connection.recv()
        except (EOFError, OSError) as error:
            status = self.popen.wait()
            raise BackendError(
                f"a process of DeepSpeed's ended with status {status}: {self._last_words()}\n"
                "  !llm model reload NAME starts it again"
            ) from error

    def _last_words(self) -> str:
        self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, self.log.tell() - SHOWN_CHARACTERS))
        words = self.log.read().decode(errors="replace").strip()
        return words.splitlines()[-1] if words else "it wrote nothing"


class Ranked(base.Model):
    """A model whose layers are split over several processes, which `unload` ends."""

    def __init__(self, order: Order) -> None:
        self._lock = threading.Lock()
        self._ended: BackendError | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="llmsql-deepspeed-")
        order = replace(order, meeting=str(Path(self._folder.name) / "meeting"))
        self.ranks: list[Rank] = []
        try:
            for number in range(order.ranks):
                self.ranks.append(Rank(number, order.ranks, order.accelerator))
            self.told: Mapping[str, Any] = self._ask("load", order)
        except BaseException:  # Ctrl-C as well
            self.unload()
            raise
        self.device = order.accelerator

    def generate(self, prompts: Sequence[Prompt]) -> base.Answered:
        """Yield the completion of each prompt, the first to end first."""
        return self._stream("generate", [_drawn_alike(prompt) for prompt in prompts])

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> base.Scored:
        """Yield the log-odds of yes against no for each (query, passage)."""
        return self._stream("rerank", list(pairs))

    def count_tokens(self, inputs: Sequence[Any]) -> list[int]:
        """Return the tokens of each input, as the model reads them."""
        counted: list[int] = self._ask("count_tokens", list(inputs))
        return counted

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text."""
        tokens: list[list[int]] = self._ask("tokenize", list(texts))
        return tokens

    def apply_chat_template(self, messages: Sequence[Message]) -> str:
        """Return *messages* as the model reads them."""
        text: str = self._ask("apply_chat_template", list(messages))
        return text

    def meta(self) -> Mapping[str, Any]:
        """Return what the model's files say."""
        return self.told

    def unload(self) -> None:
        """End every process, and with them all their memory."""
        self._end(BackendError("this model was unloaded"))

    def _stream(self, method: str, items: list[Any]) -> Iterator[tuple[int, Any]]:
        self._ask("begin", method, items)
        count = len(items)
        try:
            while count:
                index, result = self._ask("next")
                count -= 1
                yield index, result
        finally:
            with contextlib.suppress(LlmsqlError):
                self._ask("close")

    def _ask(self, name: str, *arguments: Any) -> Any:
        """Return what the first rank answers when all are asked; raises what it raised."""
        with self._lock:
            if self._ended:
                raise self._ended
            try:
                answers = self._answers(name, arguments)
            except BaseException as error:  # Ctrl-C as well: its answers would come next time
                self._end(BackendError(str(error)))
                raise
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        if failed:
            raise failed[0]
        return answers[0]

    def _answers(self, name: str, arguments: Sequence[Any]) -> list[Any]:
        """What each rank answers; BackendError where not all do, as none can go on then."""
        with contextlib.suppress(OSError):  # the answers tell
            for rank in self.ranks:
                rank.connection.send((name, arguments))
        waiting: dict[Any, Rank] = {rank.connection: rank for rank in self.ranks}
        found: dict[Rank, Any] = {}
        failed: list[BaseException] = []
        while waiting:
            ready = wait(list(waiting), BEHIND_SECONDS if failed else None)
            if not ready:
                raise failed[0]
            for connection in ready:
                rank = waiting.pop(connection)
                found[rank] = rank.answer()
                if isinstance(found[rank], BaseException):
                    failed.append(found[rank])
        return [found[rank] for rank in self.ranks]

    def _end(self, reason: BackendError) -> None:
        self._ended = self._ended or reason
        while self.ranks:
            self.ranks.pop().end()
        self._folder.cleanup()


def _drawn_alike(prompt: Prompt) -> Prompt:
    """*prompt* with a seed: ranks that drew different words would wait for each other forever."""
    sampling = prompt.sampling
    if sampling.seed is not None or sampling.temperature == 0:
        return prompt
    return replace(prompt, sampling=replace(sampling, seed=secrets.randbits(63)))
