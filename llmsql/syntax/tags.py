"""How a tag says which call it stands in and when that comes, and mostly leaves calls equal.

A condition on `m(s)` and one on a column that is `m(s)` may contradict one another, and DuckDB
sees it only where it takes both for the same call. So rank and site stand in an INTERVAL, of which
all are equal to DuckDB: their months, days and hours always make zero days. Only sites of different
BRANCHes differ, by microseconds, lest DuckDB makes such calls once, for all rows.
"""

from __future__ import annotations

import re
from typing import Any

APART = 1000
"""What the sites of calls behind a LIMIT are from those in WHERE."""

BRANCH = 10_000
"""What one branch's sites are from the next one's."""

PLACE = (
    "to_months(rank) - to_days(30 * rank + site + 1) + to_hours(24 * (site + 1))"
    f" + to_microseconds(site // {BRANCH})"
)
FIELD = "place"

_PRINTED = re.compile(rf"'{FIELD}': '(?:\d+ \w+ )*-(\d+) days? (\d+):00:00(?:\.\d+)?'::INTERVAL")


def plain(site: int) -> int:
    """*site* wherever the call stands, or -1 without a tag."""
    return site % APART if site >= 0 else site


def written(place: Any) -> tuple[int, int]:
    """Rank and site in a value of PLACE, as Arrow has it."""
    return place.months, -place.days - 30 * place.months - 1


def printed(text: str) -> list[tuple[int, int]]:
    """Where in a part of a plan each tag starts, and its site."""
    return [(found.start(), int(found[2]) // 24 - 1) for found in _PRINTED.finditer(text)]


def ranks(text: str) -> list[int]:
    """The rank of each tag in a part of a plan."""
    found = _PRINTED.finditer(text)
    return [(int(each[1]) - int(each[2]) // 24) // 30 for each in found]
