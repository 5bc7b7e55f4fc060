"""What models were used for, summed by day, model and group.

Owns the SQL on `usage`. Tokens that nobody told, and a cost that was never priced, are NULL, not 0.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

SUMS = (
    "calls", "failed", "reused", "input_tokens", "output_tokens", "cached_tokens", "input_chars",
    "seconds", "cost",
)  # fmt: skip
_NULLABLE = ("input_tokens", "output_tokens", "cached_tokens", "cost")
Place = tuple[str, str, bytes]
Sums = dict[str, Any]

_COLUMNS = ", ".join(SUMS)
_TOTALS = ", ".join(f"sum({name}) AS {name}" for name in SUMS)
_ADD = (
    f"INSERT INTO usage (day, model, grp, {_COLUMNS}) VALUES (?, ?, ?{', ?' * len(SUMS)})"
    " ON CONFLICT (day, model, grp) DO UPDATE SET "
    + ", ".join(
        f"{name} = coalesce({name} + excluded.{name}, {name}, excluded.{name})" for name in SUMS
    )
)


def added(sums: Mapping[str, Any], more: Mapping[str, Any]) -> Sums:
    """*sums* and *more* together; None and a number is the number. Raises TypeError for a name."""
    if unknown := more.keys() - set(SUMS):
        raise TypeError(f"usage has no sum named {', '.join(sorted(unknown))}")
    total = dict(sums)
    for name, number in more.items():
        if number is not None:
            total[name] = (total.get(name) or 0) + number
    return total


def write(connection: sqlite3.Connection, counted: Mapping[Place, Sums]) -> None:
    """Add what was *counted* to what is there."""
    connection.executemany(
        _ADD,
        [
            (*place, *(sums.get(name, None if name in _NULLABLE else 0) for name in SUMS))
            for place, sums in counted.items()
        ],
    )


def read(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """A row for each day, model and group."""
    names = ("day", "model", "group", *SUMS)
    rows = connection.execute(f"SELECT day, model, grp, {_COLUMNS} FROM usage")
    return [dict(zip(names, row, strict=True)) for row in rows]


def read_group(connection: sqlite3.Connection, group: bytes) -> Sums | None:
    """The sums of one group over all days, None where nothing was counted."""
    row = connection.execute(
        f"SELECT count(*), {_TOTALS} FROM usage WHERE grp = ?", (group,)
    ).fetchone()
    return dict(zip(SUMS, row[1:], strict=True)) if row[0] else None
