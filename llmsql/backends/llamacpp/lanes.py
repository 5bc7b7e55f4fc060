"""Which slot gets which row: neighbours share a beginning, and each slot remembers its last row.

So every slot gets a run of neighbours. One that is done takes half of what the longest run has
left. What a row is, is nothing to this module.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

Job = TypeVar("Job")


class Lanes(Generic[Job]):
    """*jobs* in at most *count* runs of neighbours; several threads may take from each."""

    def __init__(self, jobs: Sequence[Job], count: int) -> None:
        self.count = max(1, min(count, len(jobs)))
        ends = [len(jobs) * number // self.count for number in range(self.count + 1)]
        self._runs = [deque(jobs[ends[n] : ends[n + 1]]) for n in range(self.count)]
        self._lock = threading.Lock()

    def of(self, slot: int) -> Iterator[tuple[int, Job]]:
        """Yield *slot* with each job that is for it, while there are any at all."""
        while True:
            with self._lock:
                run = self._runs[slot]
                if not run and not self._refill(run):
                    return
                job = run.popleft()
            yield slot, job

    def _refill(self, run: deque[Job]) -> bool:
        """Move the second half of the longest run to *run*; False where all are empty."""
        longest = max(self._runs, key=len)
        taken = [longest.pop() for _ in range((len(longest) + 1) // 2)]
        run.extend(reversed(taken))
        return bool(taken)
