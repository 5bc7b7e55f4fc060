"""The answers in a store: looked up, added, marked as used, deleted, the least used ones first.

Owns the SQL on `groups`, `answers`, `uses` and `state`. A set of keys goes into SQLite as one JSON
list and its answers come back as one blob: Python's sqlite3 gives up the interpreter's lock at
every row, and with a busy thread beside it each of them would wait 5 ms to get it back.
"""

from __future__ import annotations

import datetime
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from llmsql.store import codec
from llmsql.store.entry import Group
from llmsql.store.found import identifiers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Bodies: TypeAlias = "tuple[bytes, NDArray[np.int64], str | None]"
"""Entries one after the other, their sizes, and the numbers of those to mark, as a text `1,2,3`."""

Run = Callable[[Callable[[sqlite3.Connection], Any]], Any]
"""What gives a piece of work the connection it needs."""

CHUNK = 16_384  # keys looked up at once
CHUNK_BYTES = 4 * 2**20  # about as many are read at once
FIRST = 1_024  # and so many before it is known how long answers are
KEPT_SHARE = 0.9  # how much of max_bytes is left when it was exceeded

_FOUND = """SELECT group_concat(length(a.body)), CAST(group_concat(a.body, '') AS BLOB), {marks}
    FROM json_each(:places) k CROSS JOIN answers a ON a.n = k.value {join}"""
_ONLY_BLOBS = " WHERE typeof(a.body) = 'blob'"
_NUMBERS = """SELECT group_concat(a.n) FROM json_each(?) k
    CROSS JOIN answers a INDEXED BY answers_id ON a.id = k.value"""
_READ = _FOUND.format(marks="NULL", join="")
_READ_UNMARKED = _FOUND.format(
    marks="group_concat(CASE WHEN u.used IS NULL OR u.used <= :since THEN a.n END)",
    join="LEFT JOIN uses u ON u.n = a.n",
)
_INSERT = """INSERT OR REPLACE INTO answers (id, grp, used, created, statement, body)
    SELECT k.value, :grp, :tick, :now, :statement, substr(:whole,
        CAST(substr(:places, k.key * 24 + 1, 12) AS INTEGER),
        CAST(substr(:places, k.key * 24 + 13, 12) AS INTEGER)) FROM json_each(:ids) k"""
_LEAST_USED = """INSERT INTO temp.doomed SELECT n FROM (
    SELECT a.n AS n, sum(length(a.body)) OVER (ORDER BY coalesce(u.used, a.used), a.n)
        - length(a.body) AS before
    FROM answers a LEFT JOIN uses u ON u.n = a.n
    WHERE a.grp NOT IN (SELECT id FROM groups WHERE model = 'llm_fields')) WHERE before < ?"""


def tick(connection: sqlite3.Connection) -> int:
    """How many group commits there have been: what "used" is counted in, as clocks jump."""
    row = connection.execute("SELECT CAST(tick AS INTEGER) FROM state").fetchone()
    return int(row[0] or 0) if row else 0


