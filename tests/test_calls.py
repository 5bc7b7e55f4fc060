"""Model calls made are the calls needed, whatever the shape of the statement."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest

from llmsql.syntax.rewrite import plan
from tests.oracle import FUNCTIONS, Ours, Plain
from tests.shapes import SHAPES, Shape


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


def test_a_full_pass_ends_and_the_next_begins() -> None:
    """What waits is bounded: no more inputs are noted in a pass than it may hold, and none is lost."""
    ours = Ours("CREATE TABLE many AS SELECT i, 'row ' || i AS s FROM range(5000) r(i)")
    ours.con._session.max_noted = 100
    rows = ours.con.execute("SELECT count(m(s)), count(g(m(s))) FROM many").fetchall()
    assert rows == [(5000, 5000)]
    assert ours.calls == 5000 + 2
    assert max(ours.models["m"].batches) <= 100 + 2048


@pytest.mark.parametrize("kind", ["arrow", "batch", "dataset", "pandas", "polars", "numpy"])
def test_a_registered_object_is_asked_about_at_once(kind: str) -> None:
    """One set for all its rows, not one for each chunk, though DuckDB 2.0 tells of it as of a view."""
    texts = [f"row {i}" for i in range(5000)]
    table = pa.table({"s": texts})
    made = {
        "arrow": lambda: table,
        "batch": lambda: table.combine_chunks().to_batches()[0],
        "dataset": lambda: pa.dataset.dataset(table),
        "pandas": lambda: pd.DataFrame({"s": texts}),
        "polars": lambda: pl.from_arrow(table),
        "numpy": lambda: {"s": np.array(texts)},
    }
    ours = Ours("CREATE TABLE t (i INTEGER)")
    ours.con.register("given", made[kind]())
    for query in ("SELECT count(m(s)) FROM given", "SELECT count(*) FROM given WHERE m(s) > ''"):
        ours.forget()
        assert ours.con.execute(query).fetchall() == [(5000,)]
        assert len(ours.models["m"].batches) == 1


def test_a_pass_over_an_unstable_input_ends() -> None:
    """A query that gives other inputs at each pass ends all the same, with the right answer."""
    ours = Ours("CREATE TABLE many AS SELECT i, 'row ' || i AS s FROM range(500) r(i)")
    sql = (
        "WITH RECURSIVE r(x, n) AS (SELECT 'seed', 0 UNION ALL"
        " SELECT g(x || n), n + 1 FROM r WHERE n < 40) SELECT count(*) FROM r"
    )
    assert ours.con.execute(sql).fetchall() == [(41,)]
    assert ours.calls <= 41


def test_statements_without_models_reach_duckdb_as_they_are() -> None:
    """DuckDB gets the bytes that were typed where no model is called."""
    ours = Ours()
    sql = "SELECT   current_query()  /* kept */"
    assert ours.con.execute(sql).fetchall() == [(sql,)]


@pytest.mark.parametrize(
    "condition",
    [
        "CASE m(s) WHEN 'true' THEN i % 5 = 0 WHEN 'false' THEN true END",
        "NOT CASE m(s) WHEN 'true' THEN true WHEN 'false' THEN false END",
        "m(s) IN ('false', 'neither')",
    ],
)
def test_a_limit_loses_no_row_where_a_chunk_is_asked_twice(condition: str) -> None:
    """DuckDB calls the function for each WHEN, and for each of a short IN."""
    tables = "CREATE TABLE many AS SELECT i, 'row ' || i AS s FROM range(3000) r(i)"
    sql = f"SELECT i FROM many WHERE {condition} LIMIT 4"
    ours, plain = Ours(tables), Plain(tables)
    one, other = ours.run(sql), plain.run(sql)
    plain.close()
    assert one.rows == other.rows
    assert one.calls <= other.calls


@pytest.mark.parametrize(
    ("condition", "items"),
    [
        ("is_yes(s)", "i"),
        ("is_yes(s)", "i, g(s)"),
        ("is_yes(s) AND m(s) = 'true'", "i, g(s)"),
        ("is_yes(s)", "i, is_yes('and ' || s)"),
        ("CASE WHEN m(s) = 'true' THEN true END", "i"),
        ("TRY_CAST(m(s) AS BOOLEAN)", "i"),
        ("m(s) = 'true' AND g(s) < '5' AND m('x' || s) = 'true'", "i"),
        ("m(s) = m('again ' || s)", "i, g(s)"),
    ],
)
def test_limit_ends_early_through_macros_and_case(condition: str, items: str) -> None:
    """A scalar macro, a CASE of one WHEN and a cast reject NULL too; the rows are plain DuckDB's."""
    tables = (
        "CREATE TABLE many AS SELECT i, 'row ' || i AS s FROM range(3000) r(i);"
        "CREATE MACRO is_yes(x) AS m('macro ' || x) = 'true'"
    )
    sql = f"SELECT {items} FROM many WHERE {condition} LIMIT 4"
    ours, plain = Ours(tables), Plain(tables)
    one, other = ours.run(sql), plain.run(sql)
    plain.close()
    assert one.rows == other.rows
    assert one.calls <= 200


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT i FROM t WHERE COALESCE(m(s), 'x') = 'x' LIMIT 3",
        "SELECT i FROM t LEFT JOIN u ON m(u.w) = 'true' WHERE m(t.s) = 'true' LIMIT 3",
        "SELECT is_yes(s) FROM t WHERE m(s) = 'true' LIMIT 3",
        "SELECT i FROM t WHERE CASE WHEN m(s) = 'true' THEN false ELSE true END LIMIT 3",
        "SELECT i FROM t WHERE CASE WHEN m(s) = 'true' THEN true WHEN g(s) = '1' THEN true END LIMIT 3",
        "SELECT i FROM t WHERE CASE WHEN flag THEN true WHEN m(s) = 'x' THEN false END LIMIT 3",
        "SELECT i FROM v WHERE m(s) = 'true' LIMIT 3",
        "SELECT count(*) FROM t WHERE m(s) = 'true' LIMIT 3",
    ],
)
def test_limit_does_not_end_early_without_the_proof(sql: str) -> None:
    """Where NULL may let a row through, or is seen outside WHERE, LIMIT gets ordinary passes."""
    found = plan(sql, frozenset({"m", "g"}), frozenset({"m", "g", "v", "is_yes"}))
    assert found is not None
    assert found.limit is None


