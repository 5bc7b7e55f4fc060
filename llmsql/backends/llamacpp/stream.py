"""Jobs run by threads, results yielded as they come: many callers at once fill the slots."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def shared(jobs: Sequence[Job], threads: int) -> list[Iterator[Job]]:
    """What each of at most *threads* threads does: whichever of *jobs* is the next."""
    return [iter(jobs)] * min(threads, len(jobs))


def stream(
    work: Callable[[Job, threading.Event], Iterable[Result]], queues: Sequence[Iterator[Job]]
) -> Iterator[Result]:
    """Yield the results of the jobs in *queues*, each of which has a thread, as they come.

    What a job raises ends the stream. When it ends or is closed, the event that every job gets is
    set, and the threads have ended when this returns.
    """
    results: SimpleQueue[Any] = SimpleQueue()
    stopped = threading.Event()

    def run(waiting: Iterator[Job]) -> None:
        try:
            for job in waiting:
                if stopped.is_set():
                    break
                results.put((work(job, stopped), None))
        except BaseException as error:  # whoever reads the stream gets it
            results.put(((), error))
        results.put(None)

    crew = [threading.Thread(target=run, args=(queue,), daemon=True) for queue in queues]
    try:
        for thread in crew:
            thread.start()
        for _ in crew:
            while (arrived := results.get()) is not None:
                found, error = arrived
                if error is not None:
                    raise error
                yield from found
    finally:
        stopped.set()
        for thread in crew:
            if thread.ident:
                thread.join()
