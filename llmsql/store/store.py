"""One file of answers, records and sums, for several threads and several processes at once.

Owns when the file is read and when its writer is asked. A program that uses it never fails for its
sake: what is wrong is warned of once, and answers then live in the process's memory only.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from llmsql.store import codec, records, results, running, usage
from llmsql.store.entry import Entry, Group
from llmsql.store.file import File, Unavailable
from llmsql.store.found import Columns, Found
from llmsql.store.handle import Handle
from llmsql.store.jobs import Answer, Jobs, Limits
from llmsql.store.reading import End, ahead, lookups
from llmsql.store.writer import MAX_QUEUED_BYTES, Writer

MARK_SECONDS = 60.0  # an entry is marked as used no more often
PAGE_ROWS = 1_000
PAGE_BATCHES = 16
REPORT = "this is a fault of llmsql: please report it with this message"

T = TypeVar("T")
_left_behind: list[object] = []  # connections of a process this one was forked from


class Store:
    """What is known beside one database. Made by `Store.open` and `Store.in_memory`."""

    def __init__(self, path: Path | None, limits: Limits, *, is_read_only: bool) -> None:
        self.path = path
        self._limits = limits
        self._is_read_only = is_read_only
        self._begin()

    @classmethod
    def open(cls, path: Path, *, max_bytes: int | None = None, is_read_only: bool = False) -> Store:
        """
        The store at *path*, begun with the first answer where there is none.

        More than *max_bytes* of answers are not kept: the least recently used go first. Never
        raises for what the file is like, but warns.
        """
        store = cls(Path(path), Limits(max_bytes), is_read_only=is_read_only)
        store._read(results.tick)
        return store

    @classmethod
    def in_memory(cls) -> Store:
        """One that keeps records and sums while it is open, and no answers."""
        return cls(None, Limits(), is_read_only=False)

    @property
    def is_usable(self) -> bool:
        """True where answers are looked up in a file; False also after it had to be given up."""
        return self._file.is_usable

    @property
    def max_bytes(self) -> int | None:
        """How many bytes of answers are kept; None is without end."""
        return self._limits.max_bytes

    @max_bytes.setter
    def max_bytes(self, number: int | None) -> None:
        self._limits.max_bytes = number

    @property
    def max_records(self) -> int:
        """How many records of each kind are kept."""
        return self._limits.max_records

    @max_records.setter
    def max_records(self, number: int) -> None:
        self._limits.max_records = number

    def get(self, group: Group, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """What is known among *keys*, which from now on counts as used; `find` is for many."""
        keys = list(dict.fromkeys(keys))
        found = self.find(group, keys)
        return dict(zip(found.split(keys)[0], found.entries(), strict=True))

    def find(self, group: Group, keys: Sequence[bytes]) -> Found:
        """What is known among *keys*, no two of them alike, which from now on counts as used."""
        (found,) = self.found(group, [keys])
        return found

    def found(self, group: Group, slices: Iterable[Sequence[bytes]]) -> Generator[Found]:
        """What `find` returns of each of *slices*, which another thread consumes meanwhile."""
        self._own()
        since = self._marked_since() if self._limits.max_bytes is not None else None
        pending = partial(self._pending, group)
        marks: list[str] = []
        columns = Columns.empty()
        for part in ahead(lookups(self._run, slices, pending, since)):
            if isinstance(part, End):
                if columns.values:
                    self._note_use(group, marks)
                columns.extend(part.pending)
                self._file.speak()
                yield Found(part.asked, columns)
                columns, marks = Columns.empty(), []
            else:
                whole, sizes, unmarked = part
                columns.extend(codec.decode(whole, sizes, group.seed))
                marks += [unmarked] if unmarked else []

    def known(self, group: Group, keys: Sequence[bytes]) -> set[bytes]:
        """Those of *keys* that `get` would find; they do not count as used."""
        if not keys or not self._own().is_usable:
            return set()
        pending = {key for key, _ in self._pending(group, keys).pairs()}
        return pending | (self._read(lambda c: results.known(c, group, keys)) or set())

    def put(self, group: Group, key: bytes, entry: Entry) -> None:
        """Queue an answer to be written; of two for one key the first one stays."""
        file = self._own()
        if not file.is_writable:
            if file.is_usable:
                file.cannot_add()
            file.speak()
            return
        body = codec.encode(key, entry, group.seed)
        answer = Answer(group, entry.statement, body)
        self._writer.add(lambda jobs: jobs.put(key, answer))

    def flush(self) -> None:
        """Return when all that was queued is durable, or could not be and that was said."""
        file = self._own()
        self._writer.flush()
        file.speak()

    def finish(self, statement: bytes) -> None:
        """Delete the sampled answers of *statement*."""
        if self._own().is_writable:
            self._writer.add(lambda jobs: jobs.end(statement))

    def stat(self) -> list[tuple[Any, ...]]:
        """For each model name: answers, their bytes (keys and all), when last used, in UTC."""
        self.flush()
        return list(self._read(results.stat) or [])

    def clear(self, model: str | None) -> int:
        """Delete the answers of one model name, or all, and give the space back; how many."""
        self.flush()
        if not self._file.is_writable:
            return 0
        count = self._writer.forget(model)  # what could not be written would be, later
        with contextlib.suppress(Unavailable):
            count += self._own_writing.run_alone(lambda c: results.delete_model(c, model))
            self._own_writing.run(_shrink)
        self._file.speak()
        return count

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """
        Every answer, for an export, in the order in which they came.

        Each is (model, about, key in hex, value, finish_reason, input_tokens, output_tokens,
        created in UTC), a vector being a list.
        """
        self.flush()
        last = 0
        while page := self._read(partial(results.page, after=last, size=PAGE_ROWS)):
            yield from results.exported(page)
            if page[-1][0] <= last:  # damage leads in circles
                return
            last = page[-1][0]

    def append(self, kind: str, batch: bytes, count: int, tag: int = 0) -> int:
        """Queue a batch of *count* records; the number of this call in this process, from 1."""
        self._own()
        self._appended += 1
        one = records.Batch(kind, tag, count, batch)
        self._writer.add(lambda jobs: jobs.append(one))
        return self._appended

    def batches(self, kind: str) -> Iterator[tuple[int, bytes]]:
        """Tag and body of each batch of *kind* that is kept and intact, the oldest first."""
        self.flush()
        for handle in self._recorded():
            page = partial(records.page, kind=kind, size=PAGE_BATCHES)
            last = 0
            while rows := self._try(handle, partial(page, after=last)):
                yield from records.intact(kind, rows)
                if rows[-1][0] <= last:
                    return
                last = rows[-1][0]

    def count(self, day: str, model: str, group: bytes, **sums: Any) -> None:
        """Queue *sums* to be added to those of *day*, *model* and *group*; names as in `usage`."""
        self._own()
        checked = usage.added({}, sums)
        self._writer.add(lambda jobs: jobs.count((day, model, group), checked))

    def usage(self) -> list[dict[str, Any]]:
        """A row for each day, model and group, with what `count` has summed."""
        self.flush()
        return [row for handle in self._recorded() for row in self._try(handle, usage.read) or []]

    def usage_of(self, group: bytes) -> dict[str, Any] | None:
        """The sums of one group over all days, None where nothing was counted."""
        self.flush()
        total = None
        for handle in self._recorded():
            sums = self._try(handle, partial(usage.read_group, group=group))
            total = usage.added(total, sums or {}) if total else sums
        return total

    def show(self, statement: int, row: bytes | None) -> bool:
        """Let whoever shares the file see *row* while *statement* runs; None when it has ended.

        False where there is no file to show it in.
        """
        if self._own().is_writable:
            self._writer.add(lambda jobs: jobs.show(statement, row))
        return self._file.is_writable

    def shown(self) -> dict[int, bytes]:
        """The rows of statements that run now, of every process that shares the file."""
        self.flush()
        return dict(self._read(running.read) or {}) if self._file.is_usable else {}

    def close(self) -> None:
        """Write what is queued, end the thread and close the file; again is nothing."""
        self._own()
        self._shut()
        self._file.speak()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._file = file = File(self.path, is_read_only=self._is_read_only)
        self._own_writing = writing = Handle(file, is_writing=True)
        self._own_reading = Handle(file, is_writing=False) if self.path else writing
        limits = self._limits
        self._since: tuple[int, float] | None = None
        self._noted: dict[bytes, float] = {}
        self._appended = 0

        def commit(jobs: Jobs) -> None:
            try:
                writing.run_alone(lambda c: jobs.commit(c, limits, has_answers=file.is_writable))
            except Unavailable:
                raise
            except Exception as error:  # the thread must go on, as whoever flushes waits for it
                file.give_up(f'the result store "{file.path}" refuses an answer ({error})', REPORT)

        def say_dropped() -> None:
            file.say(
                f"{MAX_QUEUED_BYTES >> 20} MiB wait to be written to the result store"
                f' "{file.path}": what is answered until they are is not kept',
                "dropped",
            )

        def say_lost(count: int) -> None:
            file.say(
                f"{count:,} answers could not be written to the result store"
                f' "{file.path}" before it was closed: they are lost',
                "lost",
            )

        self._writer = Writer(commit, say_dropped, say_lost)
        self._shut = weakref.finalize(
            self, _shut, self._pid, self._writer, self._own_reading, writing
        )

    def _own(self) -> File:
        """The file, of this process: a forked one begins anew, with nothing queued."""
        if self._pid != os.getpid():
            self._shut.detach()
            _left_behind.append((self._own_reading, self._own_writing, self._writer))
            self._begin()
        return self._file

    def _recorded(self) -> list[Handle]:
        """Where records are: where the file is only read, later ones are in memory."""
        reading = [self._own_reading] if self._file.is_usable else []
        if self._file.is_writable:
            return reading  # looking at what there is makes no file
        return [*reading, self._own_writing]

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if not self._own().is_usable:
            raise Unavailable
        return self._own_reading.run(work)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        return self._try(self._own_reading, work)

    def _try(self, handle: Handle, work: Callable[[sqlite3.Connection], T]) -> T | None:
        try:
            return handle.run(work)
        except Unavailable:
            return None
        finally:
            self._file.speak()

    def _marked_since(self) -> int:
        """The tick of about a minute ago, as far as this process knows."""
        now = time.monotonic()
        if self._since is None or now - self._since[1] >= MARK_SECONDS:
            self._since = self._read(results.tick) or 0, now
        return self._since[0]

    def _note_use(self, group: Group, marks: list[str]) -> None:
        if not self._file.is_writable:
            return
        now = time.monotonic()
        if marks or now - self._noted.get(group.digest, -MARK_SECONDS) >= MARK_SECONDS:
            self._noted[group.digest] = now
            self._writer.add(lambda jobs: jobs.mark(group, marks))

    def _pending(self, group: Group, keys: Sequence[bytes]) -> Columns:
        """What is queued of *keys*."""
        if not self._writer.has_pending:
            return Columns.empty()
        answers = [answer for key in keys if (answer := self._writer.pending(key))]
        bodies = [answer.body for answer in answers]
        return codec.decode(b"".join(bodies), list(map(len, bodies)), group.seed)


def _shut(pid: int, writer: Writer, *handles: Handle) -> None:
    if pid != os.getpid():
        return
    if writer.is_own_thread:  # the garbage collector runs anywhere
        threading.Thread(target=_shut, args=(pid, writer, *handles)).start()
        return
    writer.close()
    for handle in handles:
        handle.close()


def _shrink(connection: sqlite3.Connection) -> None:
    # A script, as `execute` ends at the first row, which here is the first page.
    connection.executescript("PRAGMA incremental_vacuum")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
