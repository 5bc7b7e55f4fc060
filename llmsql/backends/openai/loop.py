"""A private event loop: the rest of llmsql is synchronous, and may itself run inside a loop.

Owns the thread, what is in flight, and how results come back as they arrive.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from llmsql.errors import BackendError

Job = TypeVar("Job")
Result = TypeVar("Result")


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        # A daemon: a model that nobody unloads must not keep the process alive.
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Return the result of *coroutine*; an interrupted wait cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def stream(
        self,
        work: Callable[[Job], Awaitable[Iterable[Result]]],
        jobs: Iterable[Job],
        limit: int,
    ) -> Iterator[Result]:
        """Yield the results of all *jobs* as they arrive, *limit* of them in flight.

        What a job raises ends the stream; closing the stream cancels what is in flight.
        """
        results: queue.SimpleQueue[Iterable[Result] | Future[None]] = queue.SimpleQueue()
        future = asyncio.run_coroutine_threadsafe(
            _run(work, iter(jobs), limit, results.put), self._loop
        )
        future.add_done_callback(results.put)
        try:
            while not isinstance(arrived := results.get(), Future):
                yield from arrived
            if arrived.cancelled():
                raise BackendError("the model was unloaded while it was asked")
            arrived.result()
        finally:
            future.cancel()

    def cancel(self) -> None:
        """Cancel what still runs, and wait until it has ended."""
        self.run(_cancel_others())

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _run(
    work: Callable[[Job], Awaitable[Iterable[Result]]],
    jobs: Iterator[Job],
    limit: int,
    put: Callable[[Iterable[Result]], None],
) -> None:
    arrived: list[Result] = []

    def hand_over() -> None:
        put(arrived.copy())
        arrived.clear()

    async def worker() -> None:
        for job in jobs:  # shared by all workers: each takes the next one
            results = await work(job)
            # Once for all that one look at the sockets brought: waking the other thread is dear.
            if not arrived:
                asyncio.get_running_loop().call_soon(hand_over)
            arrived.extend(results)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(limit):
                group.create_task(worker())
    except BaseExceptionGroup as error:
        raise error.exceptions[0] from error.exceptions[0].__cause__
    finally:
        hand_over()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
