"""A rewritten statement still says which of its CTEs DuckDB is to materialize."""

from __future__ import annotations

import pytest

from llmsql.syntax import hints, tree
from llmsql.syntax.rewrite import plan
from tests.oracle import Ours, Plain, same_rows

MODELS = frozenset({"m", "g"})


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("WITH c AS MATERIALIZED (FROM x) SELECT 1", ["c AS MATERIALIZED"]),
        ("WITH c(y) AS not /* yet */ materialized (VALUES (1)) TABLE c", ["AS NOT MATERIALIZED"]),
        ("WITH c AS (TABLE x), d AS MATERIALIZED (TABLE c) SELECT 1", ["d AS MATERIALIZED", "c AS ("]),
        ("WITH a AS MATERIALIZED (WITH b AS NOT MATERIALIZED (TABLE c) TABLE b) TABLE a",
         ["a AS MATERIALIZED", "b AS NOT MATERIALIZED"]),
        ("WITH a AS (WITH a AS MATERIALIZED (TABLE c) TABLE a) TABLE a",
         ["a AS (WITH a AS MATERIALIZED ("]),
        ("WITH ü AS MATERIALIZED (SELECT 'ü' UNION SELECT 'ä') TABLE ü", ['"ü" AS MATERIALIZED']),
        ("WITH materialized AS NOT MATERIALIZED (SELECT 1) TABLE materialized",
         ['"materialized" AS NOT MATERIALIZED']),
        ("SELECT 'c AS MATERIALIZED (x)' WHERE 1 = (WITH c AS (SELECT 1) TABLE c)", ["c AS ("]),
    ],
)  # fmt: skip
def test_the_word_is_printed(sql: str, wanted: list[str]) -> None:
    """DuckDB 1.5 leaves it out of its tree."""
    statement = tree.parse(sql)
    assert statement
    assert hints.restore(statement, sql)
    text = tree.show(statement)
    assert [part for part in wanted if part not in text] == []


def test_a_statement_that_cannot_be_printed_alike_is_not_rewritten() -> None:
    """Where a word may be a name, either it is kept by DuckDB itself or nothing is printed."""
    sql = "WITH c AS MATERIALIZED (SELECT m(s) AS y FROM t) SELECT 1 FROM c AS materialized(y) WHERE g(y)"
    found = plan(sql, MODELS, MODELS)
    assert found is None or "c AS MATERIALIZED" in found.text


@pytest.mark.parametrize("hint", ["MATERIALIZED", "NOT MATERIALIZED", ""])
@pytest.mark.parametrize(
    "query",
    [
        "SELECT a.i, g(b.y || a.i) FROM c a JOIN c b ON a.i = b.i WHERE a.flag",
        "SELECT i FROM c WHERE flag AND g('c' || i) < '4' AND EXISTS (SELECT 1 FROM c d WHERE d.i = c.i + 1)",
        "SELECT i FROM c WHERE i < 9",
    ],
)
def test_a_hint_asks_no_more_than_plain_duckdb(hint: str, query: str) -> None:
    """A materialized CTE computes all its rows, and one that is not only those that are read."""
    cte = f"SELECT i, flag, m(s || i) AS y FROM t WHERE k < 6 AND g(s || i) <> '{len(query) % 7}'"
    sql = f"WITH c AS {hint} ({cte}) {query}"
    ours, plain = Ours(), Plain()
    one, other = ours.run(sql), plain.run(sql)
    plain.close()
    assert same_rows(sql, one.rows, other.rows)
    assert one.calls <= other.calls


def test_a_hint_is_kept_below_a_rung() -> None:
    """Where only rows that sort first are asked about, too (54 calls for 41 on DuckDB 1.5.5)."""
    sql = """WITH a AS MATERIALIZED (SELECT * FROM t WHERE k IN (1, 2, 5) AND s LIKE '%1%' UNION ALL
      SELECT * FROM t WHERE length(s) > 6 AND CAST('1' || k AS INT) > 13)
      SELECT i, k, s, CASE WHEN flag THEN g(s) END FROM a
      WHERE flag AND length(s) > 6 AND m(s || i) = 'true' ORDER BY k, i, s LIMIT 20"""
    ours, plain = Ours(), Plain()
    one, other = ours.run(sql), plain.run(sql)
    plain.close()
    assert one.rows == other.rows
    assert one.calls <= other.calls
