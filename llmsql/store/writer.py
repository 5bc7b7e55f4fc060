"""The thread that writes to a store, some 50 ms of everybody's work in one transaction.

Owns the queue, its bound and when a failed commit is tried again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from llmsql.store import file, handle
from llmsql.store.file import Unavailable
from llmsql.store.jobs import Answer, Jobs

COMMIT_SECONDS = 0.05
COMMIT_ENTRIES = 4_096
MAX_QUEUED_BYTES = 64 * 2**20


class Writer:
    """
    A queue and its thread, which begins with the first job.

    *commit* raises Unavailable; *on_drop* is called where the queue takes no more, *on_loss* with
    the number of answers that could not be written when the writer was closed.
    """

    def __init__(
        self,
        commit: Callable[[Jobs], None],
        on_drop: Callable[[], None],
        on_loss: Callable[[int], None],
    ) -> None:
        self._commit = commit
        self._on_loss = on_loss
        self._on_drop = on_drop
        self._changed = threading.Condition()
        self._waiting = Jobs()
        self._writing = Jobs()
        self._taken = self._settled = 0  # group commits begun, and ended well or badly
        self._is_hurried = self._is_closing = False
        self._retry_at: float | None = None
        self._thread: threading.Thread | None = None

    def add(self, change: Callable[[Jobs], None]) -> None:
        """Let *change* add to the queue; drops it where the queue is full and stays so."""
        with self._changed:
            if self._waiting.size >= MAX_QUEUED_BYTES:
                self._is_hurried = True
                self._changed.notify_all()
                self._changed.wait_for(self._has_room, file.LOCK_SECONDS)
                if self._waiting.size >= MAX_QUEUED_BYTES:
                    self._on_drop()
                    return
            if self._is_closing:
                return
            was_empty = not self._waiting
            change(self._waiting)
            if was_empty or self._thread is None or len(self._waiting.answers) == COMMIT_ENTRIES:
                self._wake()

    def forget(self, model: str | None) -> int:
        """Take the answers of one model name, or all, out of the queue; how many they were."""
        with self._changed:
            count = self._waiting.forget(model)
            self._changed.notify_all()  # somebody may be waiting until these are written
            return count

    def pending(self, key: bytes) -> Answer | None:
        """The answer of *key* that is not in the file yet."""
        return self._waiting.answers.get(key) or self._writing.answers.get(key)

    @property
    def is_own_thread(self) -> bool:
        """True where the writer's own thread asks."""
        return threading.current_thread() is self._thread

    @property
    def has_pending(self) -> bool:
        """True where some answer is not in the file yet."""
        return bool(self._waiting.answers or self._writing.answers)

    def flush(self) -> None:
        """Return when all that is queued has been written, or could not be."""
        with self._changed:
            target = self._taken + bool(self._waiting)
            self._is_hurried = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_done(target) or self._is_paused())
            self._is_hurried = False

    def close(self) -> None:
        """Write what is queued, if it can be, and end the thread."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _is_done(self, target: int) -> bool:
        """True when so many group commits have ended, or nothing is left to be written."""
        is_idle = self._settled == self._taken and not self._waiting
        return is_idle or self._settled >= target

    def _has_room(self) -> bool:
        return self._waiting.size < MAX_QUEUED_BYTES or self._is_paused()

    def _is_paused(self) -> bool:
        return self._retry_at is not None and time.monotonic() < self._retry_at

    def _wake(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="llmsql store", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # there are too many: what is queued waits for the next answer
                self._retry_at = time.monotonic() + handle.RETRY_SECONDS
                return
            self._thread = thread
        self._changed.notify_all()

    def _run(self) -> None:
        while self._take():
            try:
                self._commit(self._writing)
                is_written = True
            except Unavailable:
                is_written = False
            with self._changed:
                self._settle(is_written)

    def _take(self) -> bool:
        """Wait until it is time to write, and take all there is; False when nothing is to come."""
        with self._changed:
            self._wait()
            while not self._waiting and not self._is_closing:
                self._wait()  # `forget` has emptied the queue meanwhile
            if not self._waiting:
                return False
            self._writing = self._waiting  # in this order, as `pending` looks without the lock
            self._waiting = Jobs()
            self._taken += 1
            return True

    def _wait(self) -> None:
        self._changed.wait_for(lambda: self._waiting or self._is_closing)
        if self._is_paused():
            assert self._retry_at is not None
            left = self._retry_at - time.monotonic()
            self._changed.wait_for(lambda: self._is_closing, left)
        else:
            self._changed.wait_for(self._is_due, COMMIT_SECONDS)

    def _is_due(self) -> bool:
        has_many = len(self._waiting.answers) >= COMMIT_ENTRIES
        return has_many or self._is_hurried or self._is_closing

    def _settle(self, is_written: bool) -> None:
        if is_written:
            self._retry_at = None
        else:
            self._retry_at = time.monotonic() + handle.RETRY_SECONDS
            if self._is_closing:
                self._on_loss(len(self._writing.answers))
            else:
                self._waiting = self._writing.followed_by(self._waiting)
        self._writing = Jobs()
        self._settled += 1
        self._changed.notify_all()
