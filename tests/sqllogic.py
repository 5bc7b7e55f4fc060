"""A reader and runner for tests in sqllogictest form.

    statement ok            the statement must succeed
    statement error         it must fail; below ---- stands a part of the message, line by line
    statement warning       it must succeed and warn; below ---- stands the warning, line by line
    query [rowsort]         below ---- stand the rows, columns separated by tabs; … is any value

Blank lines end a record. `{folder}` stands for a temporary folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from llmsql.errors import LlmsqlWarning


@dataclass(frozen=True)
class Record:
    """One record of a test file."""

    kind: str
    is_sorted: bool
    sql: str
    expected: list[str]
    line: int


def read(text: str) -> Iterator[Record]:
    """Yield the records of a test file."""
    number = 0
    for block in text.split("\n\n"):
        lines = block.split("\n")
        first = next(
            (i for i, x in enumerate(lines) if x.startswith(("statement ", "query"))), None
        )
        if first is not None:
            head, body = lines[first], lines[first + 1 :]
            cut = body.index("----") if "----" in body else len(body)
            yield Record(
                kind=" ".join(head.split()[:2]) if head.startswith("statement") else "query",
                is_sorted="rowsort" in head,
                sql="\n".join(body[:cut]),
                expected=[line for line in body[cut + 1 :] if line],
                line=number + first + 1,
            )
        number += len(lines) + 1


def run(con: Any, record: Record) -> None:
    """Run one record; raises AssertionError where it is not as written."""
    if record.kind == "statement warning":
        with pytest.warns(LlmsqlWarning) as told:
            con.execute(record.sql)
        found = [line for each in told for line in str(each.message).split("\n")]
        assert found == record.expected, f"line {record.line}"
        return
    try:
        con.execute(record.sql)
        rows = con.fetchall() if record.kind == "query" else []
    except duckdb.Error as error:
        assert record.kind == "statement error", f"line {record.line}: {error}"
        message = str(error)
        for expected in record.expected:
            assert expected.strip() in message, f"line {record.line}: {message}"
        return
    assert record.kind != "statement error", f"line {record.line}: it succeeded"
    if record.kind == "query":
        found = ["\t".join(map(shown, row)) for row in rows]
        expected = record.expected
        if record.is_sorted:
            found, expected = sorted(found), sorted(expected)
        assert len(found) == len(expected), f"line {record.line}: {found}"
        assert all(map(_is_like, found, expected)), f"line {record.line}: {found}"


def _is_like(found: str, expected: str) -> bool:
    """True where two rows are alike, but for what no clock tells twice."""
    one, other = found.split("\t"), expected.split("\t")
    return len(one) == len(other) and all(b in (a, "…") for a, b in zip(one, other, strict=True))


def shown(value: Any) -> str:
    """A value as test files write it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(shown, value)) + "]"
    return str(value)


def check_file(con: Any, path: Path, folder: Path) -> int:
    """Run every record of the file at *path*; returns how many there were."""
    count = 0
    for record in read(path.read_text(encoding="utf-8").replace("{folder}", str(folder))):
        run(con, record)
        count += 1
    return count
