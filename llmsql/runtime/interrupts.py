"""Ctrl-C while functions wait in DuckDB's threads."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmsql.runtime.collector import Collector


@contextmanager
def interruptible(collector: Collector) -> Iterator[None]:
    """Let Ctrl-C reach functions that wait in DuckDB's threads: tell the *collector* first.

    Between statements, when rows that are there are fetched one by one, nobody waits.
    """
    if collector.is_idle:
        yield
        return
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def handler(number: int, frame: Any) -> None:
        collector.is_signalled = True
        collector.cancelled.set()
        signal.default_int_handler(number, frame)

    try:
        signal.signal(signal.SIGINT, handler)
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