def chunks(run: Run, asked: NDArray[np.int64], since: int | None = None) -> Iterator[Bodies]:
    """
    The bodies of what is *asked*, some at a time.

    Those to mark were last marked as used at or before the tick *since*; there are none where it
    is None. Damage, or a file that was set aside meanwhile, may have put an answer in another's
    place: it says its own key.
    """
    places = run(lambda connection: _places(connection, _in_order(asked)))
    start, size = 0, FIRST
    while start < len(places):
        some, start = places[start : start + size], start + size
        for whole, sizes, unmarked in run(partial(_bodies, numbers=some, since=since)):
            size = min(CHUNK, CHUNK_BYTES * len(sizes) // max(1, len(whole)) + 1)
            yield whole, sizes, unmarked


def known(connection: sqlite3.Connection, group: Group, keys: Sequence[bytes]) -> set[bytes]:
    """Those of *keys* that have an intact entry."""
    found: set[bytes] = set()
    for whole, sizes, _ in chunks(lambda work: work(connection), identifiers(b"".join(keys))):
        found.update(codec.intact(whole, sizes, group.seed))
    return found.intersection(keys)


def write(
    connection: sqlite3.Connection,
    group: Group,
    statement: bytes | None,
    bodies: dict[bytes, bytes],
) -> None:
    """
    Add *bodies* by key where no intact one is; *statement* is what all of them belong to.

    Raises sqlite3.DatabaseError where they cannot be found again.
    """
    there = known(connection, group, list(bodies)) if bodies else set()
    missing = {key: body for key, body in bodies.items() if key not in there}
    if not missing:
        return
    connection.execute(
        "INSERT OR REPLACE INTO groups (digest, model, about, used_at, checksum, id)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        _group_row(group),
    )
    sizes = [len(body) for body in missing.values()]
    starts = accumulate(sizes[:-1], initial=1)
    places = "".join(
        [f"{start:012d}{size:012d}" for start, size in zip(starts, sizes, strict=True)]
    )
    ids = identifiers(b"".join(missing))[:, 0].tolist()
    connection.execute(
        _INSERT,
        {
            "grp": _group_id(group), "tick": tick(connection), "now": int(time.time()),
            "statement": statement, "whole": b"".join(missing.values()),
            "places": places.encode(), "ids": str(ids),
        },
    )  # fmt: skip
    if known(connection, group, list(missing)) != missing.keys():
        # A page can be damaged in ways that SQLite does not see, and swallow what is put on it.
        error = sqlite3.DatabaseError("an answer that was written is not found again")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error
    connection.execute("UPDATE state SET bytes = bytes + ?", (sum(sizes),))


def mark(connection: sqlite3.Connection, marks: Iterable[str], groups: Iterable[Group]) -> None:
    """Note that the entries numbered *marks*, and some of each of *groups*, are in use."""
    now = tick(connection)
    for numbers in marks:
        connection.execute(
            "INSERT INTO uses SELECT value, ? FROM json_each(?) WHERE true"
            " ON CONFLICT (n) DO UPDATE SET used = excluded.used",
            (now, f"[{numbers}]"),
        )
    for group in groups:
        connection.execute(
            "UPDATE groups SET digest = ?, model = ?, about = ?, used_at = ?, checksum = ?"
            " WHERE id = ?",
            _group_row(group),
        )


def delete(connection: sqlite3.Connection, condition: str, given: tuple[Any, ...] = ()) -> int:
    """Delete the answers that meet *condition*, which is SQL; how many they were."""
    ((count, size),) = connection.execute(
        f"SELECT count(*), coalesce(sum(length(body)), 0) FROM answers WHERE {condition}", given
    ).fetchall()
    if count:
        connection.execute(
            f"DELETE FROM uses WHERE n IN (SELECT n FROM answers WHERE {condition})", given
        )
        connection.execute(f"DELETE FROM answers WHERE {condition}", given)
        connection.execute("UPDATE state SET bytes = max(0, bytes - ?)", (size,))
    return int(count)


def delete_model(connection: sqlite3.Connection, model: str | None) -> int:
    """Delete the answers of the model of this name, or all; how many they were."""
    if model is None:
        count = delete(connection, "true")
        connection.execute("DELETE FROM groups")
        return count
    count = delete(connection, "grp IN (SELECT id FROM groups WHERE model = ?)", (model,))
    connection.execute("DELETE FROM groups WHERE model = ?", (model,))
    return count


def evict(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Delete the least recently used answers where there are more than *max_bytes* of them."""
    row = connection.execute("SELECT CAST(bytes AS INTEGER) FROM state").fetchone()
    if not row or (row[0] or 0) <= max_bytes:
        return
    # Counted anew, as a damaged sum would have everything deleted.
    ((size,),) = connection.execute(
        "UPDATE state SET bytes = (SELECT coalesce(sum(length(body)), 0) FROM answers)"
        " RETURNING bytes"
    ).fetchall()
    if size <= max_bytes:
        return
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS doomed (n INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM temp.doomed")
    connection.execute(_LEAST_USED, (size - int(KEPT_SHARE * max_bytes),))
    delete(connection, "n IN (SELECT n FROM temp.doomed)")


def stat(connection: sqlite3.Connection) -> list[tuple[str, int, int, datetime.datetime]]:
    """For each model name: answers, their bytes, and when one was last used, in UTC."""
    rows = connection.execute(
        "SELECT g.model, count(*), sum(length(a.body)), max(g.used_at)"
        " FROM answers a JOIN groups g ON g.id = a.grp GROUP BY g.model ORDER BY g.model"
    )
    return [(model, count, size, _moment(used_at)) for model, count, size, used_at in rows]


def page(connection: sqlite3.Connection, after: int, size: int) -> list[tuple[Any, ...]]:
    """The next *size* answers after the one numbered *after*, each with its number in front."""
    rows = connection.execute(
        "SELECT a.n, g.digest, g.model, g.about, g.checksum, a.created, a.body"
        " FROM answers a LEFT JOIN groups g ON g.id = a.grp WHERE a.n > ? ORDER BY a.n LIMIT ?",
        (after, size),
    )
    return rows.fetchall()


def exported(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The intact ones of a `page` as people want them."""
    for (digest, model, about, checksum), members in groupby(rows, key=itemgetter(1, 2, 3, 4)):
        if checksum != _checksum(digest, model, about):
            continue
        text = about.decode("utf-8", "surrogatepass")
        bodies = [(body, at) for *_, at, body in members if isinstance(body, bytes)]
        created = {codec.key_of(body): at for body, at in bodies}
        whole, sizes = b"".join(body for body, _ in bodies), [len(body) for body, _ in bodies]
        for key, entry in codec.decode(whole, sizes, Group(model, text, digest).seed).pairs():
            value = entry.value if isinstance(entry.value, (str, float)) else entry.value.tolist()
            yield (
                model, text, key.hex(), value, entry.finish_reason, entry.input_tokens,
                entry.output_tokens, _moment(created[key]),
            )  # fmt: skip


def _places(connection: sqlite3.Connection, ids: list[int]) -> list[int]:
    """The numbers of the answers at *ids*, in the order in which each page is read once."""
    import numpy as np

    numbers = []
    for start in range(0, len(ids), CHUNK):
        (found,) = connection.execute(_NUMBERS, (str(ids[start : start + CHUNK]),)).fetchone()
        if found:
            numbers.append(_numbers(found))
    places: list[int] = np.sort(np.concatenate(numbers)).tolist() if numbers else []
    return places


def _bodies(connection: sqlite3.Connection, numbers: list[int], since: int | None) -> list[Bodies]:
    text = _READ if since is None else _READ_UNMARKED
    given = {"places": str(numbers), "since": since}
    try:
        found = _fetched(connection, text, given)
        if found[1].sum() != len(found[0]):  # damage has made a text of a body: its length is less
            found = _fetched(connection, text + _ONLY_BLOBS, given)
        return [found] if len(found[1]) else []
    except sqlite3.DataError:  # more than SQLite can hold in one value
        half = len(numbers) // 2
        parts = (numbers[:half], numbers[half:]) if half else ()
        return [bodies for part in parts for bodies in _bodies(connection, part, since)]


def _fetched(connection: sqlite3.Connection, text: str, given: dict[str, Any]) -> Bodies:
    sizes, whole, unmarked = connection.execute(text, given).fetchone()
    return whole or b"", _numbers(sizes or ""), unmarked


def _numbers(listed: str) -> NDArray[np.int64]:
    import numpy as np

    return np.fromstring(listed, np.int64, sep=",")


def _in_order(asked: NDArray[np.int64]) -> list[int]:
    """The first 8 bytes of each key as an integer; in order, neighbours share a page."""
    import numpy as np

    numbers: list[int] = np.sort(asked[:, 0]).tolist()
    return numbers


def _group_id(group: Group) -> int:
    return int.from_bytes(group.digest[:8].ljust(8), "big", signed=True)


def _group_row(group: Group) -> tuple[bytes, str, bytes, int, int, int]:
    about = group.about.encode("utf-8", "surrogatepass")
    checksum = _checksum(group.digest, group.model, about)
    return group.digest, group.model, about, int(time.time()), checksum, _group_id(group)


def _checksum(*parts: Any) -> int:
    """Of whatever damage may have made of the columns of a group."""
    return zlib.crc32(repr(parts).encode("utf-8", "backslashreplace"))


def _moment(seconds: int) -> datetime.datetime:
    is_time = isinstance(seconds, int) and 0 <= seconds < 2**36  # not so where it is damaged
    return datetime.datetime.fromtimestamp(seconds if is_time else 0, datetime.UTC)
