"""Rows that wait, by the start of their prompts: what several share is worth being read once.

Owns which rows are read together. Reading them, and what memory allows, is the decoder's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from llmsql.torch_models.rows import Row

DEEPEST = 8
"""Starts within starts, so many levels; what lies deeper is taken together."""


@dataclass
class Family:
    """*rows* whose prompts all begin with the same *start* tokens."""

    start: int
    rows: deque[Row]


class Waiting:
    """
    The rows that wait, a family at a time, those of a family by length.

    All of them share *common* tokens. To read a start of its own for a family costs as much as to
    read *overhead* tokens; None for one family of all.
    """

    def __init__(self, rows: Sequence[Row], common: int, overhead: int | None) -> None:
        self.common = common
        ordered = sorted(rows, key=lambda row: row.prompt)
        found: list[Family] = []
        rest = ordered
        if overhead is not None and len(rows) > 1:
            found, rest = _divided(ordered, common, overhead)
        self.families = deque([Family(common, _by_length(rest)), *found])

    def __len__(self) -> int:
        return sum(len(family.rows) for family in self.families)

    @property
    def first(self) -> Family:
        """The family whose turn it is."""
        while not self.families[0].rows and len(self.families) > 1:
            self.families.popleft()
        return self.families[0]

    def put_back(self, rows: Sequence[Row]) -> None:
        """Let *rows*, of any families, be the next ones."""
        self.families.appendleft(Family(self.common, deque(rows)))


def common_start(prompts: Sequence[list[int]]) -> int:
    """Return how many tokens all *prompts* start with, leaving each at least one of its own."""
    # What the first and the last in order share, all between them share.
    return min(_alike(min(prompts), max(prompts)), min(map(len, prompts)) - 1)


def _divided(ordered: list[Row], common: int, overhead: int) -> tuple[list[Family], list[Row]]:
    """The families that are worth it, and the rows of none."""
    alike = [common, *(_alike(one.prompt, other.prompt) for one, other in pairwise(ordered))]
    families, rest, end = [], list[Row](), 0
    _, spans = _best(alike, 0, len(ordered), common, overhead, DEEPEST)
    for start, stop in sorted(spans):
        rows = ordered[start:stop]
        rest += ordered[end:start]
        end = stop
        families.append(Family(common_start([row.prompt for row in rows]), _by_length(rows)))
    return families, rest + ordered[end:]


def _best(
    alike: list[int], start: int, stop: int, common: int, overhead: int, levels: int
) -> tuple[int, list[tuple[int, int]]]:
    """The tokens saved in *start* to *stop*, whose neighbours are *alike*, and by which spans."""
    if stop - start < 2:
        return 0, []
    least = min(alike[start + 1 : stop])
    whole = (stop - start - 1) * (least - common) - overhead
    saved, spans = 0, list[tuple[int, int]]()
    for first, last in _parts(alike, start, stop, least) if levels else ():
        more, inner = _best(alike, first, last, common, overhead, levels - 1)
        saved, spans = saved + more, spans + inner
    if whole > saved:
        return whole, [(start, stop)]
    return saved, spans


def _parts(alike: list[int], start: int, stop: int, least: int) -> Iterator[tuple[int, int]]:
    """The spans within which neighbours share more than *least* tokens."""
    first = start
    for place in range(start + 1, stop):
        if alike[place] == least:
            yield first, place
            first = place
    yield first, stop


def _alike(one: list[int], other: list[int]) -> int:
    """How many tokens *one* and *other* start with."""
    pairs = zip(one, other, strict=False)
    shorter = min(len(one), len(other))
    return next((at for at, (mine, its) in enumerate(pairs) if mine != its), shorter)


def _by_length(rows: Sequence[Row]) -> deque[Row]:
    return deque(sorted(rows, key=lambda row: len(row.prompt)))
