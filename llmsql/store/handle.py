"""One connection to the file of a store, opened when it is needed and again when the file changed.

Owns its lock and its life. What an error means is the file's to say.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from llmsql.store.file import File, Unavailable

RETRY_SECONDS = 30.0  # how long a file that could not be used is left in peace

T = TypeVar("T")


class Handle:
    """A connection that survives what happens to its file; for several threads, one at a time."""

    def __init__(self, file: File, *, is_writing: bool) -> None:
        self._file = file
        self._is_writing = is_writing
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._is_closed = False
        self._retry_at = 0.0  # a reader does not wait for a locked file again and again
        self._lock = threading.RLock()

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What *work* returns, tried again where the file was set aside. Raises Unavailable."""
        with self._lock:
            if time.monotonic() < self._retry_at:
                raise Unavailable
            for _ in range(3):  # the file, its successor, memory
                try:
                    connection = self._current()
                    return work(connection)
                except sqlite3.Error as error:
                    inode = self._inode
                    self._judge(error, inode)
                    self._drop()
            raise Unavailable

    def run_alone(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The same in a transaction, which no other process can come between."""

        def transaction(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                self._undo()
                raise
            return result

        return self.run(transaction)

    def close(self) -> None:
        """Close the connection; nothing runs after."""
        with self._lock:
            self._is_closed = True
            self._drop()

    def _current(self) -> sqlite3.Connection:
        if self._is_closed:
            raise Unavailable
        if self._connection is not None and self._inode not in (0, self._file.inode()):
            self._drop()  # another process has set the file aside
        if self._connection is None:
            self._connection, self._inode = self._file.connect(is_writing=self._is_writing)
        if self._connection is None:
            raise Unavailable
        return self._connection

    def _judge(self, error: sqlite3.Error, inode: int) -> None:
        try:
            self._file.judge(error, inode, is_writing=self._is_writing)
        except Unavailable:
            if not self._is_writing:
                self._retry_at = time.monotonic() + RETRY_SECONDS
            raise

    def _undo(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _drop(self) -> None:
        connection, self._connection, self._inode = self._connection, None, 0
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
