"""One thread that runs what it is given, in order, and never keeps the interpreter from ending."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

Task = tuple[Future[Any], Callable[[], Any]]


class Worker:
    """A daemon thread with a queue; it starts with its first task and ends with `stop`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._starting = threading.Lock()
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Start the thread now; a forked process has none of its parent's."""
        if self._pid != os.getpid():
            self._begin()
        with self._starting:
            if not self._thread.ident:
                self._thread.start()

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        """Run *work* after what was submitted before; returns its future."""
        future: Future[Any] = Future()
        try:
            self.start()
        except RuntimeError:  # from Python 3.12 on no thread begins while the interpreter ends
            _carry_out(future, work)
        else:
            self._tasks.put((future, work))
        return future

    def stop(self) -> None:
        """End the thread after what was submitted."""
        if self._thread.ident:
            self._tasks.put(None)

    def join(self, seconds: float | None) -> None:
        """Wait for the thread to end, so many seconds at most."""
        if self._thread.ident and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            _carry_out(*task)
            del task


def _carry_out(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # whoever waits for the future gets it
        future.set_exception(error)
