"""How far a statement's model calls are: numbers, and who is told of them.

How it looks on a terminal or in a notebook is `progress_bar`'s business, in the front ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Progress:
    """
    The calls of one statement at one moment.

    *total* inputs are known to be needed so far, *reused* were answered before, *done* are answered
    or *failed*; a statement of several steps learns its later inputs from its earlier answers.
    *retrying* requests wait to be sent to a server again.
    """

    statement: int
    model: str = ""
    total: int = 0
    done: int = 0
    reused: int = 0
    failed: int = 0
    retrying: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    is_finished: bool = False

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens written in a second; None before there are any."""
        return self.output_tokens / self.seconds if self.output_tokens and self.seconds else None

    @property
    def seconds_left(self) -> float | None:
        """How long it will take at this pace; None before there is one."""
        if not self.done or not self.seconds:
            return None
        return (self.total - self.done) * self.seconds / self.done

    @property
    def row(self) -> dict[str, Any]:
        """All of it as one row of a table."""
        rates = {
            "tokens_per_second": self.tokens_per_second,
            "seconds_left": self.seconds_left,
        }
        return asdict(self) | rates


Observer = Callable[[Progress], None]


class Reporter:
    """Tells an observer how far a statement is, a few times a second at most."""

    def __init__(self, statement: int, observer: Observer | None) -> None:
        self.state = Progress(statement)
        self.observer = observer
        self.started = time.monotonic()
        self._is_told = False
        self._lock = threading.Lock()  # DuckDB's threads all tell what they know

    def expect(self, model: str, count: int, reused: int) -> None:
        """*count* more inputs are to be asked of *model*; *reused* were known before."""
        with self._lock:
            total = self.state.total + count
            self.state = replace(self.state, model=model, total=total, reused=reused)

    def measure(self, **numbers: Any) -> None:
        """Take down what is known now."""
        seconds = time.monotonic() - self.started
        with self._lock:
            self.state = replace(self.state, seconds=seconds, **numbers)

    def tell(self) -> None:
        """Tell the observer."""
        if self.observer is not None:
            self._is_told = True
            self.observer(self.state)

    def finish(self) -> None:
        """Tell whoever was told before that it is over."""
        with self._lock:
            self.state = replace(self.state, is_finished=True)
        if self.observer is not None and self._is_told:
            self.observer(self.state)
