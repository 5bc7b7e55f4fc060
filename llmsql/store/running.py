"""What runs now, as whoever shares the file may see it: one row a statement.

Owns these rows. They are batches of a kind of their own: a table more would make the file one that
other versions of the same format take for damaged.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress

from llmsql.store import living
from llmsql.store.records import Batch, intact
from llmsql.store.records import write as append

KIND = "running"
MOST = 1_000


def write(connection: sqlite3.Connection, rows: Mapping[int, bytes | None]) -> None:
    """Put each row of *rows* in the place of the one with its number; None takes it away."""
    dead = [number for number, is_alive, _ in _found(connection) if not is_alive]
    connection.executemany(
        "DELETE FROM batches WHERE kind = ? AND tag = ?",
        [(KIND, number) for number in {*rows, *dead}],
    )
    mark = json.dumps(living.mark()).encode() + b"\n"
    new = [Batch(KIND, number, 1, mark + row) for number, row in rows.items() if row is not None]
    if new:
        append(connection, new, MOST)


def read(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
    """The rows of processes that live, with their numbers."""
    return [(number, row) for number, is_alive, row in _found(connection) if is_alive]


def _found(connection: sqlite3.Connection) -> Iterator[tuple[int, bool, bytes]]:
    """Each row, with its number and whether its process lives."""
    sql = "SELECT id, tag, body, checksum FROM batches WHERE kind = ?"
    for number, body in intact(KIND, connection.execute(sql, (KIND,)).fetchall()):
        mark, _, row = body.partition(b"\n")
        with suppress(ValueError, TypeError, KeyError):  # what another version has written
            yield number, living.is_alive(json.loads(mark)), row
