"""Model calls made are the calls needed, whatever the shape of the statement."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from tests.oracle import FUNCTIONS, Ours
from tests.shapes import SHAPES, Shape


@pytest.fixture
def ours() -> Ours:
    return Ours()


def needed(ours: Ours, shape: Shape) -> int:
    con = ours.con
    con.create_function("yes", lambda s: FUNCTIONS["m"](s) == "true", ["VARCHAR"], "BOOLEAN")
    try:
        return con.execute(shape.needed).fetchall()[0][0]
    finally:
        con.remove_function("yes")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_calls_are_those_needed(ours: Ours, shape: Shape, tmp_path: Path) -> None:
    """A statement asks each needed input once, and nothing else."""
    wanted = needed(ours, shape)
    ours.forget()
    ours.con.execute(shape.sql.format(folder=tmp_path), shape.parameters)
    if ours.con.description:
        ours.con.fetchall()
    assert ours.calls == wanted


@pytest.mark.parametrize("k", [1, 3, 10, 40])
def test_limit_ends_early(k: int) -> None:
    """WHERE model LIMIT k asks at most max(16, twice the rows up to the k-th hit)."""
    ours = Ours("CREATE TABLE many AS SELECT i, 'row ' || i AS s FROM range(20000) r(i)")
    hits = [i for i in range(20000) if zlib.crc32(f"row {i}".encode()) % 3 == 0]
    ours.forget()
    rows = ours.con.execute(f"SELECT i FROM many WHERE m(s) = 'true' LIMIT {k}").fetchall()
    assert [i for (i,) in rows] == hits[:k]
    assert ours.calls <= max(16, 2 * (hits[k - 1] + 1))


def test_limit_on_a_parallel_scan_gives_the_first_rows() -> None:
    """A LIMIT that ends early returns the same rows as plain DuckDB on a table of many row groups."""
    ours = Ours("CREATE TABLE many AS SELECT i, 'row ' || i AS s FROM range(500000) r(i)")
    hits = [i for i in range(200) if zlib.crc32(f"row {i}".encode()) % 3 == 0]
    ours.forget()
    rows = ours.con.execute(
        "SELECT i, g(s) FROM many WHERE m(s) = 'true' LIMIT 5 OFFSET 2"
    ).fetchall()
    assert [i for i, _ in rows] == hits[2:7]
    assert ours.calls <= 2 * (hits[6] + 1) + 7 + 16
