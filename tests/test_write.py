"""The SELECT inside statements that write."""

from __future__ import annotations

import pytest

from llmsql.syntax import write
from tests.oracle import TABLES, Ours, Plain

QUERIES = [
    ("CREATE TABLE a AS SELECT m(x) FROM t", "SELECT m(x) FROM t"),
    ("CREATE OR REPLACE TEMP TABLE \"é 😀\".b AS FROM t", "FROM t"),
    ("CREATE TABLE IF NOT EXISTS a(x, y) AS (SELECT 1, 2) WITH DATA", "(SELECT 1, 2)"),
    ("INSERT INTO t SELECT 'AS SELECT', m(x) FROM s", "SELECT 'AS SELECT', m(x) FROM s"),
    ("INSERT INTO t(a) WITH c AS (SELECT 1) FROM c RETURNING a", "WITH c AS (SELECT 1) FROM c"),
    ("INSERT INTO t (SELECT m('é') FROM s)", "SELECT m('é') FROM s"),
    ("INSERT INTO t VALUES (m('a'))", "VALUES (m('a'))"),
    ("INSERT INTO t SELECT 1 FROM a JOIN b ON a.i = b.i ON CONFLICT DO NOTHING",
     "SELECT 1 FROM a JOIN b ON a.i = b.i"),
    ("COPY (SELECT m(x) FROM t) TO 'f.csv' (HEADER)", "SELECT m(x) FROM t"),
    ("UPDATE t SET a = m(x), b = [1, 2][1] WHERE c = 3",
     "SELECT m(x), [1, 2][1] FROM t WHERE c = 3"),
    ("UPDATE t AS q SET a = m(u.x) FROM u WHERE q.i = u.i RETURNING q.a",
     "SELECT m(u.x) FROM t AS q, u WHERE q.i = u.i"),
    ("UPDATE t SET (a, b) = (m(x), 2), c = 1", "SELECT (m(x), 2), 1 FROM t"),
    ("WITH c AS (FROM s) INSERT INTO t SELECT m(x) FROM c",
     "WITH c AS (FROM s) SELECT m(x) FROM c"),
    ("WITH c AS (FROM s) UPDATE t SET a = m(x) WHERE i IN (FROM c)",
     "WITH c AS (FROM s) SELECT m(x) FROM t WHERE i IN (FROM c)"),
    ("WITH c AS (FROM s) DELETE FROM t WHERE m(x) IN (FROM c)",
     "WITH c AS (FROM s) SELECT hash(*COLUMNS(*)) FROM t WHERE m(x) IN (FROM c)"),
    ("DELETE FROM t WHERE m(x) = 'y'", "SELECT hash(*COLUMNS(*)) FROM t WHERE m(x) = 'y'"),
    ("DELETE FROM t USING u WHERE t.i = u.i", "SELECT hash(*COLUMNS(*)) FROM t, u WHERE t.i = u.i"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "query"), QUERIES)
def test_query_is_found(sql: str, query: str) -> None:
    """The derived query reads what the statement reads."""
    found = write.read(sql)
    assert found is not None
    assert " ".join(found.query.replace(" ,", ",").split()) == query


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE a AS SELECT m(x) FROM t WITH NO DATA",
        "CREATE TABLE a(x INT)",
        "CREATE VIEW v AS SELECT m(x) FROM t",
        "COPY t TO 'f.csv'",
        "WITH c AS (SELECT 1) INSERT INTO t WITH c AS (SELECT 2) FROM c",
        "DELETE FROM t",
        "INSERT INTO t DEFAULT VALUES",
        "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE",
        "INSERT INTO t SELECT 'unclosed",
        "",
    ],
)
def test_no_query_is_found(sql: str) -> None:
    """A statement without a query of its own is left to run once."""
    found = write.read(sql)
    assert found is None or found.query.strip() == ""


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("INSERT INTO t SELECT m('fix or replace')", False),
        ("INSERT INTO t SELECT 1 ON CONFLICT DO NOTHING -- do update", False),
        ("INSERT OR /**/ REPLACE INTO t SELECT 1", True),
        ("INSERT INTO t SELECT 1 ON CONFLICT (k) DO /* c */ UPDATE SET a = 1", True),
    ],
)
def test_what_may_replace_rows(sql: str, expected: bool) -> None:
    """By what the statement says, not what stands in its texts and comments."""
    assert write.replaces_rows(sql) is expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("COPY (SELECT return_files FROM t) TO 'x'", False),
        ("COPY (SELECT 1) TO 'x' (RETURN_FILES)", True),
        ("UPDATE t SET a = 'returning'", False),
        ("WITH c AS (FROM s) DELETE FROM t WHERE i IN (FROM c) RETURNING i", True),
    ],
)
def test_what_returns_rows(sql: str, expected: bool) -> None:
    """RETURNING, and what COPY is asked to report."""
    assert write.returns_rows(sql) is expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CREATE TABLE t AS SELECT m('a trigger')", False),
        ("CREATE TABLE trigger AS SELECT 1", False),
        ("CREATE OR REPLACE TEMP TRIGGER x AFTER INSERT ON t", True),
    ],
)
def test_what_makes_a_trigger(sql: str, expected: bool) -> None:
    """Only what says so before its name."""
    assert write.makes_trigger(sql) is expected


def test_condition_is_put_back_in_its_place() -> None:
    """A rewritten condition replaces the old one and nothing else."""
    from llmsql.syntax import tree

    found = write.read("UPDATE t SET a = 'WHERE' /* é */ WHERE k = 1 RETURNING a")
    assert found is not None
    query = tree.parse("SELECT 1 WHERE k = 2")
    assert query is not None
    assert (
        " ".join(found.rebuilt(query).split())
        == "UPDATE t SET a = 'WHERE' /* é */ WHERE (k = 2) RETURNING a"
    )


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("DELETE FROM t RETURNING m(s), i", 'DELETE FROM t RETURNING m(s) AS "m(s)", i'),
        ("DELETE FROM t RETURNING i, m('a, b') -- x, y", "DELETE FROM t RETURNING i, m('a, b')"
         " AS \"m('a, b')\" -- x, y"),
        ("DELETE FROM t RETURNING [m(s), m(k)][1];", "DELETE FROM t RETURNING [m(s), m(k)][1]"
         ' AS "list_value(m(s), m(k))[1]";'),
        ("DELETE FROM t RETURNING m(s) AS y, *", None),
        ("DELETE FROM t RETURNING i, s", None),
        ("DELETE FROM t WHERE m(s)", None),
        ("INSERT INTO t SELECT ' RETURNING m(s)'", None),
    ],
)  # fmt: skip
def test_what_is_returned_is_named(sql: str, expected: str | None) -> None:
    """DuckDB would name it by what it has bound, an argument of ours among it."""
    named = write.with_names(sql, lambda node: node.get("function_name") == "m")
    assert named.replace("main.list_value", "list_value") == (expected or sql)


def test_a_call_that_is_returned_has_the_name_of_one_that_is_selected() -> None:
    """And not one that changes from statement to statement."""
    ours, plain = Ours(TABLES), Plain(TABLES)
    sql = "UPDATE t SET k = 3 WHERE i < 3 RETURNING m(s), upper(g(s))"
    one, other = ours.run(sql), plain.run(sql)
    plain.close()
    assert one.names == other.names == ["m(s)", "upper(g(s))"]
