"""Running a script and showing what comes of it: results on one stream, all talk on another.

Owns the order of things, warnings, timings, errors with their place, and Ctrl-C. Where scripts come
from is up to the command line and the prompt; how results look is up to `render`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TextIO

import duckdb

from llmsql import render
from llmsql.catalog import secrets
from llmsql.clock import Clock
from llmsql.errors import LlmsqlWarning
from llmsql.progress_bar import ProgressBar

SHOWN_ROWS = 40
_LOADS = re.compile(r"\s*(run\s+command|!\w+\s+model\s+reload)\b", re.IGNORECASE)
SHOWN_LINES = 5


@dataclass
class Console:
    """A connection, where its results go, and how they look."""

    connection: Any
    out: TextIO
    err: TextIO
    format: str = "box"
    is_timed: bool = False
    is_echoing: bool = False

    def __post_init__(self) -> None:
        if self.err.isatty():
            self.connection.on_progress = ProgressBar(self.err)

    def run(self, script: str, source: str = "") -> bool:
        """Run the statements of *script* up to the first error, and return True if there was none.

        *source* is what errors call the script; without one they leave out its name and line.
        """
        for piece in self.connection.statements(script):
            if self.is_echoing:
                self.say(secrets.hidden(piece.text))
            started = time.perf_counter()
            try:
                with interruptible(self.connection), warned(self._warn):
                    self._show(piece.text)
            except duckdb.Error as error:
                text = message(error)
                if source:  # at the prompt the statement is still in sight
                    text = f"{source}:{piece.line}: {text}{_excerpt(error, piece.text)}"
                self.say(text)
                return False
            if self.is_timed:
                self.say(f"took {time.perf_counter() - started:.3f} s")
        return True

    def say(self, text: str) -> None:
        """Write a line that is not part of a result."""
        self.out.flush()
        self.err.write(text + "\n")
        self.err.flush()

    def _show(self, statement: str) -> None:
        with self._clock(statement):
            # The empty namespace keeps this program's own variables from being read as tables.
            result = self.connection.execute(statement, namespace={})
        if render.is_shown(result, statement):
            self.out.writelines(render.text(result, self.format, self._page()))
            self.out.flush()

    def _clock(self, statement: str) -> AbstractContextManager[Any]:
        """What is seen while a model loads, which may take minutes the first time."""
        return Clock(self.err, "loading") if _LOADS.match(statement) else nullcontext()

    def _page(self) -> render.Page | None:
        if not self.out.isatty():
            return None
        return render.Page(shutil.get_terminal_size().columns, SHOWN_ROWS)

    def _warn(self, text: str) -> None:
        self.say(f"warning: {text}")


def message(error: BaseException) -> str:
    """What *error* says and what is noted on it, its name where DuckDB has put none in front."""
    text = str(error).strip()
    if type(error).__module__.startswith("llmsql"):
        text = f"{type(error).__name__}: {text}"
    return "\n  ".join([text or type(error).__name__, *notes(error)])


def notes(error: BaseException | None) -> list[str]:
    """What is noted on *error*, or on what caused it."""
    found: list[str] = []
    while error is not None and not found:
        found = list(getattr(error, "__notes__", ()))
        error = error.__cause__
    return found


@contextmanager
def warned(say: Callable[[str], None]) -> Iterator[None]:
    """Give each of llmsql's warnings to *say*, as one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", LlmsqlWarning)
        show = warnings.showwarning

        def shown(warning: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, LlmsqlWarning):
                say("; ".join(map(str.strip, str(warning).splitlines())))
            else:
                show(warning, category, *place, **more)

        warnings.showwarning = shown  # type: ignore[assignment]
        yield


@contextmanager
def interruptible(connection: Any) -> Iterator[None]:
    """Let Ctrl-C stop what *connection* is running, and raise KeyboardInterrupt.

    DuckDB does not always look for signals while it computes, and Python runs no handler before
    DuckDB returns. A thread that is told of the signal by the operating system can interrupt it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    pressed = threading.Event()

    def watch() -> None:
        while byte := reader.recv(1):
            if byte[0] == signal.SIGINT:
                pressed.set()
                connection.interrupt()

    watcher = threading.Thread(target=watch, name="llmsql-ctrl-c", daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    except (duckdb.Error, RuntimeError) as error:
        if pressed.is_set() or str(error) == "Query interrupted":
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
        watcher.join()
        reader.close()


def silence(stream: TextIO) -> None:
    """Send what is left in *stream* nowhere: its reader has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _excerpt(error: BaseException, statement: str) -> str:
    """The first lines of *statement*, unless the error shows them already."""
    if "\nLINE " in str(error):
        return ""
    lines = secrets.hidden(statement).split("\n")
    more = ["…"] if len(lines) > SHOWN_LINES else []
    return "".join(f"\n  | {line.rstrip()}" for line in lines[:SHOWN_LINES] + more)
