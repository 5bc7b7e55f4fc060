"""A process of ours: started, asked, and ended with all its memory.

What is asked and answered is the business of the module that runs in it, whose function `main` is
given the other end of a pipe. That module sees the end of the pipe when we are gone.
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
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Pipe
from queue import SimpleQueue
from typing import Any

from llmsql.errors import BackendError, LlmsqlError

START = (
    "import importlib, sys; sys.path[:] = sys.argv[3:];"
    "importlib.import_module(sys.argv[1]).main(int(sys.argv[2]))"
)
STOP_SECONDS = 5.0
SHOWN_CHARACTERS = 600
NOT_OURS = (
    "belongs to the process that this one was forked from\n"
    '  connect anew and deploy it here, or start processes with multiprocessing\'s "spawn"'
)
"""What is said of whatever has threads, in a process that was forked since."""

Deliver = Callable[[Any], None]
"""Takes a list of (index, result), or an error that is the last thing it gets."""


class ProcessEnded(BackendError):
    """The process ended by itself or was killed, so that what it was asked has no answer."""


class Process:
    """
    One process that runs the *module*, and the calls that are under way.

    Any thread may call; each call gets its own answers. *owner* is what messages call it.
    """

    def __init__(self, module: str, owner: str, environment: Mapping[str, str]) -> None:
        self.owner = owner
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._connection, theirs = Pipe()
        self._calls: dict[int, tuple[Deliver, int]] = {}
        self._numbers = itertools.count(1)
        self._sending, self._lock = threading.Lock(), threading.Lock()
        self._ended: BackendError | None = None
        self._parent = os.getpid()
        with theirs:
            self._popen = self._started(module, theirs.fileno(), environment)
        self._listener = threading.Thread(
            target=self._listen, name=f"llmsql-process-{self.pid}", daemon=True
        )
        self._listener.start()

    def _started(
        self, module: str, handle: int, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [sys.executable, "-c", START, module, str(handle), *sys.path],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[handle],
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is for us; and the group can be ended whole
            )
        except OSError as error:  # too many processes, or no memory for another
            raise BackendError(f"{self.owner} cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        """The process's id, which is also its group's."""
        return self._popen.pid

    @property
    def _is_ours(self) -> bool:
        """False in a process that was forked since, which has the pipe and no listener."""
        return os.getpid() == self._parent

    @property
    def has_ended(self) -> bool:
        """True once the process is gone, for whatever reason."""
        return self._ended is not None

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return what *method* answers; raises what it raised."""
        return next(result for _, result in self.stream(method, *arguments, count=1))

    def stream(self, method: str, *arguments: Any, count: int) -> Iterator[tuple[int, Any]]:
        """Yield *count* (index, result) as they come; closed early, the rest is given up."""
        if not count:
            return
        answers = SimpleQueue[Any]()
        number = self.begin(method, *arguments, count=count, deliver=answers.put)
        try:
            while count:
                results = answers.get()
                if isinstance(results, BaseException):
                    raise results
                for index, result in results:
                    count -= 1
                    yield index, result
        finally:
            self.give_up(number)

    def begin(self, method: str, *arguments: Any, count: int, deliver: Deliver) -> int:
        """Ask for *count* results, which the listener's thread delivers; returns the call's number.

        What goes wrong is delivered as well, where the process is gone already at once.
        """
        number = next(self._numbers)
        with self._lock:
            ended = self._ended
            if not self._is_ours:
                ended = BackendError(f"{self.owner} {NOT_OURS}")
            if not ended:
                self._calls[number] = deliver, count
        if ended:
            deliver(ended)
            return number
        try:
            self._send((number, method, arguments))
        except BaseException:
            self._calls.pop(number, None)
            raise
        return number

    def give_up(self, number: int) -> None:
        """Want no more answers of the call *number*; nothing happens where it has them all."""
        if not self._is_ours:
            return
        with self._lock:
            is_running = self._calls.pop(number, None) is not None
        if is_running:
            self._send((number, "abort", ()))

    def end(self) -> None:
        """End the process and whatever it started, and wait until they are gone."""
        if not self._is_ours:
            return
        with self._lock:
            self._ended = self._ended or BackendError("this model was unloaded")
        self._send(None)
        try:
            self._wait()
        finally:
            self._kill_group()
            self._popen.wait()
            self._listener.join()

    def _send(self, message: Any) -> None:
        with self._sending, contextlib.suppress(OSError):  # the listener finds out why
            self._connection.send(message)

    def _listen(self) -> None:
        """Hand every answer to the call it belongs to, until the process ends."""
        with self._connection, self._log:
            broken: BackendError | None = None
            try:
                while True:
                    self._deliver(*self._connection.recv())
            except (EOFError, OSError):
                self._wait()
            except Exception as error:  # its class is not here, or cannot be made anew
                broken = BackendError(f"{self.owner} gave an answer that cannot be read: {error}")
            self._kill_group()
            self._popen.wait()
            with self._lock:
                self._ended = self._ended or broken or ProcessEnded(self._last_words())
                calls = list(self._calls.values())
                self._calls.clear()
        for deliver, _ in calls:
            deliver(self._ended)

    def _deliver(self, number: int, results: Any) -> None:
        with self._lock:
            deliver, left = self._calls.pop(number, (None, 0))
            if deliver is None:
                return  # given up
            left -= left if isinstance(results, BaseException) else len(results)
            if left > 0:
                self._calls[number] = deliver, left
        deliver(results.original if isinstance(results, Stranger) else results)

    def _wait(self) -> None:
        """Let the process end by itself, if it does soon."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(STOP_SECONDS)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS
            os.killpg(self.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        """Why the process ended: what killed it, and what it wrote last."""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - SHOWN_CHARACTERS))
        words = self._log.read().decode(errors="replace").strip().splitlines()
        last = words[-1] if words else "it wrote nothing"
        code = self._popen.returncode
        if code == -signal.SIGKILL:  # of which it knew nothing
            return f"{self.owner} ended: killed by SIGKILL, as where memory runs out"
        return f"{self.owner} ended: {_signal(code)}{last}"


def _signal(code: int) -> str:
    """What killed a process that ended with *code*, before more; empty where it ended by itself."""
    known = {each.value: each.name for each in signal.Signals}
    return "" if code >= 0 else f"killed by {known.get(-code, f'signal {-code}')}; "


def own_cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def translated(error: Exception) -> LlmsqlError | Stranger:
    """Return *error* as it can cross a pipe: one of ours, or the name and the text of another."""
    for cls in type(error).__mro__:
        if cls.__module__ == LlmsqlError.__module__:
            known: LlmsqlError = cls(str(error))
            return known
    return Stranger(type(error).__name__, str(error))


class Stranger(Exception):
    """What a library raised in another process: its class is not known here."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name, text)

    @property
    def original(self) -> Exception:
        """An error of that name that says the same."""
        name, text = self.args
        error: Exception = type(name, (Exception,), {})(text)
        return error
