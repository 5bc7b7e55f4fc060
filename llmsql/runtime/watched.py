"""A running statement as other processes see it: a row in the store.

Owns when that is written and what it says; which rows are of processes that live is the store's
business.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Any

from llmsql.store import Store

WATCHED_SECONDS = 0.4


class Watched:
    """The row of the statement numbered *number*, which is gone when the statement has ended."""

    def __init__(self, number: int, store: Callable[[], Store]) -> None:
        self.number = number
        self.store = store
        self._at = time.monotonic()  # what ends before the first time is never written
        self._is_shown = False

    def show(self, row: Callable[[], dict[str, Any]]) -> None:
        """Write *row*, unless one has been just now."""
        now = time.monotonic()
        if now - self._at >= WATCHED_SECONDS:
            self._at = now
            self._is_shown |= self.store().show(self.number, json.dumps(row()).encode())

    def end(self) -> None:
        """Take the row away."""
        if self._is_shown:
            self._is_shown = False
            self.store().show(self.number, None)


def elsewhere(store: Store, own: Collection[int]) -> Iterator[dict[str, Any]]:
    """The rows of running statements that keep their answers in *store*, but those of *own*."""
    for number, row in store.shown().items():
        with suppress(ValueError):  # what another version has written
            if number not in own and isinstance(found := json.loads(row), dict):
                yield found
