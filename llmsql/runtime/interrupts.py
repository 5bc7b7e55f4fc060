"""Ctrl-C while functions wait in DuckDB's threads, and while a transaction of ours ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from llmsql.runtime.collector import Collector

_MOST_PRESSED = 8


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


def roll_back(con: Any) -> None:
    """End a transaction of ours on *con*, if there is one, also while somebody interrupts.

    Ctrl-C comes twice, as a signal and from the thread that is told of it: what came later ended
    the ROLLBACK, and the user was left in a transaction that he had not begun.
    """
    for left in reversed(range(_MOST_PRESSED)):
        try:
            con.execute("ROLLBACK")
            return
        except (duckdb.InterruptException, KeyboardInterrupt, RuntimeError):
            if not left:
                raise
        except duckdb.Error as error:
            if "no transaction is active" in str(error):
                return
            raise
