"""The process that vLLM runs in: started, asked, and ended with all its memory.

vLLM takes threads, signals, environment and standard output for itself, and a process is the only
way to give everything back. What is asked and answered is `served`'s business on the other side.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Pipe
from queue import SimpleQueue
from typing import Any

from llmsql.errors import BackendError, LlmsqlError

START = (
    "import sys; sys.path[:] = sys.argv[2:];"
    "from llmsql.backends.vllm import served; served.main(int(sys.argv[1]))"
)
STOP_SECONDS = 5.0
SHOWN_CHARACTERS = 600


class Process:
    """
    One engine in a process of its own, and the calls that are under way.

    Any thread may call; each call gets its own answers.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._connection, theirs = Pipe()
        self._calls: dict[int, SimpleQueue[Any]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._ended: BackendError | None = None
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", START, str(theirs.fileno()), *sys.path],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is for us; and the group can be ended whole
            )
        self._listener = threading.Thread(target=self._listen, name="llmsql-vllm", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The process's id, which is also its group's."""
        return self._popen.pid

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return what *method* answers; raises what it raised."""
        return next(result for _, result in self.stream(method, *arguments, count=1))

    def stream(self, method: str, *arguments: Any, count: int) -> Iterator[tuple[int, Any]]:
        """Yield *count* (index, result) as they come; closed early, the rest is given up."""
        number, answers = next(self._numbers), SimpleQueue[Any]()
        self._calls[number] = answers
        try:
            self._send((number, method, arguments))
            while count:
                for index, result in _checked(answers.get()):
                    count -= 1
                    yield index, result
        finally:
            del self._calls[number]
            if count:
                with contextlib.suppress(LlmsqlError):
                    self._send((number, "abort", ()))

    def end(self) -> None:
        """End the process and whatever it started, and wait until they are gone."""
        self._ended = self._ended or BackendError("this model was unloaded")
        with contextlib.suppress(OSError):
            self._connection.send(None)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(STOP_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()
            self._listener.join()

    def _send(self, message: Any) -> None:
        if self._ended:
            raise self._ended
        try:
            with self._lock:
                self._connection.send(message)
        except OSError as error:
            self._listener.join()  # it finds out why
            raise self._ended or BackendError("vLLM's process ended") from error

    def _listen(self) -> None:
        """Hand every answer to the call it belongs to, until the process ends."""
        with self._connection, self._log:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    number, results = self._connection.recv()
                    if number in self._calls:
                        self._calls[number].put(results)
            self._popen.wait()
            self._ended = self._ended or BackendError(self._last_words())
        for answers in list(self._calls.values()):
            answers.put(self._ended)

    def _last_words(self) -> str:
        """Why the process ended, from what it wrote last."""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - SHOWN_CHARACTERS))
        words = self._log.read().decode(errors="replace").strip()
        last = words.splitlines()[-1] if words else "it wrote nothing"
        return f"vLLM's process ended: {last}\n  !llm model reload NAME starts it again"


def _checked(results: Any) -> Sequence[tuple[int, Any]]:
    if isinstance(results, BaseException):
        raise results
    answered: Sequence[tuple[int, Any]] = results
    return answered
