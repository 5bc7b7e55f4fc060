"""A private event loop: the rest of llmsql is synchronous, and may itself run inside a loop.

Owns the thread, what is in flight, and how results come back as they arrive.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, TypeVar

from llmsql.backends.base import PATIENCE_SECONDS
from llmsql.errors import BackendError
from llmsql.process import NOT_OURS

Job = TypeVar("Job")
Result = TypeVar("Result")
Work = Callable[[Job], Awaitable[Iterable[Result]]]


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._parent = os.getpid()
        self._loop = asyncio.new_event_loop()
        # A daemon: a model that nobody unloads must not keep the process alive.
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    @property
    def is_ours(self) -> bool:
        """False in a process that was forked since, which has the loop and not its thread."""
        return os.getpid() == self._parent

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Return the result of *coroutine*; an interrupted wait cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def stream(
        self, work: Work[Job, Result], jobs: Iterable[Job], limit: int
    ) -> Stream[Job, Result]:
        """The results of all *jobs* as they arrive, *limit* of them in flight."""
        if not self.is_ours:
            raise BackendError(f"this model {NOT_OURS}")
        return Stream(self._loop, work, jobs, limit)

    def cancel(self) -> None:
        """Cancel what still runs, and wait until it has ended."""
        self.run(_cancel_others())

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Stream(Generic[Job, Result]):
    """The results of *jobs* as they arrive, read in one thread while *work* is done in *loop*.

    What a job raises ends the stream, once what else is in flight has arrived. Closing the stream
    cancels that.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Work[Job, Result],
        jobs: Iterable[Job],
        limit: int,
    ) -> None:
        self._loop = loop
        self._work = work
        self._jobs = iter(jobs)
        self._limit = limit
        self._is_winding_up = False
        self._workers: list[asyncio.Task[None]] = []
        self._arrived: list[Result] = []
        self._results: queue.SimpleQueue[Iterable[Result] | Future[None]] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[Result]:
        """Yield the results; an answer to a job comes with others that arrived at once."""
        future = asyncio.run_coroutine_threadsafe(self._run(), self._loop)
        future.add_done_callback(self._results.put)
        try:
            while not isinstance(arrived := self._results.get(), Future):
                yield from arrived
            if arrived.cancelled():
                raise BackendError("the model was unloaded while it was asked")
            arrived.result()
        finally:
            future.cancel()

    def wind_up(self, seconds: float) -> None:
        """Begin nothing more, and end when what is in flight has arrived, or in so many seconds."""
        with suppress(RuntimeError):  # the loop is closed: nothing is in flight
            self._loop.call_soon_threadsafe(self._wind_up, seconds)

    def _wind_up(self, seconds: float) -> None:
        self._is_winding_up = True
        self._loop.call_later(seconds, self._cancel)

    def _cancel(self) -> None:
        for worker in self._workers:
            worker.cancel()

    async def _run(self) -> None:
        self._workers = [asyncio.create_task(self._worker()) for _ in range(self._limit)]
        try:
            ended = await asyncio.gather(*self._workers, return_exceptions=True)
        finally:
            self._hand_over()
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _worker(self) -> None:
        for job in self._jobs:  # shared by all workers: each takes the next one
            if self._is_winding_up:
                return
            try:
                results = await self._work(job)
            except Exception:
                if not self._is_winding_up:
                    self._wind_up(PATIENCE_SECONDS)
                raise
            # Once for all that one look at the sockets brought: waking the other thread is dear.
            if not self._arrived:
                self._loop.call_soon(self._hand_over)
            self._arrived.extend(results)

    def _hand_over(self) -> None:
        self._results.put(self._arrived.copy())
        self._arrived.clear()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
