"""Rows that DuckDB is free to choose are chosen once, and asked about once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from llmsql.syntax import tree, undecided
from llmsql.syntax.ranks import is_call
from tests.oracle import TABLES, Ours, Plain, numbered, same_rows

MODELS = frozenset({"m", "g"})
LARGE = """
CREATE TABLE b AS SELECT i, i % 1000 AS k, 'text ' || i AS s FROM range(500000) r(i);
CREATE VIEW latest AS SELECT * FROM b QUALIFY row_number() OVER (PARTITION BY k ORDER BY i % 3) = 1;
CREATE VIEW few AS SELECT DISTINCT s FROM b LIMIT 50;
CREATE TABLE o(a VARCHAR);
"""
FOUND = [
    ("SELECT m(s) FROM (SELECT DISTINCT s FROM t LIMIT 5)", ["SELECT DISTINCT s FROM t LIMIT 5"]),
    ("SELECT m(s) FROM (SELECT s FROM t ORDER BY k LIMIT 5)", ["SELECT s FROM t ORDER BY k LIMIT 5"]),
    ("SELECT m(s) FROM (SELECT DISTINCT ON (k) s FROM t)", ["SELECT DISTINCT ON (k) s FROM t"]),
    (
        "SELECT m(s) FROM t WHERE k IN (SELECT k FROM u GROUP BY k LIMIT 2)",
        ["SELECT k FROM u GROUP BY k LIMIT 2"],
    ),
    (
        "WITH q AS (SELECT DISTINCT s FROM t LIMIT 5) SELECT m(p.s) FROM (SELECT s FROM q ORDER BY s LIMIT 2) p",
        [
            "SELECT DISTINCT s FROM t LIMIT 5",
            "WITH q AS (SELECT DISTINCT s FROM t LIMIT 5) SELECT s FROM q ORDER BY s LIMIT 2",
        ],
    ),
    (
        "SELECT m(s) FROM (SELECT *, row_number() OVER (ORDER BY k) AS r FROM t)",
        ["SELECT *, row_number() OVER (ORDER BY k) AS r FROM t"],
    ),
    (
        "SELECT m(s || $1) FROM (SELECT s FROM t WHERE k = $2 ORDER BY s LIMIT 5)",
        ["WITH llmsql_parameters AS (SELECT $1, $2) SELECT s FROM t WHERE k = $2 ORDER BY s LIMIT 5"],
    ),
    ("SELECT m(s) FROM chosen c", ["SELECT * FROM chosen"]),
]  # fmt: skip
LEFT_ALONE = [
    "SELECT m(s) FROM (SELECT s FROM t WHERE k < 5 LIMIT 5)",
    "SELECT m(s) FROM (SELECT DISTINCT s FROM t)",
    "SELECT m(s) FROM (SELECT s, rank() OVER (ORDER BY k), sum(i) OVER (ORDER BY k) FROM t)",
    "SELECT m(s) FROM (SELECT s FROM t WHERE m(s) ORDER BY k LIMIT 5)",
    "WITH q AS (SELECT m(s) AS s FROM t) SELECT s FROM (SELECT DISTINCT s FROM q LIMIT 5)",
    "WITH chosen AS (SELECT s FROM t) SELECT m(s) FROM chosen",
]
ONCE = [
    ("SELECT m(s) FROM (SELECT DISTINCT s FROM b LIMIT 50)", 50),
    ("SELECT m(s) FROM (SELECT s, count(*) AS n FROM b GROUP BY s LIMIT 50)", 50),
    ("SELECT s, m(s) FROM b GROUP BY s LIMIT 50", 50),
    ("SELECT s, m(s) FROM b ORDER BY k LIMIT 50", 50),
    ("SELECT *, m(s) FROM b JOIN (SELECT i AS j FROM b) c ON b.i = c.j LIMIT 50", 50),
    ("SELECT s, m(s), g(s) FROM (SELECT DISTINCT ON (k) k, s FROM b WHERE k < 40)", 80),
    ("SELECT m(s) FROM (SELECT s, row_number() OVER (ORDER BY k) AS r FROM b) WHERE r <= 50", 50),
    ("SELECT m(s) FROM latest WHERE k < 70", 70),
    ("SELECT m(few.s) FROM few", 50),
    (
        "WITH q AS (SELECT DISTINCT s FROM b LIMIT 50), p AS (SELECT DISTINCT s FROM q LIMIT 20)"
        " SELECT m(q.s), g(p.s) FROM p JOIN q USING (s)",
        40,
    ),
    ("INSERT INTO o SELECT m(s) FROM (SELECT DISTINCT s FROM b LIMIT 50)", 50),
    ("INSERT INTO o SELECT m(s) FROM (SELECT DISTINCT s FROM b LIMIT 50) RETURNING a", 50),
    ("CREATE OR REPLACE TEMP TABLE x AS SELECT m(s) AS y FROM b GROUP BY s LIMIT 50", 50),
]
GIVEN = [
    ("SELECT m($1 || s) FROM (SELECT DISTINCT s FROM t WHERE s IS NOT NULL LIMIT 5)", ["q "]),
    ("SELECT m(s) FROM (SELECT s FROM t WHERE k = $1 ORDER BY i LIMIT 5) q", [3]),
    ("SELECT m(s || ?) FROM (SELECT s FROM t WHERE k = ? ORDER BY i LIMIT ?) q", ["a", 3, 5]),
    ("SELECT m(s) FROM (SELECT s FROM t WHERE k = $k ORDER BY i LIMIT 5) q", {"k": 3}),
]
IN_ORDER = [
    "SELECT m(s), count(*) FROM (SELECT s, i FROM t ORDER BY k, i LIMIT 150) q WHERE length(s) > 6"
    " GROUP BY m(s) HAVING m(s) = 'true'",
    "WITH q AS (SELECT *, row_number() OVER (ORDER BY k, i) AS r FROM t WHERE k < 6)"
    " SELECT a.i, m(b.s) FROM q a JOIN q b ON a.i = b.i WHERE a.k < 5",
    "WITH a AS MATERIALIZED (SELECT i, row_number() OVER (PARTITION BY k ORDER BY i, s) AS k, s FROM t),"
    " b AS (SELECT DISTINCT i, k, s FROM a WHERE NOT m('q' || k)) SELECT i, k, s, m(g(s)) FROM b"
    " WHERE i > k AND g(s) < '4' AND length(s) > 6 ORDER BY k, i, s LIMIT 3",
    "WITH a AS MATERIALIZED (SELECT i, row_number() OVER (PARTITION BY k ORDER BY i, s) AS k, s FROM t"
    " WHERE k IN (1, 2, 5)), b AS MATERIALIZED (SELECT * FROM a WHERE NOT m('q' || k))"
    " SELECT i, g(s) FROM b WHERE m(g(s)) IS NULL AND i > k",
    "WITH a AS MATERIALIZED (SELECT DISTINCT ON (k, i) s, k, i FROM t WHERE k IN (1, 2, 5)), b AS"
    " MATERIALIZED (SELECT k, s FROM a WHERE length(s) > 6 AND NOT m('q' || k || i))"
    " SELECT s, g(s) FROM b WHERE m(g(s)) IS NULL AND length(s) > k",
    "WITH a AS (SELECT s, k, i, row_number() OVER (PARTITION BY k ORDER BY flag, i) AS r FROM t)"
    " SELECT i FROM a WHERE i IN (SELECT i + 1 FROM a WHERE m(s || i) AND g(s) < '4' AND r > 1)"
    " AND r > 2 AND m('p' || i)",
    "SELECT i FROM (SELECT * FROM t WHERE s IS NOT NULL ORDER BY k, i LIMIT 90) q"
    " WHERE g(s) < '4' OR s IS NOT NULL",
    "SELECT i FROM t WHERE k IN (SELECT k FROM u WHERE k > 2 ORDER BY n, id LIMIT 9) AND m(s || i)",
    "SELECT m(s) AS k FROM (SELECT * FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY i) < 5) q"
    " WHERE m('w' || i) IS NOT NULL AND k = 3",
    "SELECT t.i, m(t.s || t.i) FROM (SELECT i, k, g(s) AS s FROM t WHERE k > 3 LIMIT 50) t ANTI JOIN u"
    " ON t.i < u.id AND u.n = 3 AND t.i > 50 WHERE t.k < 6 AND t.k = ANY (SELECT u.k FROM u WHERE m(w || id))",
]  # fmt: skip
AS_BEFORE = [
    "SELECT i, (SELECT m(w) FROM u WHERE u.id = t.i ORDER BY id LIMIT 1) FROM t ORDER BY i",
    "SELECT t.i, m(q.w) FROM t, LATERAL (SELECT w FROM u WHERE u.k = t.k ORDER BY id LIMIT 1) q ORDER BY 1",
    "SELECT m(s) FROM t, (SELECT CAST(w AS INT) AS n FROM u ORDER BY id LIMIT 3) q WHERE false",
    "SELECT s, m(s) FROM (SELECT s, s, k FROM t ORDER BY i LIMIT 3) q",
    'SELECT m(s), "upper(s)" FROM (SELECT upper(s), s FROM t ORDER BY i LIMIT 3) q(a, s), (SELECT 1 AS "upper(s)")',
    "SELECT m(n || d) FROM (SELECT NULL AS n, '1 day'::INTERVAL AS d, {'a': l} AS x FROM t ORDER BY i LIMIT 2)",
    "WITH u AS (SELECT i, s FROM t), b AS (FROM u) SELECT i, m(s) FROM (WITH u AS (SELECT 1 AS one)"
    " SELECT * FROM (FROM b ORDER BY i LIMIT 2), u) ORDER BY i",
    "WITH u AS (SELECT i, s FROM t WHERE i < 20) SELECT * FROM (WITH U AS (SELECT i + 1 AS i, s FROM u)"
    " SELECT *, m(s) FROM (SELECT * FROM u ORDER BY i DESC LIMIT 3)) ORDER BY i",
    "WITH u AS (SELECT i, s FROM t), a AS (WITH u AS (SELECT i + 1 AS i, s FROM u)"
    " SELECT * FROM u ORDER BY i LIMIT 4) SELECT *, m(s) FROM a ORDER BY i",
    "WITH u AS (SELECT i, s FROM t), b AS (SELECT * FROM u) SELECT i, m(s) FROM t WHERE i IN"
    " (WITH u AS (SELECT 3 AS i) SELECT i FROM (SELECT i FROM b ORDER BY i DESC LIMIT 3)) ORDER BY i",
    "SELECT m(s) FROM (SELECT s COLLATE NOCASE AS s FROM t ORDER BY i LIMIT 5) q WHERE s = 'TEXT 2'",
]  # fmt: skip


def chosen(name: str) -> list[tree.Node]:
    parsed = tree.parse("SELECT DISTINCT s FROM t LIMIT 5")
    return [parsed] if parsed and name == "chosen" else []


def costs_in(sql: str) -> Callable[[tree.Node], bool]:
    def costs(node: tree.Node) -> bool:
        is_table = node.get("type") == "BASE_TABLE" and node["table_name"] == "q"
        return is_call(node, MODELS) or (is_table and "m(s) AS s" in sql)

    return costs


def found_in(sql: str) -> list[undecided.Undecided]:
    parsed = tree.parse(sql)
    assert parsed
    return undecided.find(parsed, costs_in(sql), chosen)


def written(sql: str) -> str:
    parsed = tree.parse(sql)
    assert parsed
    return tree.show(parsed)


@pytest.fixture(scope="module")
def large() -> Iterator[Ours]:
    made = Ours(LARGE)
    made.con.execute("SET threads = 4")
    yield made
    made.con.close()


@pytest.fixture
def sides() -> Iterator[tuple[Ours, Plain]]:
    made = Ours(TABLES), Plain(TABLES)
    yield made
    made[0].con.close()
    made[1].close()


@pytest.mark.parametrize(("sql", "texts"), FOUND)
def test_what_leaves_the_choice_to_duckdb_is_found(sql: str, texts: list[str]) -> None:
    assert [each.text for each in found_in(sql)] == [written(text) for text in texts]


@pytest.mark.parametrize("sql", LEFT_ALONE)
def test_what_has_an_order_or_asks_is_left_alone(sql: str) -> None:
    assert found_in(sql) == []


@pytest.mark.parametrize(
    ("sql", "is_sure"),
    [
        ("SELECT m(s) FROM (SELECT DISTINCT s, k FROM t LIMIT 5) WHERE k < 3", True),
        ("SELECT m(s) FROM t WHERE k IN (SELECT k FROM u GROUP BY k LIMIT 2)", False),
        ("SELECT m(s) FROM (SELECT DISTINCT s, k FROM t LIMIT 5) JOIN u USING (k)", False),
        ("SELECT s FROM (SELECT DISTINCT s FROM t LIMIT 5) WHERE m(s)", True),
        ("SELECT s FROM (SELECT DISTINCT s FROM t, u LIMIT 5) WHERE m(s)", True),
        ("SELECT y FROM (SELECT m(s) AS y FROM (SELECT DISTINCT s FROM t LIMIT 5))", True),
        ("SELECT s FROM t WHERE k IN (SELECT k FROM u GROUP BY k LIMIT 2) AND m(s)", False),
        ("SELECT s FROM (SELECT DISTINCT s, k FROM t LIMIT 5) JOIN u USING (k) WHERE m(s)", False),
        ("SELECT s FROM (SELECT * FROM (SELECT DISTINCT s, k FROM t LIMIT 5) WHERE m(s)) WHERE k < 3", False),
        ("SELECT y FROM (SELECT m(s) AS y, k FROM (SELECT DISTINCT s, k FROM t LIMIT 5))"
         " JOIN u USING (k)", False),
    ],
)  # fmt: skip
def test_only_rows_that_alone_decide_what_is_asked_are_kept(sql: str, is_sure: bool) -> None:
    """DuckDB infers filters by a join from what it knows of a query, and not of a table."""
    parsed = tree.parse(sql)
    assert parsed
    found = undecided.find(parsed, costs_in(sql), chosen)
    assert undecided.decide_alone(found, parsed, costs_in(sql)) is is_sure


@pytest.mark.parametrize(("sql", "calls"), ONCE)
def test_all_passes_ask_about_the_same_rows(large: Ours, sql: str, calls: int) -> None:
    """Two passes over four threads had other rows each, and asked for both."""
    assert {large.run(sql).calls for _ in range(4)} == {calls}


@pytest.mark.parametrize(("sql", "parameters"), GIVEN)
def test_parameters_reach_what_is_kept(
    sides: tuple[Ours, Plain], sql: str, parameters: list[object]
) -> None:
    one, other = (side.run(sql, parameters) for side in sides)
    assert (one.error, one.names, one.calls) == (None, other.names, other.calls)
    assert "DISTINCT" in sql or one.rows == other.rows


@pytest.mark.parametrize("sql", numbered(AS_BEFORE))
def test_what_is_kept_is_what_it_was(sides: tuple[Ours, Plain], sql: str) -> None:
    """Names, types and order too; what reads the rows around it is not, nor what fails alone."""
    one, other = (side.run(sql) for side in sides)
    assert (one.rows, one.names, one.error) == (other.rows, other.names, other.error)
    assert one.calls <= other.calls


@pytest.mark.parametrize("sql", IN_ORDER)
def test_what_is_kept_turns_no_conditions_round(sides: tuple[Ours, Plain], sql: str) -> None:
    """Of a table DuckDB knows something else than of a query, and orders conditions by it."""
    one, other = (side.run(sql) for side in sides)
    assert same_rows(sql, one.rows, other.rows)
    assert one.calls <= other.calls


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT m(s) FROM (SELECT DISTINCT s FROM b LIMIT 50)",
        "INSERT INTO o SELECT m(s) FROM (SELECT DISTINCT s FROM b LIMIT 50)",
        "UPDATE o SET a = m(a) WHERE a IN (SELECT s FROM b GROUP BY s LIMIT 50)",
    ],
)
def test_what_is_not_kept_is_chosen_by_one_run(large: Ours, sql: str) -> None:
    """In the user's transaction a query that fails would end it; an UPDATE runs as written."""
    for _ in range(4):
        large.run("INSERT INTO o SELECT s FROM b LIMIT 50")
        large.con.execute("BEGIN")
        assert large.run(sql).calls <= 50
        large.con.execute("ROLLBACK")


def test_nothing_is_left_when_the_next_statement_begins(sides: tuple[Ours, Plain]) -> None:
    ours, _ = sides
    ours.run("SELECT m(s) FROM (SELECT DISTINCT s FROM t LIMIT 5)")
    names = ours.con.execute("SELECT table_name FROM duckdb_tables() WHERE temporary").fetchall()
    assert names == []


def test_in_the_users_transaction_nothing_is_tried(sides: tuple[Ours, Plain]) -> None:
    """An error of a query that plain DuckDB never comes to would end it."""
    ours, _ = sides
    ours.con.execute("BEGIN")
    made = ours.run(
        "SELECT m(s) FROM t, (SELECT CAST(w AS INT) AS n FROM u ORDER BY id LIMIT 3) WHERE false"
    )
    assert (made.rows, made.error) == ([], None)
    ours.con.execute("COMMIT")
