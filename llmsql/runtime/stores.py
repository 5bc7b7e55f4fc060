"""Which store the statements of a database use: the file beside it, another one, or none.

Owns the names and the opening; a store is opened when something is first asked of it, and shared by
all connections of the database. What is in one is the store's business.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from llmsql.config import CACHE_OFF, CACHE_ON
from llmsql.errors import warn
from llmsql.store import SUFFIX, Store


class Stores:
    """The stores of one database in this process; *database* is its file, None in memory."""

    def __init__(self, database: str | None, *, is_read_only: bool) -> None:
        self.database = database
        self.is_read_only = is_read_only
        self._open: dict[Path | None, Store] = {}
        self._lock = threading.Lock()
        self._claimed: set[bytes] = set()

    def claim(self, statement: bytes) -> bool:
        """Let one running statement of a text keep what it draws; False for a second one."""
        with self._lock:
            is_first = statement not in self._claimed
            self._claimed.add(statement)
            return is_first

    def release(self, statement: bytes | None) -> None:
        """The statement that claimed its text has ended."""
        with self._lock:
            self._claimed.discard(statement or b"")

    def path(self, cache: str) -> Path | None:
        """Where answers are kept under the setting *cache*; None is nowhere."""
        if cache.lower() in CACHE_OFF:
            return None
        if cache.lower() in CACHE_ON:
            return Path(self.database + SUFFIX) if self.database else None
        return Path(os.path.realpath(cache))

    def at(self, cache: str) -> Store:
        """The store under the setting *cache*."""
        path = self.path(cache)
        with self._lock:
            if path not in self._open:
                self._open[path] = self._opened(path)
            return self._open[path]

    def close(self) -> None:
        """Make what was put durable, and close every store."""
        with self._lock:
            for store in self._open.values():
                with suppress(OSError):
                    store.close()
            self._open.clear()

    def _opened(self, path: Path | None) -> Store:
        is_beside = path is not None and str(path) == f"{self.database}{SUFFIX}"
        is_read_only = self.is_read_only and is_beside
        try:
            if path is None or (is_read_only and not path.exists()):
                return Store.in_memory()
            return Store.open(path, is_read_only=is_read_only)
        except OSError as error:  # a name that is too long, say
            warn(f'answers cannot be kept in "{path}": {error.strerror}\n  !llm setup "cache=PATH"')
            return Store.in_memory()
