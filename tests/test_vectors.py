"""DuckDB's distances of lists, which fail on a vector that is NULL, cost what those of arrays do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import llmsql

ECHO = "RUN command AS LLM WHERE pretrainedModelType='debug' AND"


@pytest.fixture
def con() -> Iterator[Any]:
    """5,000 texts, an embedding model that counts its sets, and a chat model."""
    with llmsql.connect() as con:
        con.execute(f"{ECHO} udfName='emb' AND kind='emb'; {ECHO} udfName='chat'")
        con.execute("CREATE TABLE t AS SELECT i, 'row ' || i AS s FROM range(5000) r(i)")
        model = con.engine.deployments.get("emb").model
        con.sets, embed = [], model.embed

        def counted(texts: Any) -> Any:
            con.sets.append(len(texts))
            return embed(texts)

        model.embed = counted
        yield con


def both(con: Any, sql: str) -> list[tuple[Any, list[int], int]]:
    """Rows, sets and calls of *sql* with either distance, each with nothing known before."""
    found = []
    for distance in ("{} <=> {}", "array_cosine_distance({}, {})"):
        for deployment in con.engine.deployments:
            deployment.forget()
        con.sets.clear()
        rows = con.execute(sql.format(distance.format("emb(s)", "emb('q')"))).fetchall()
        ((calls,),) = con.execute(
            "SELECT calls FROM llm_statements() ORDER BY statement DESC LIMIT 1"
        ).fetchall()
        found.append(([row[0] for row in rows], sorted(con.sets), calls))
    return found


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT s FROM t ORDER BY {}, s LIMIT 3",
        "SELECT s FROM t WHERE {} < 0.2 ORDER BY s",
        "SELECT chat(s) FROM t WHERE {} < 0.2 ORDER BY s",
        "SELECT count(*) FROM t WHERE {} < 0.2 AND chat(s) LIKE '%7'",
        "SELECT count(*) FROM t WHERE i % 2 = 0 AND {} IS NOT NULL",
    ],
)
def test_a_distance_of_lists_is_asked_in_one_set(con: Any, sql: str) -> None:
    """The rows and calls are those of arrays; the texts go to the model together."""
    lists, arrays = both(con, sql)
    assert lists[0] == arrays[0]
    assert lists[2] == arrays[2]
    assert len(lists[1]) <= 2


def test_a_text_that_is_null_fails_as_in_duckdb(con: Any) -> None:
    """What fails once all is known is an error of the statement."""
    with pytest.raises(Exception, match="can not contain NULL values"):
        con.execute("SELECT emb(nullif(s, 'row 7')) <=> emb('q') FROM t")
