"""What calls a model is found through views and macros, however they are named and written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

import llmsql
from llmsql.errors import CatalogError, GenerationError

UNKNOWN = "told to fail on 'bad'"


@pytest.fixture
def con() -> Iterator[llmsql.Connection]:
    """Two models, the second of which fails for 'bad', and a value that no NULL may replace."""
    with llmsql.connect() as con:
        con.execute(
            "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='n';"
            "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='m' AND fail_on='bad';"
            "CREATE TABLE t AS SELECT 'x' || (i % 3) AS s, i FROM range(10) r(i);"
            "CREATE TABLE u AS SELECT 'bad' AS x"
        )
        yield con


def rows(con: llmsql.Connection, sql: str) -> list[Any]:
    """The rows of *sql*."""
    found: list[Any] = con.execute(sql).fetchall()
    return found


@pytest.mark.parametrize(
    "other",
    [
        "CREATE SCHEMA a; CREATE VIEW a.v AS SELECT s, i, 'q' AS a FROM t",
        "CREATE SCHEMA zz; CREATE VIEW zz.v AS SELECT s, i, 'q' AS a FROM t",
        "ATTACH ':memory:' AS old; CREATE VIEW old.v AS SELECT '' AS s, 1 AS i, 'q' AS a",
    ],
)
def test_of_views_with_one_name_each_is_looked_at(con: llmsql.Connection, other: str) -> None:
    """Only one of them calls a model; both orders in which DuckDB may list them."""
    con.execute("CREATE VIEW v AS SELECT s, i, n(s) AS a FROM t")
    con.execute(other)
    con.execute("SELECT m(s) FROM t").fetchall()
    sql = "SELECT a, m(s) FROM memory.main.v WHERE m(s) = 'x1' LIMIT 2"
    assert rows(con, sql) == [("x1", "x1")] * 2


@pytest.mark.parametrize(
    "made",
    [
        "CREATE MACRO mac(x) AS m(x)",
        "CREATE MACRO mac(x) AS (SELECT m(x))",
        "CREATE VIEW w AS SELECT m('bad') AS a; CREATE MACRO mac(x) AS (SELECT max(a) FROM w)",
    ],
)
@pytest.mark.parametrize("call", ["mac(x)", '"mac"(x)', "mac /* of x */ (x)", "mac -- of x\n (x)"])
def test_an_update_through_a_macro_destroys_nothing(
    con: llmsql.Connection, made: str, call: str
) -> None:
    """A row that fails ends it, as where the model is called by name."""
    con.execute(made)
    with pytest.raises(GenerationError, match=UNKNOWN):
        con.execute(f"UPDATE u SET x = {call}")
    assert rows(con, "FROM u") == [("bad",)]


def test_nor_through_one_with_the_name_of_duckdbs(con: llmsql.Connection) -> None:
    """Whether it is the user's is not looked up before each statement that calls `reverse`."""
    con.execute("CREATE MACRO reverse(x) AS m(x)")
    with pytest.raises(GenerationError, match=UNKNOWN):
        con.execute("UPDATE u SET x = reverse(x)")
    assert rows(con, "FROM u") == [("bad",)]


def test_a_volatile_function_of_the_user_is_called_once(con: llmsql.Connection) -> None:
    """Passes would feed the model other prompts each time."""
    numbers = iter(range(100))
    con.create_function("nxt", lambda i: next(numbers), ["BIGINT"], "BIGINT", side_effects=True)
    assert len(rows(con, "SELECT n(nxt(i)::VARCHAR) FROM t")) == 10
    assert next(numbers) == 10


@pytest.mark.parametrize("head", ["/* c */ CREATE MACRO", "-- c\nCREATE OR REPLACE /* c */ MACRO"])
def test_a_comment_hides_no_macro_that_would_be_shadowed(con: llmsql.Connection, head: str) -> None:
    """It would never be reached."""
    with pytest.raises(CatalogError, match='"m" is the function of a model'):
        con.execute(f"{head} m(x) AS 'mine'")


def test_what_stands_in_all_alternatives_keeps_the_name_of_a_column(con: llmsql.Connection) -> None:
    """It is asked first, and once; the column is named as it was written."""
    sql = "SELECT (m(s) = 'x1' AND i > 1) OR (n(s) = 'x2' AND i > 1) FROM t"
    con.execute(f"CREATE TABLE z AS {sql}")
    name = "(((m(s) = 'x1') AND (i > 1)) OR ((n(s) = 'x2') AND (i > 1)))"
    assert rows(con, "DESCRIBE z")[0][0] == name


@pytest.mark.parametrize(
    "drop",
    [
        "DROP FUNCTION m",
        "DROP MACRO IF EXISTS main.m CASCADE",
        "/* c */ drop macro M",
        "DROP FUNCTION llm_generate",
    ],
)
def test_the_function_of_a_model_is_not_dropped(con: llmsql.Connection, drop: str) -> None:
    """Its calls would go on, past caps and records."""
    with pytest.raises(CatalogError, match='" is the function of a model\n  !llm model remove '):
        con.execute(drop)


def test_nor_is_a_macro_elsewhere_refused(con: llmsql.Connection) -> None:
    """One of the same name in another database or schema is its owner's."""
    con.execute("ATTACH ':memory:' AS o; CREATE SCHEMA s")
    duckdb.DuckDBPyConnection.execute(con._session.con, "CREATE MACRO o.main.m(x) AS x")
    con.execute("DROP MACRO o.main.m")
    with pytest.raises(duckdb.CatalogException, match="does not exist"):
        con.execute("DROP MACRO s.m")


def test_a_macro_of_the_users_is_dropped(con: llmsql.Connection) -> None:
    """Also one that calls a model."""
    con.execute("CREATE MACRO mac(x) AS m(x); DROP MACRO mac")
    with pytest.raises(duckdb.CatalogException):
        con.execute("SELECT mac('a')")


def test_an_index_cannot_ask_models(con: llmsql.Connection) -> None:
    """DuckDB 1.5 would make one, and then refuse each write."""
    with pytest.raises(CatalogError, match="^an index cannot ask models"):
        con.execute("CREATE UNIQUE INDEX ix ON t (m(s))")
    con.execute("CREATE INDEX ix ON t (s)")


def test_a_removed_model_is_said_without_a_stack(con: llmsql.Connection) -> None:
    """Whatever DuckDB puts around what a function raised."""
    con.execute("!llm model remove m")
    with pytest.raises(CatalogError) as said:
        con.execute("SELECT m('x')")
    assert str(said.value) == 'there is no model "m"\n  !llm model list shows them'