@pytest.mark.parametrize("item", ["counted(i)", "more(i)", "twice(i)", "geomean(i + 1)"])
def test_limit_does_not_end_early_where_a_macro_counts(item: str) -> None:
    """An aggregate or an unnest that a macro hides, the user's or DuckDB's, sees every row."""
    tables = (
        "CREATE TABLE many AS SELECT i, 'row ' || i AS s FROM range(300) r(i);"
        "CREATE MACRO counted(x) AS count(x); CREATE MACRO more(x) AS counted(x) + 1;"
        "CREATE MACRO twice(x) AS unnest([x, x])"
    )
    sql = f"SELECT {item} FROM many WHERE m(s) = 'true' LIMIT 1"
    ours, plain = Ours(tables), Plain(tables)
    one, other = ours.run(sql), plain.run(sql)
    plain.close()
    assert one.rows == other.rows


def test_limit_with_options_that_differ_by_row() -> None:
    """Options that differ from row to row fall back to ordinary passes, with plain rows."""
    ours = Ours("CREATE TABLE many AS SELECT i, 'row ' || i AS s FROM range(300) r(i)")
    hits = [i for i in range(300) if zlib.crc32(f"row {i}".encode()) % 3 == 0]
    sql = "SELECT i FROM many WHERE m(s, {'max_tokens': 100 + i}) = 'true' LIMIT 5"
    assert [i for (i,) in ours.con.execute(sql).fetchall()] == hits[:5]


def _is_never_asked(sql: str, never_raises: bool) -> list[dict[str, object]]:
    raise AssertionError(f"DuckDB was asked for a plan of {sql}")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT m(s), g(s) FROM t WHERE k = 3",
        "SELECT g(s) FROM t WHERE k = 3 AND m(g(s)) = 'true'",
        "SELECT i FROM t WHERE k = 3 OR (flag AND m(s) = 'true')",
        "SELECT CASE WHEN m(s) = 'true' THEN g(s) WHEN g(s) = '1' THEN 'x' END FROM t",
        "SELECT t.i FROM t JOIN u ON t.i = u.id WHERE m(t.s) = 'true'",
    ],
)
def test_a_statement_with_one_predicate_is_not_explained(sql: str) -> None:
    """DuckDB's order is asked for only where several models' predicates could have one."""
    models = frozenset({"m", "g"})
    assert plan(sql, models, models, explain=_is_never_asked)


def test_an_outer_join_keeps_its_key() -> None:
    """A model's predicate in ON stands beside the equality that the join hashes on."""
    models = frozenset({"m", "g"})
    found = plan("SELECT i FROM t LEFT JOIN u ON t.i = u.id AND m(u.w) = 'true'", models, models)
    assert found is not None
    assert "ON (((t.i = u.id) AND CASE" in found.text


@pytest.mark.parametrize(
    ("sql", "calls"),
    [
        ("SELECT i, g('w' || i) AS s FROM t WHERE s LIKE '%1%' ORDER BY k, i LIMIT 5", 5),
        ("SELECT i, g('w' || i) AS y FROM t WHERE y IS NOT NULL AND k = 3", 20),
        ("SELECT m(t.s) AS t, i FROM t WHERE t IS NOT NULL AND k = 3", 4),
        ("SELECT y, g(s) AS y FROM (SELECT s, k AS y FROM t) WHERE y = 3", 4),
    ],
)
def test_an_alias_is_a_column_or_what_it_stands_for(ours: Ours, sql: str, calls: int) -> None:
    """Only DuckDB knows which, and is asked; what it stands for waits like any call."""
    assert ours.run(sql).calls == calls


def test_no_data_asks_nothing(con: Any) -> None:
    """DuckDB computes constants while it plans, also where it wants only the types."""
    con.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'")
    con.execute(
        "CREATE TABLE t AS SELECT chat('q') AS a, chat('b ' || i) FROM range(9) r(i) WITH NO DATA"
    )
    assert con.engine.deployments.get("chat").answered == 0
    assert con.execute("SELECT column_name, data_type FROM duckdb_columns()").fetchall()[0] == (
        "a",
        "VARCHAR",
    )
    con.execute("INSERT INTO t SELECT chat('q'), 'b'")
    assert con.execute("SELECT a FROM t").fetchall() == [("q",)]
