"""EXPLAIN of any statement asks no model, makes nothing and leaves no file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

import llmsql

ECHO = "RUN command AS LLM WHERE pretrainedModelType='debug' AND "

STATEMENTS = [
    "PIVOT (SELECT i, chat(s) AS a FROM t) ON a USING count(*)",
    "PIVOT t ON chat(s) USING count(*)",
    "PIVOT t ON s USING max(chat(s))",
    "PIVOT v ON a USING count(*)",
    "SELECT * FROM (PIVOT v ON a USING count(*))",
    "WITH x AS (PIVOT v ON a USING count(*)) SELECT * FROM x",
    "FROM v PIVOT (count(*) FOR a IN ('text 1', 'text 2'))",
    "CREATE TABLE w AS PIVOT v ON a USING count(*)",
    "INSERT OR REPLACE INTO u PIVOT v ON a USING count(*)",
    "COPY (PIVOT v ON a USING count(*)) TO '/nowhere/at/all.csv'",
    "UNPIVOT (SELECT i, chat(s) a, chat('b' || s) b FROM t) ON a, b INTO NAME n VALUE x",
    "UNPIVOT v ON COLUMNS(* EXCLUDE i)",
    "SUMMARIZE SELECT chat(s) FROM t",
    "SUMMARIZE v",
    "DESCRIBE SELECT chat('a') FROM t",
    "DESCRIBE v",
    "SELECT * FROM (SUMMARIZE v)",
    "CREATE TABLE w AS SELECT chat(s) FROM t",
    "CREATE TABLE w AS SELECT chat('a') WITH NO DATA",
    "CREATE VIEW w AS SELECT chat('a')",
    "CREATE MACRO w(x) AS chat('a' || x)",
    "INSERT INTO u VALUES (1, chat('x'))",
    "INSERT INTO u SELECT i, chat(s) FROM t ON CONFLICT DO UPDATE SET s = chat(excluded.s)",
    "UPDATE t SET s = chat('x')",
    "UPDATE t SET s = (SELECT chat(max(s)) FROM t)",
    "DELETE FROM t WHERE chat('x') = 'x'",
    "MERGE INTO u USING (SELECT i, chat(s) s FROM t) x ON u.i = x.i"
    " WHEN MATCHED THEN UPDATE SET s = chat(x.s) WHEN NOT MATCHED THEN INSERT VALUES (x.i, x.s)",
    "COPY (SELECT chat(s) FROM t) TO '/nowhere/at/all.csv'",
    "COPY v TO '/nowhere/at/all.csv'",
    "SELECT * FROM v WHERE a = chat('b')",
    "SELECT m('a'), m(s) FROM t",
    "FROM tm('q')",
    "EXECUTE p(3)",
    "EXECUTE constant",
    "PREPARE q AS SELECT chat('a')",
    "SELECT i FROM t LIMIT length(chat('abc'))",
    "SELECT * FROM range((SELECT length(chat('abc'))))",
    "SELECT * FROM query('SELECT chat(''a'')')",
    "WITH a AS (SELECT chat(s) x FROM t), b AS (SELECT chat('b' || x) y FROM a) FROM b WHERE y <> chat('c')",
    "WITH RECURSIVE r AS (SELECT 'x' AS x UNION SELECT chat(x || 'y') FROM r WHERE len(x) < 5) FROM r",
    "SET VARIABLE x = (SELECT chat('a'))",
    "SELECT chat(s || random()) FROM t",
]  # fmt: skip
HEADS = ["EXPLAIN", "EXPLAIN (FORMAT json)", "/* why? */ EXPLAIN -- ANALYZE\n"]


@pytest.fixture(scope="module")
def shop() -> Any:
    """Twenty rows of seven texts, a view, macros and prepared statements that call a model."""
    with llmsql.connect() as con:
        con.execute(f"{ECHO} udfName='chat'")
        con.execute("CREATE TABLE t AS SELECT i, 'text ' || i % 7 AS s FROM range(20) r(i)")
        con.execute("CREATE TABLE u(i BIGINT PRIMARY KEY, s TEXT)")
        con.execute("CREATE VIEW v AS SELECT i, chat(s) AS a FROM t")
        con.execute("CREATE MACRO m(x) AS chat('m' || x)")
        con.execute("CREATE MACRO tm(x) AS TABLE SELECT chat(x || s) AS a FROM t")
        con.execute("PREPARE p AS SELECT chat('p' || s) FROM t WHERE i < $1")
        yield con


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("sql", STATEMENTS)
def test_explain_asks_nothing_and_makes_nothing(shop: Any, head: str, sql: str) -> None:
    """Model calls: 0. The rows end with what is known of them."""
    before = counts(shop)
    shop.execute("PREPARE constant AS SELECT chat('constant') FROM t" if "constant" in sql else "")
    asked = shop.engine.deployments.get("chat").answered  # PREPARE asks what DuckDB 1.5 plans with
    rows = shop.execute(f"{head} {sql}").fetchall()
    assert rows[-1][0] == "model_calls"
    assert shop.engine.deployments.get("chat").answered == asked
    assert counts(shop) == before


def counts(con: Any) -> list[Any]:
    tables = con.execute("SELECT table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
    others = con.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchall()
    rows = con.execute("SELECT count(*), count(DISTINCT s) FROM t").fetchall()
    return [tables, others, rows, con.execute("SELECT count(*) FROM u").fetchall()]


@pytest.mark.parametrize(
    "head", ["EXPLAIN ANALYSE", "EXPLAIN -- why?\nANALYZE", "EXPLAIN (ANALYZE /* ) */)"]
)
def test_analyze_in_any_spelling_runs(con: Any, head: str) -> None:
    """What DuckDB takes for an ANALYZE must not write NULL for answers."""
    con.execute(f"{ECHO} udfName='chat'; CREATE TABLE t(s TEXT)")
    con.execute(f"{head} INSERT INTO t SELECT chat('a')").fetchall()
    assert con.execute("FROM t").fetchall() == [("a",)]


def test_an_error_of_an_explained_statement_stays_one(shop: Any) -> None:
    """Only what answers may be the reason of is no error."""
    with pytest.raises(duckdb.BinderException, match="nothing"):
        shop.execute("EXPLAIN PIVOT (SELECT i, chat(s) AS a FROM t) ON nothing USING count(*)")


@pytest.mark.parametrize("sql", ["COPY v TO '{}'", "SUMMARIZE v", "PIVOT v ON a USING count(*)"])
def test_a_view_is_found_behind_any_word(con: Any, tmp_path: Path, sql: str) -> None:
    """The statement that reads it is written down with the calls it makes."""
    con.execute(f"{ECHO} udfName='chat'; CREATE VIEW v AS SELECT chat('a') AS a")
    con.execute(sql.format(tmp_path / "out.csv")).fetchall()
    con.execute("SELECT 1")
    assert con.execute("SELECT calls FROM llm_statements()").fetchall() == [(1,)]


def test_a_pivot_that_replaces_rows_keeps_values(con: Any) -> None:
    """A row that fails ends it, as a NULL would take a value's place."""
    con.execute(f"{ECHO} udfName='chat' AND fail_on='text'")
    con.execute("CREATE TABLE k(i BIGINT PRIMARY KEY, x TEXT); INSERT INTO k VALUES (1, 'kept')")
    con.execute("CREATE TABLE t AS SELECT 1 AS i, 'x' AS n, 'text' AS s")
    with pytest.raises(llmsql.LlmsqlError):
        con.execute(
            "INSERT OR REPLACE INTO k PIVOT (SELECT i, n, chat(s) AS a FROM t) ON n USING max(a)"
        )
    assert con.execute("FROM k").fetchall() == [(1, "kept")]


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN SELECT chat(s), chat('a'), chat(chat(s)) FROM t",
        "EXPLAIN SELECT chat(llm_fields('q', {'a': s, 'b': i})) FROM t",
        "EXPLAIN SELECT chat(s, {temperature: 1}) FROM t",
        "EXPLAIN PIVOT t ON chat(s) USING count(*)",
        "FROM llm_calls(), llm_statements(), llm_usage(), llm_progress(), llm_estimates()",
        "!llm cache stat",
    ],
)
def test_looking_leaves_no_file(tmp_path: Path, sql: str) -> None:
    """A result store is begun with the first answer, not with the first question about it."""
    with llmsql.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute(f"{ECHO} udfName='chat'")
        con.execute("CREATE TABLE t AS SELECT i, 'text ' || i AS s FROM range(50) r(i)")
        con.execute(sql).fetchall()
        con.execute("SELECT 1")
        assert not list(tmp_path.glob("*.llmsql*"))


def test_explain_reads_what_another_process_kept(tmp_path: Path) -> None:
    """The answers beside the database are known, and are not counted as reused."""
    path = str(tmp_path / "shop.duckdb")
    with llmsql.connect(path) as con:
        con.execute(f"{ECHO} udfName='chat'; SELECT chat('a')")
    with llmsql.connect(path) as con:
        con.execute("EXPLAIN SELECT chat('a'), chat('b')").fetchall()
        assert con.execute("SELECT known, calls FROM llm_estimates()").fetchall() == [
            (1, 0),
            (0, 1),
        ]
        assert con.execute("SELECT kind, calls FROM llm_statements()").fetchall() == [("SELECT", 1)]
        assert con.execute("SELECT calls, reused FROM llm_usage()").fetchall() == [(1, 0)]


def test_explain_of_what_is_known_is_not_written_down(con: Any) -> None:
    """It reuses nothing: also where DuckDB plans with an answer."""
    con.execute(f"{ECHO} udfName='chat'; SELECT chat('a')")
    con.execute("EXPLAIN SELECT chat('a'), chat('b')").fetchall()
    con.execute("SELECT 1")
    assert con.execute("SELECT kind, reused FROM llm_statements()").fetchall() == [("SELECT", 0)]
