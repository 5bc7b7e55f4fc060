"""Batches of records in a store, kept up to a number of records of each kind.

Owns the SQL on `batches`. What a body holds is the caller's.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from typing import NamedTuple

DEFAULT_MAX_RECORDS = 100_000

_TOO_OLD = """DELETE FROM batches WHERE id IN (SELECT id FROM (
    SELECT id, sum(count) OVER (ORDER BY id DESC) AS so_far, row_number() OVER (ORDER BY id DESC)
        AS place FROM batches WHERE kind = ?) WHERE so_far > ? AND place > 1)"""


class Batch(NamedTuple):
    """*size* records of one *kind* in one *body*, with a number of the caller's."""

    kind: str
    tag: int
    size: int
    body: bytes


def write(connection: sqlite3.Connection, batches: list[Batch], max_records: int) -> None:
    """Add *batches*, and delete the oldest of a kind that has more than *max_records* now."""
    connection.executemany(
        "INSERT INTO batches (kind, tag, count, body, checksum) VALUES (?, ?, ?, ?, ?)",
        [(*batch, _checksum(batch.kind, batch.tag, batch.body)) for batch in batches],
    )
    for kind in {batch.kind for batch in batches}:
        connection.execute(_TOO_OLD, (kind, max_records))


def page(
    connection: sqlite3.Connection, kind: str, after: int, size: int
) -> list[tuple[int, int, bytes, int]]:
    """The next *size* batches after the one numbered *after*: number, tag, body, checksum."""
    return connection.execute(
        "SELECT id, tag, body, checksum FROM batches WHERE kind = ? AND id > ? ORDER BY id LIMIT ?",
        (kind, after, size),
    ).fetchall()


def intact(kind: str, rows: Iterable[tuple[int, int, bytes, int]]) -> list[tuple[int, bytes]]:
    """Tag and body of those of a `page` whose checksum is right."""
    return [
        (tag, body)
        for _, tag, body, checksum in rows
        if isinstance(tag, int)
        and isinstance(body, bytes)
        and checksum == _checksum(kind, tag, body)
    ]


def _checksum(kind: str, tag: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(f"{kind} {tag}".encode()))
