"""Model calls made over calls needed, for every query shape of tests/shapes.py."""

from __future__ import annotations

import tempfile
import zlib

from benchmarks.table import Line
from tests.oracle import FUNCTIONS, Ours, Plain
from tests.shapes import SHAPES


def run() -> list[Line]:
    """One line for all shapes, naming those that miss; lines for LIMIT, and for rows chosen."""
    return [_shapes(), *_limits(), *_choices()]


def _shapes() -> Line:
    exact, missed, above_plain = 0, [], []
    for shape in SHAPES:
        ours, plain = Ours(), Plain()
        with tempfile.TemporaryDirectory() as folder:
            sql = shape.sql.format(folder=folder)
            needed = _needed(ours, shape.needed)
            made = ours.run(sql, shape.parameters).calls
            remembered = plain.run(sql, shape.parameters).calls
        exact += made == needed
        if made != needed:
            missed.append(f"{shape.name} {made}/{needed}")
        if made > remembered:
            above_plain.append(shape.name)
        ours.con.close()
        plain.close()
    measured = f"1.00 on {exact} of {len(SHAPES)}"
    if missed:
        measured += "; " + ", ".join(missed)
    measured += (
        "; never more than a function that remembers"
        if not above_plain
        else f"; above: {above_plain}"
    )
    return Line(
        f"model calls / needed, {len(SHAPES)} query shapes, EXPLAIN among them",
        "1.00 each",
        measured,
    )


def _needed(ours: Ours, sql: str) -> int:
    con = ours.con
    con.create_function("yes", lambda s: FUNCTIONS["m"](s) == "true", ["VARCHAR"], "BOOLEAN")
    needed = con.execute(sql).fetchall()[0][0]
    con.remove_function("yes")
    return int(needed)


def _limits() -> list[Line]:
    lines = []
    rows = 100_000
    hits = [i for i in range(rows) if zlib.crc32(f"row {i}".encode()) % 3 == 0]
    ours = Ours(f"CREATE TABLE many AS SELECT i, 'row ' || i AS s FROM range({rows}) r(i)")
    for k in (1, 10, 100):
        made = ours.run(f"SELECT i FROM many WHERE m(s) = 'true' LIMIT {k}").calls
        lines.append(
            Line(
                f"calls of WHERE model LIMIT {k}, {rows:,} rows",
                f"≤ {max(16, 2 * (hits[k - 1] + 1))}",
                str(made),
            )
        )
    made = ours.run("SELECT i FROM many WHERE m(s) = 'true' ORDER BY i DESC LIMIT 10").calls
    last = next(at + 1 for at in range(rows) if sum(i >= rows - 1 - at for i in hits) == 10)
    lines.append(
        Line(
            f"calls of WHERE model ORDER BY i DESC LIMIT 10, {rows:,} rows",
            f"≤ {max(32, 2 * last)}",
            str(made),
        )
    )
    ours.con.close()
    return lines


CHOICES = (
    ("(DISTINCT … LIMIT 50)", 50, "SELECT m(s) FROM (SELECT DISTINCT s FROM many LIMIT 50)"),
    (
        "GROUP BY … ORDER BY count(*) LIMIT 5",
        5,
        "SELECT s, m(s) FROM many GROUP BY s ORDER BY count(*), s LIMIT 5",
    ),
    (
        "QUALIFY row_number() … = 1, 1,000 groups",
        1000,
        "SELECT *, m(s || i) FROM many"
        " QUALIFY row_number() OVER (PARTITION BY k ORDER BY i % 3) = 1",
    ),
)
"""Where DuckDB chooses rows: what of, how many calls are needed, and the statement."""


def _choices() -> list[Line]:
    """The most calls of five runs on four threads, each of which may choose other rows."""
    rows, lines = 500_000, []
    columns = "i, i % 1000 AS k, 'row ' || i // 5 AS s"
    table = f"CREATE TABLE many AS SELECT {columns} FROM range({rows}) r(i)"
    ours, plain = Ours(table), Plain(table)
    for side in (ours, plain):
        side.con.execute("SET threads = 4")
    for what, goal, sql in CHOICES:
        made, alone = (max(side.run(sql).calls for _ in range(5)) for side in (ours, plain))
        measured = f"{made:,} (a function that remembers: {alone:,})"
        lines.append(Line(f"calls over {what}, {rows:,} rows, 4 threads", f"≤ {goal:,}", measured))
    ours.con.close()
    plain.close()
    return lines
