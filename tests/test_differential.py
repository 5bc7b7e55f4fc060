"""llmsql and plain DuckDB agree on every statement, and llmsql never asks more."""

from __future__ import annotations

import time

import pytest

from tests.generator import Generator, Several
from tests.nasty import NASTY
from tests.oracle import Ours, Plain, numbered, same_rows

SEEDS = range(40)
STATEMENTS_PER_SEED = 12
SECONDS = 20


def check(ours: Ours, plain: Plain, sql: str) -> None:
    """Run *sql* on both sides and compare everything that can be seen."""
    started = time.process_time()  # as others may have the processor
    one, other = ours.run(sql), plain.run(sql)
    assert one.error == other.error, sql
    assert one.names == other.names, sql
    if "EXPLAIN" not in sql and "uuid" not in sql:
        assert same_rows(sql, one.rows, other.rows), sql
    if one.error is None:
        assert one.calls <= other.calls, sql
    assert time.process_time() - started < SECONDS, sql
    for table in ("t", "e"):
        rows = [side.con.execute(f"FROM {table} ORDER BY ALL").fetchall() for side in (ours, plain)]
        assert rows[0] == rows[1], sql


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_statements_agree(ours: Ours, plain: Plain, seed: int) -> None:
    """Rows, names, errors and tables are those of plain DuckDB; calls are no more."""
    generator = Generator(seed)
    for _ in range(STATEMENTS_PER_SEED):
        check(ours, plain, generator.statement())


@pytest.mark.parametrize("seed", range(2000, 2020))
def test_statements_with_several_models_predicates_agree(
    ours: Ours, plain: Plain, seed: int
) -> None:
    """No predicate is asked about more rows than DuckDB's own order of them leaves it."""
    generator = Several(seed)
    for _ in range(STATEMENTS_PER_SEED):
        check(ours, plain, generator.statement())


@pytest.mark.parametrize("seed", range(1000, 1015))
def test_generated_statements_agree_in_a_transaction(ours: Ours, plain: Plain, seed: int) -> None:
    """The same inside a transaction of the user's, which only his own errors abort."""
    generator = Generator(seed)
    for _ in range(6):
        sql = generator.statement()
        for side in (ours, plain):
            side.con.execute("BEGIN")
        one, other = ours.run(sql), plain.run(sql)
        assert one.error == other.error, sql
        assert same_rows(sql, one.rows, other.rows), sql
        states = [is_usable(side.con) for side in (ours, plain)]
        assert states[0] == states[1], sql
        for side in (ours, plain):
            side.con.execute("ROLLBACK")


def is_usable(con: object) -> bool:
    try:
        con.execute("SELECT 1").fetchall()  # type: ignore[attr-defined]
    except Exception:
        return False
    return True


@pytest.mark.parametrize("sql", numbered(NASTY))
def test_nasty_statements_agree(ours: Ours, plain: Plain, sql: str) -> None:
    """Each rule's own cases, from a fresh database."""
    if sql.startswith("EXECUTE"):
        for side in (ours, plain):
            side.con.execute("PREPARE p AS SELECT m(s || $1) FROM t WHERE k = 1")
    if "made_macro('q')" in sql:
        for side in (ours, plain):
            side.con.execute("CREATE MACRO made_macro(x) AS g(m(x))")
    if sql == "SELECT * FROM two":
        for side in (ours, plain):
            side.con.execute("CREATE TABLE two AS SELECT m(s), g(s) AS b FROM t WHERE k = 2")
    check(ours, plain, sql)
    assert is_usable(ours.con)


@pytest.mark.parametrize("sql", numbered(NASTY))
def test_nasty_statements_agree_in_a_transaction(ours: Ours, plain: Plain, sql: str) -> None:
    """Inside a transaction, rows and errors agree, and so does whether the transaction lives."""
    for side in (ours, plain):
        side.con.execute("BEGIN")
    one, other = ours.run(sql), plain.run(sql)
    assert one.error == other.error
    if "EXPLAIN" not in sql:
        assert same_rows(sql, one.rows, other.rows)
    assert is_usable(ours.con) == is_usable(plain.con)
