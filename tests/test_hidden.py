"""What reaches a model where no plan shows it: macros of other schemas, generated columns, and so on.

DuckDB with a plain function says which rows there are, and how many calls they take.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

import llmsql
from tests.oracle import TABLES, Ours, numbered
from tests.test_enough import Sides, on_one_thread

ELSEWHERE = """
CREATE SCHEMA sc;
CREATE MACRO sc.f(x) AS m(x);
CREATE MACRO sc.tm() AS TABLE SELECT i, s, m(s || i) AS y FROM t;
CREATE TABLE gen(i BIGINT, s VARCHAR, y VARCHAR AS (m(s || i)), z VARCHAR AS (sc.f('z' || s)));
INSERT INTO gen SELECT i, s FROM t;
CREATE VIEW of_gen AS SELECT i, s, y FROM gen;
"""
SEEN = [
    "SELECT i, sc.f(s) FROM t ORDER BY i LIMIT 2",
    "SELECT i, g(s) FROM t WHERE sc.f(s) = 'true' ORDER BY i LIMIT 2",
    "SELECT i, memory.sc.f(s) FROM t ORDER BY i LIMIT 2",
    "SELECT i FROM t WHERE sc.f(s) = 'true' LIMIT 3",
    "SELECT i, y, g(s) FROM sc.tm() ORDER BY i LIMIT 2",
    "SELECT i, y, g(s) FROM memory.sc.tm() QUALIFY row_number() OVER (PARTITION BY y ORDER BY i) = 1",
    "SELECT i, y, g(s) FROM gen ORDER BY i LIMIT 2",
    "SELECT i, g(s) FROM gen WHERE y = 'true' ORDER BY i LIMIT 2",
    "SELECT i, g(s) FROM gen QUALIFY row_number() OVER (PARTITION BY y ORDER BY i) = 1 ORDER BY i",
    "SELECT DISTINCT ON (y) i, g(s) FROM gen ORDER BY y, i",
    "SELECT i FROM gen WHERE y IS NULL AND g(s) < '9' LIMIT 2",
    "SELECT i, g(s) FROM of_gen WHERE y = 'true' ORDER BY i DESC LIMIT 5",
    "SELECT i FROM gen WHERE y = 'true' OR g(s) = '1'",
    "SELECT coalesce(nullif(z, 'true'), g(s)) FROM gen",
    "SELECT CASE WHEN y = 'true' THEN g(s) ELSE m(s || 2) END FROM gen",
    "SELECT i FROM t WHERE EXISTS (SELECT 1 FROM gen WHERE gen.i = t.i AND gen.y = 'true') LIMIT 2",
    "DELETE FROM gen WHERE y = 'true' OR g(s) = '1'",
    "INSERT INTO gen SELECT i, g(s) FROM gen WHERE y = 'true' ORDER BY i LIMIT 3 RETURNING *",
    "CREATE TABLE o AS SELECT i, g(s) AS a FROM gen WHERE y = 'true' ORDER BY i LIMIT 2",
    "SELECT i FROM t WHERE m(s) = 'true' LIMIT g('c')::INT",
    "SELECT i FROM t WHERE m(s) = 'true' ORDER BY i LIMIT g('a')::INT + 1 OFFSET g('c')::INT",
    "SELECT m(table_name) FROM information_schema.tables",
    "SELECT m(column_name) FROM information_schema.columns WHERE table_name LIKE 't%'",
    "SELECT m(name) FROM sqlite_master",
]
NOT_SEEN = [
    "SELECT i, g(s) FROM t WHERE lower(s) = 'true' ORDER BY i LIMIT 2",
    "SELECT i, g(s) FROM t WHERE coalesce(lower(s), 'n') = 'n' AND g(s) < '9' LIMIT 2",
    "SELECT i FROM t WHERE g(s) < '9' ORDER BY lower(s) DESC, i LIMIT 2",
    "SELECT i, g(s) FROM w WHERE y = 'true' ORDER BY i LIMIT 2",
    "SELECT i, g(s) FROM w WHERE y IS NULL AND g(s) < '9' LIMIT 2",
]
"""By a macro with the name of a function of DuckDB's, and a view whose text DuckDB 1.5 lost."""


@pytest.fixture
def elsewhere() -> Iterator[Sides]:
    yield from on_one_thread(TABLES + ELSEWHERE)


@pytest.fixture
def unseen() -> Iterator[Sides]:
    for sides in on_one_thread(TABLES):
        for con in (sides.ours.con, sides.plain.con):
            con.table("t").project("i, s, m(s || i) AS y").create_view("w")
            con.execute("CREATE MACRO lower(x) AS m(x)")
        yield sides


@pytest.mark.parametrize("sql", numbered(SEEN))
def test_it_is_seen_wherever_it_is(elsewhere: Sides, sql: str) -> None:
    """The rows are plain DuckDB's, for no more calls."""
    elsewhere.compare(sql)


@pytest.mark.parametrize("sql", numbered(NOT_SEEN))
def test_where_it_is_not_seen_the_rows_are_the_same(unseen: Sides, sql: str) -> None:
    """A table that is kept, and a LIMIT, believe no call that nobody expected."""
    ours, plain = unseen.ours.run(sql), unseen.plain.run(sql)
    assert (ours.rows, ours.error) == (plain.rows, plain.error)


def test_a_macro_of_another_schema_ends_a_limit_as_early() -> None:
    ours = Ours("CREATE TABLE t AS SELECT i, 'x' || i AS s FROM range(5000) r(i);" + ELSEWHERE)
    assert ours.run("SELECT i FROM t WHERE sc.f(s) = 'true' LIMIT 3").calls == 32


@pytest.mark.parametrize("write", ["INSERT INTO t SELECT m('a')", "UPDATE t SET s = m('a')"])
def test_what_ends_a_transaction_is_said_by_its_name(write: str) -> None:
    with llmsql.connect() as con:
        con.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='m'")
        con.execute("CREATE TABLE t AS SELECT 's' AS s; BEGIN TRANSACTION READ ONLY")
        with pytest.raises(duckdb.TransactionException, match="launched in read-only mode"):
            con.execute(write)
