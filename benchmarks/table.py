"""One measured line, and the table of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """What was measured, what we want of it, and what came out."""

    what: str
    goal: str
    measured: str


def markdown(lines: list[Line]) -> str:
    """The lines as a Markdown table."""
    rows = [f"| {line.what} | {line.goal} | {line.measured} |" for line in lines]
    return "\n".join(["| what | goal | measured |", "|---|---|---|", *rows])


def seconds(work: Callable[[], object]) -> float:
    """How long *work* takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def best(rounds: int, *works: Callable[[], object]) -> list[float]:
    """The best time of each of *works*, run in turn so that all see the same machine."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for index, work in enumerate(works):
            times[index].append(seconds(work))
    return [min(taken) for taken in times]
