"""Rows chosen before models are asked about them are the rows that plain DuckDB chooses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.oracle import TABLES, Ours, Plain, numbered

MACROS = """
CREATE MACRO ranked(x) AS row_number() OVER (ORDER BY x);
CREATE MACRO largest(x) AS max(x);
CREATE MACRO each_of(x) AS unnest(x);
CREATE MACRO tidy(x) AS upper(trim(x));
"""
ASKING_LESS = [
    "SELECT i, m('b' || i) FROM t ORDER BY g(s) DESC, i LIMIT 4",
    "SELECT i, g(s) AS y, m('b' || i) FROM t ORDER BY y DESC NULLS LAST, i LIMIT 4",
    "SELECT i, g(s), m('b' || i) FROM t ORDER BY 2 DESC, 1 LIMIT 4 OFFSET 2",
    "SELECT i, tidy(m('b' || i)) FROM t ORDER BY i LIMIT 4",
    "SELECT 2 + i, m('b' || i) FROM t ORDER BY 1 DESC LIMIT 4",
    "SELECT *, m('b' || i) FROM t ORDER BY i DESC LIMIT 4",
    "SELECT m('b' || i) AS y, t.* EXCLUDE (l) REPLACE (k + 1 AS k), i + 1 FROM t ORDER BY i LIMIT 4",
    "SELECT s, count(*) AS c, m('b' || s) FROM t GROUP BY s ORDER BY c DESC, s LIMIT 4",
    "SELECT m('b' || s) AS y, max(i), s FROM t GROUP BY s HAVING max(i) > 9 ORDER BY 2, s LIMIT 4",
    "SELECT *, m(s || w) FROM t JOIN u USING (k) ORDER BY i, id LIMIT 4",
    "SELECT DISTINCT ON (k) i, m('b' || i) AS y FROM t WHERE k < 4 ORDER BY k, i DESC",
    "SELECT m('b' || i) FROM t WHERE k < 4 QUALIFY row_number() OVER (PARTITION BY k ORDER BY i) = 1",
    "SELECT *, row_number() OVER (PARTITION BY k ORDER BY i) AS r, m('b' || i) FROM t WHERE k < 4"
    " QUALIFY r = 1",
    "SELECT s, count(*) AS c, m('b' || s) || s FROM t GROUP BY s HAVING c > 4 ORDER BY c, s LIMIT 4",
    "SELECT k % 3 AS z, m('b' || (k % 3)) AS y FROM t GROUP BY z ORDER BY z LIMIT 2",
    "SELECT k + 1 AS z, m('b' || z) AS y FROM t WHERE z > 3 ORDER BY i LIMIT 4",
    "SELECT m(s || r) FROM (SELECT *, row_number() OVER (ORDER BY i) AS r FROM t) q WHERE r < 5",
]
AS_WRITTEN = [
    "SELECT 2, i, m(s) FROM t ORDER BY 1, i DESC LIMIT 3",
    "SELECT 2 AS a, i, m(s) FROM t ORDER BY a, i DESC LIMIT 3",
    "SELECT m(s), i FROM t ORDER BY 1 COLLATE NOCASE, i LIMIT 5",
    "SELECT alias(i), m(s), i FROM t ORDER BY 1, i LIMIT 3",
    "SELECT ranked(m(s) || i), i FROM t ORDER BY 2 LIMIT 3",
    "SELECT largest(m(s)) AS a FROM t ORDER BY g('c') LIMIT 1",
    "SELECT each_of([m(s), 'b']), i FROM t ORDER BY i LIMIT 3",
    "SELECT DISTINCT ON (k) m('c') AS k, g('i' || i) FROM t WHERE s IS NOT NULL ORDER BY k, i",
    "SELECT DISTINCT ON (1) k, m(s) FROM t ORDER BY k, i",
    "SELECT m(s) AS y, k FROM t GROUP BY ALL ORDER BY k, y LIMIT 3",
    "SELECT m(s) AS y, k AS z FROM t GROUP BY s, z ORDER BY z, y LIMIT 3",
    "SELECT m('b' || (k % 3)) || (k % 3) AS y FROM t GROUP BY k % 3 ORDER BY k % 3 LIMIT 2",
    "SELECT m('x') AS r, row_number() OVER (ORDER BY i) AS r FROM t QUALIFY r < 3",
    "SELECT *, m(s) FROM (SELECT i, s, k AS llmsql_rows_0 FROM t) ORDER BY i DESC LIMIT 3",
    "SELECT k, llmsql_rows_0, m(s) FROM (SELECT i AS llmsql_rows_0, k, s FROM t)"
    " ORDER BY llmsql_rows_0 DESC LIMIT 2",
    "SELECT max(m(s)), k FROM t GROUP BY k ORDER BY k LIMIT 3",
    "SELECT m(max(s)), k FROM t GROUP BY k ORDER BY k LIMIT 3",
    "SELECT DISTINCT m(s), k FROM t ORDER BY 1, k LIMIT 3",
    "SELECT COLUMNS(['i', 'k']) + 1, m(s) FROM t ORDER BY i LIMIT 3",
    "SELECT t.*, u.*, m(s) FROM t JOIN u ON t.i = u.id ORDER BY t.i LIMIT 3",
]


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Ours, Plain]]:
    made = Ours(TABLES + MACROS), Plain(TABLES + MACROS)
    yield made
    made[0].con.close()
    made[1].close()


@pytest.mark.parametrize("sql", numbered(ASKING_LESS))
def test_only_the_rows_that_stay_are_asked_about(sides: tuple[Ours, Plain], sql: str) -> None:
    """With what the order asks, where it does."""
    one, other = (side.run(sql) for side in sides)
    assert (one.rows, one.names, one.error) == (other.rows, other.names, None)
    assert one.calls <= (44 if "g(s)" in sql else 4)


@pytest.mark.parametrize("sql", numbered(AS_WRITTEN))
def test_what_depends_on_all_rows_is_left_alone(sides: tuple[Ours, Plain], sql: str) -> None:
    """So is a literal that among the chosen rows would be a position, and a name of a column."""
    one, other = (side.run(sql) for side in sides)
    assert (one.rows, one.names, one.error) == (other.rows, other.names, None)
    assert one.calls <= other.calls
