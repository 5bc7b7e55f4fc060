"""The file of a store: opening it, judging what is wrong with it, setting it aside.

Owns the words about it, each said once, and always in a caller's thread. Connections and when to
try again are `handle`'s and `writer`'s.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from llmsql.errors import warn
from llmsql.store import schema

LOCK_SECONDS = 5.0  # how long a file that another process has locked is waited for
CACHE_KIB = 16_384
DESCRIPTORS = 16
CHECKPOINT_PAGES = 4_000
SUFFIX = ".llmsql"
"""What the name of a store beside a database ends in: shop.duckdb.llmsql."""

_SIDES = ("", "-wal", "-shm")
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Unavailable(Exception):
    """The file cannot be used now; why has been noted to be said."""


class File:
    """
    One file, or with *path* None memory in its place.

    *is_usable* where answers can be looked up in it, *is_writable* where something can be added.
    """

    def __init__(self, path: Path | None, *, is_read_only: bool = False) -> None:
        self.path = path
        self.is_usable = path is not None
        self.is_writable = path is not None and not is_read_only
        self._is_read_only = is_read_only
        self._lock = threading.RLock()
        self._is_retried = False  # since it was opened last
        self._unsaid: list[str] = []
        self._said: set[str] = set()

    def connect(self, *, is_writing: bool) -> tuple[sqlite3.Connection | None, int]:
        """
        A connection and the inode of its file; None where there is nothing to read yet.

        One for writing is to memory where the file cannot be written. Raises sqlite3.Error.
        """
        if self.path is None or not (self.is_writable if is_writing else self.is_usable):
            return (_memory() if is_writing or self.path is None else None), 0
        with self._alone():
            if self.path.is_dir():
                self._leave_alone("a directory")
                return self.connect(is_writing=is_writing)
            if is_writing and not self.path.parent.is_dir():
                self.give_up(
                    f'there is no folder "{self.path.parent}" for the result store',
                    f'to make it: mkdir -p "{self.path.parent}"',
                )
                return self.connect(is_writing=is_writing)
            if not is_writing and not self.path.exists():
                return None, 0
            connection = self._ready(is_writing)
            if connection is not None:
                self._is_retried = False
                return connection, self.inode()
            return self.connect(is_writing=True) if is_writing else (None, 0)

    def inode(self) -> int:
        """The inode at the path now, 0 where there is none."""
        try:
            return os.stat(self.path).st_ino if self.path else 0
        except OSError:
            return 0

    def judge(self, error: sqlite3.Error, inode: int, *, is_writing: bool) -> None:
        """
        Do what *error* calls for; returns where trying once more makes sense.

        *inode* is that of the file it came of, 0 if it was not opened. Raises Unavailable.
        """
        code = _code(error)
        primary = code & 0xFF
        if primary in _DAMAGE:
            with self._alone():
                if self.is_usable and inode and self.inode() == inode:
                    self._set_aside(str(error))
        elif primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
            self.say(
                f'the result store "{self.path}" has been locked by another process for'
                f" {LOCK_SECONDS:g} seconds: answers wait in memory and are written later\n"
                f'  to see which: fuser "{self.path}"',
                "locked",
            )
            raise Unavailable from error
        elif code == sqlite3.SQLITE_READONLY_DBMOVED:
            return
        elif primary == sqlite3.SQLITE_CANTOPEN and _lacks_descriptors():
            self.say(
                f'the result store "{self.path}" cannot be opened, as this process has too many'
                " files open: answers wait in memory and are written when it can\n"
                "  to see how many there may be: ulimit -n",
                "descriptors",
            )
            raise Unavailable from error
        elif primary == sqlite3.SQLITE_CANTOPEN and not self._is_retried:
            self._is_retried = True  # there may have been no descriptor just then
        elif primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            self._stay_out(is_writing, error)
        elif primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM):
            self.say(
                f'the result store "{self.path}" cannot be written ({error}): answers wait in'
                f" memory and are written when it can\n"
                f'  free space on its disk: df -h "{self.path and self.path.parent}"',
                "full",
            )
            raise Unavailable from error
        else:
            self.give_up(f'the result store "{self.path}" cannot be used ({error})', "move it away")

    def say(self, message: str, about: str) -> None:
        """Note *message* to be said by the next call of a caller, once for each *about*."""
        with self._lock:
            if about not in self._said:
                self._said.add(about)
                self._unsaid.append(message)

    def speak(self) -> None:
        """Warn of what was noted."""
        while self._unsaid:
            try:
                message = self._unsaid.pop(0)
            except IndexError:  # another thread has just said it
                return
            warn(message)

    def give_up(self, what: str, remedy: str) -> None:
        """Leave the file alone from now on, and say *what* and *remedy*."""
        self.is_usable = self.is_writable = False
        self.say(f"{what}: no answer is kept on disk\n  {remedy}", "given up")

    def cannot_add(self) -> None:
        """Say that answers are read and none added."""
        if self._is_read_only:
            self.say(
                "the database is opened read-only: kept answers are reused, none are added\n"
                '  to keep new ones elsewhere: !llm setup "cache=PATH"',
                "read-only",
            )
            return
        self.say(
            f'the result store "{self.path}" cannot be written: answers in it are reused, none are'
            f' added\n  to see who may write it: ls -ld "{self.path and self.path.parent}"'
            f' "{self.path}"',
            "read-only",
        )

    def _stay_out(self, is_writing: bool, error: sqlite3.Error) -> None:
        if is_writing and self.is_writable:
            self.is_writable = False
            self.cannot_add()
        else:
            self.give_up(
                f'the result store "{self.path}" cannot be opened ({error})',
                f'to see who may read it: ls -l "{self.path}"',
            )

    def _ready(self, is_writing: bool) -> sqlite3.Connection | None:
        """A connection to a store, or None where there is none, or none any more."""
        try:
            connection = self._open(is_writing)
            with contextlib.ExitStack() as stack:
                stack.callback(connection.close)
                if self._prepare(connection, is_writing):
                    stack.pop_all()
                    return connection
        except sqlite3.Error as error:
            if _code(error) & 0xFF not in _DAMAGE:
                raise
            if not self._was_ours():
                self._leave_alone("a file of something else than llmsql")
                return None
            self._set_aside(str(error))
        return None

    def _was_ours(self) -> bool:
        """Whether what is there was a store once: by its name, or by what its head says."""
        assert self.path is not None
        if self.path.suffix == SUFFIX:
            return True
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            head = file.read(100)
            return head[68:72] == schema.APPLICATION.to_bytes(4, "big")
        return False

    def _leave_alone(self, what: str) -> None:
        self.give_up(
            f'"{self.path}" is {what} and is left alone',
            f'to have a result store in its place: mv "{self.path}" elsewhere',
        )

    def _open(self, is_writing: bool) -> sqlite3.Connection:
        assert self.path is not None
        uri = self.path.absolute().as_uri()
        if is_writing:
            return _connection(f"{uri}?mode=rwc")
        try:
            return _connection(f"{uri}?mode={'rw' if self.is_writable else 'ro'}")
        except sqlite3.OperationalError as error:
            has_log = os.path.exists(f"{self.path}-wal")
            if _code(error) & 0xFF != sqlite3.SQLITE_CANTOPEN or has_log:
                raise
            # A folder that cannot be written has no place for the -shm file.
            return _connection(f"{uri}?immutable=1")

    def _prepare(self, connection: sqlite3.Connection, is_writing: bool) -> bool:
        """Whether *connection* can be used; one *is_writing* gives an empty file its tables."""
        finding, version = schema.examine(connection)
        if finding == "empty" and is_writing:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            schema.create(connection)
        elif finding == "empty":
            return False
        elif finding == "newer":
            self.give_up(
                f'the result store "{self.path}" was written by a newer llmsql (format {version};'
                f" this one reads {schema.VERSION}) and is left alone",
                "pip install --upgrade duckdb-llmsql",
            )
        elif finding == "foreign":
            self._leave_alone("a database of something else than llmsql")
        elif finding == "damaged":
            self._set_aside("its tables are not those of a result store")
            return False
        return self.is_usable

    def _set_aside(self, reason: str) -> None:
        assert self.path is not None
        if not self.is_writable:
            self.give_up(
                f'the result store "{self.path}" is damaged ({reason}) and opened read-only',
                "it is set aside by the first connection that may write",
            )
            return
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"{time.time_ns() % 10**9:09d}Z"
        aside = f"{self.path}.damaged-{stamp}"
        try:
            for side in _SIDES:
                if side == "" or os.path.exists(f"{self.path}{side}"):
                    os.rename(f"{self.path}{side}", f"{aside}{side}")
        except OSError as error:
            self.give_up(
                f'the result store "{self.path}" is damaged ({reason}) and cannot be set aside'
                f" ({error.strerror})",
                f'to begin a new one: mv "{self.path}" elsewhere',
            )
            return
        self.say(
            f'the result store "{self.path}" is damaged ({reason}): it was set aside as'
            f' "{aside}", and a new one is begun\n  to save what can be read:'
            f' sqlite3 "{aside}" .recover',
            aside,
        )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread or process opens or sets aside a store of this folder meanwhile."""
        with self._lock, contextlib.ExitStack() as stack:
            # The folder is locked, not the file: closing a file drops SQLite's own locks on it.
            with contextlib.suppress(ImportError, OSError):
                import fcntl

                assert self.path is not None
                folder = os.open(self.path.parent, os.O_RDONLY)
                stack.callback(os.close, folder)
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield


def _connection(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        name, uri=True, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = _text
    try:
        # FULL costs a sync for each group commit, which is too little to measure.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}").fetchall()
        connection.execute("PRAGMA journal_size_limit = 67108864").fetchall()
        connection.execute("PRAGMA schema_version").fetchall()  # the file itself is read only now
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _lacks_descriptors() -> bool:
    """True where this process cannot open as many files as a store has, and some to spare."""
    with contextlib.ExitStack() as stack:
        try:
            for _ in range(DESCRIPTORS):
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return True
    return False


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)  # some are Python's own


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")  # damage is found by checksums


def _memory() -> sqlite3.Connection:
    connection = _connection("file::memory:")
    schema.create(connection)
    return connection
