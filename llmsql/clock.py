"""A line on a terminal that says how long something takes which nobody can count."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TextIO

DELAY_SECONDS = 1.0
TURN_SECONDS = 1.0
_CLEARED = "\r\x1b[K"


class Clock:
    """While it is entered, *what* and its seconds stand on *stream*, if that is a terminal."""

    def __init__(self, stream: TextIO, what: str) -> None:
        self.stream = stream
        self.what = what
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="llmsql-clock", daemon=True)

    def __enter__(self) -> Clock:
        if self.stream.isatty():
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        if self._over.wait(DELAY_SECONDS):
            return
        while not self._over.is_set():
            passed = time.monotonic() - started
            self._write(f"{_CLEARED}{self.what}: {passed:.0f} s")
            self._over.wait(TURN_SECONDS)
        self._write(_CLEARED)

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()
