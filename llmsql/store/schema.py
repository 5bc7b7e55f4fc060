"""The tables of a store, and whether a file has them.

Owns their text and version. What stands in them is the business of `results`, `records`, `usage`.
"""

from __future__ import annotations

import sqlite3
from typing import Literal

APPLICATION = 0x6C6C6D73  # "llms"
VERSION = 1

# An entry is found by `id`, the first 8 bytes of its key, and lies where it was put: a key is
# random, so a table ordered by it would rewrite a page for every entry (a third of the speed).
# Marks of use stand apart for the same reason.
TABLES = {
    "groups": """CREATE TABLE groups (
        id INTEGER PRIMARY KEY, digest BLOB, model TEXT, about BLOB, used_at INTEGER,
        checksum INTEGER)""",
    "answers": """CREATE TABLE answers (
        n INTEGER PRIMARY KEY, id INTEGER, grp INTEGER, used INTEGER, created INTEGER,
        statement BLOB, body BLOB)""",
    "answers_id": "CREATE UNIQUE INDEX answers_id ON answers (id)",
    "answers_statement": """CREATE INDEX answers_statement ON answers (statement)
        WHERE statement IS NOT NULL""",
    "uses": "CREATE TABLE uses (n INTEGER PRIMARY KEY, used INTEGER)",
    "state": "CREATE TABLE state (tick INTEGER, bytes INTEGER)",
    "batches": """CREATE TABLE batches (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, tag INTEGER, count INTEGER, body BLOB,
        checksum INTEGER)""",
    "batches_kind": "CREATE INDEX batches_kind ON batches (kind, id, count)",
    "usage": """CREATE TABLE usage (
        day TEXT, model TEXT, grp BLOB, calls INTEGER, failed INTEGER, reused INTEGER,
        input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER, input_chars INTEGER,
        seconds REAL, cost REAL, PRIMARY KEY (day, model, grp)) WITHOUT ROWID""",
}

Finding = Literal["empty", "ours", "newer", "foreign", "damaged"]


def examine(connection: sqlite3.Connection) -> tuple[Finding, int]:
    """What the file is, and the version it states. Raises sqlite3.Error where it cannot be read."""
    ((application,),) = connection.execute("PRAGMA application_id").fetchall()
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    found = dict(
        connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        )
    )
    if not found and not application:
        return "empty", version
    if application != APPLICATION:
        return "foreign", version
    if version > VERSION:
        return "newer", version
    return ("ours" if version == VERSION and found == TABLES else "damaged"), version


def create(connection: sqlite3.Connection) -> None:
    """Make the tables, all or none."""
    connection.execute("BEGIN IMMEDIATE")
    for sql in TABLES.values():
        connection.execute(sql)
    connection.execute("INSERT INTO state VALUES (0, 0)")
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
