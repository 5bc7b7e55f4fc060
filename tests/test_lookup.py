"""Whether DuckDB may know a name is found without listing its functions, and never wrongly denied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from llmsql.runtime import lookup


@pytest.fixture
def plain_con() -> Iterator[Any]:
    """DuckDB alone."""
    with duckdb.connect() as con:
        yield con


@pytest.mark.parametrize(
    "made",
    [
        "CREATE MACRO f(x) AS x",
        "CREATE MACRO f() AS 1",
        "CREATE MACRO f(x) AS TABLE SELECT x",
        "CREATE TEMP MACRO f(x) AS x",
        "CREATE TEMP MACRO f() AS TABLE SELECT 1",
        "CREATE MACRO g(x) AS x; CREATE MACRO f(x) AS g(x); DROP MACRO g",
        "CREATE SCHEMA other; CREATE MACRO other.f(x) AS x",
        "ATTACH ':memory:' AS other; CREATE MACRO other.f(x) AS x",
    ],
)
@pytest.mark.parametrize("name", ["f", "F"])
def test_a_macro_may_be_there(plain_con: Any, made: str, name: str) -> None:
    """Of either kind, in any schema, also one that is broken."""
    plain_con.execute(made)
    assert lookup.may_have(plain_con, ["nothing", name])


@pytest.mark.parametrize("name", ["f", "no(thing", 'quo"ted'])
def test_what_is_no_function_is_none(plain_con: Any, name: str) -> None:
    """Also where a table has that name."""
    plain_con.execute("CREATE TABLE f(i INT)")
    assert not lookup.may_have(plain_con, [name])


def test_a_transaction_lives(plain_con: Any) -> None:
    """An error would end it, so nothing is denied there."""
    plain_con.execute("BEGIN")
    assert lookup.may_have(plain_con, ["nothing"])
    assert plain_con.execute("SELECT 1").fetchall() == [(1,)]


def test_no_function_is_called(plain_con: Any) -> None:
    """Not even one that DuckDB could compute while it plans."""
    asked: list[Any] = []
    plain_con.create_function("f", asked.append, ["DOUBLE"], "DOUBLE")
    assert lookup.may_have(plain_con, ["f"])
    assert asked == []


def test_an_alias_has_nothing_listed(con: Any) -> None:
    """A statement with columns named in its FROM asks for no list of all functions."""
    con.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'")
    seen: list[str] = []

    class Watched:
        def execute(self, sql: str, *given: Any) -> Any:
            seen.append(sql)
            return con._con.execute(sql, *given)

    from llmsql.runtime.definitions import ViewsAndMacros

    sql = "SELECT chat('a' || i) FROM range(3) r(i)"
    assert ViewsAndMacros(Watched(), sql, con.engine.model_names, {}).macros == {}
    assert not [text for text in seen if "duckdb_functions" in text]
