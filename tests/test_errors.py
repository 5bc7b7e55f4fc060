"""Rows that fail, statements that fail, and what both leave behind."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import duckdb
import pytest

import llmsql
from llmsql.backends import echo
from llmsql.errors import BackendError, CatalogError, GenerationError, LlmsqlWarning
from tests.oracle import Ours

DEPLOY = "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat' AND {}"


@pytest.fixture
def table(con: Any) -> Any:
    con.execute("CREATE TABLE t AS SELECT i, 'row ' || i AS s FROM range(100) r(i)")
    return con


@pytest.mark.parametrize("option", ["fail_on='row 42'", "break_on='row 42'"])
def test_a_failing_row_is_null_with_one_warning(table: Any, option: str) -> None:
    """A row that fails, or breaks its batch, is NULL; its neighbours keep their answers."""
    table.execute(DEPLOY.format(option))
    with pytest.warns(LlmsqlWarning) as caught:
        rows = table.execute("SELECT i FROM t WHERE chat(s) IS NULL").fetchall()
    assert rows == [(42,)]
    (warning,) = caught
    assert str(warning.message).startswith("1 of 100 model calls failed and gave NULL; the first: ")
    assert "row 42" in str(warning.message)


def test_a_failure_is_not_remembered(table: Any) -> None:
    """The next statement asks a failed row again."""
    table.execute(DEPLOY.format("fail_on='row 42'"))
    model = table.engine.deployments.get("chat").model
    with pytest.warns(LlmsqlWarning):
        table.execute("SELECT count(chat(s)) FROM t")
    model.options = echo.Options()
    assert table.execute("SELECT count(chat(s)) FROM t").fetchall() == [(100,)]


def test_on_error_raise_stops_at_the_first(table: Any) -> None:
    """With on_error=raise the statement fails with the row's own error."""
    table.execute(DEPLOY.format("fail_on='row 42'"))
    table.execute('!llm setup "on_error=raise"')
    with pytest.raises(GenerationError, match="^told to fail on 'row 42'\n37 answers are kept, .*"):
        table.execute("SELECT chat(s) FROM t")
    assert table.execute("SELECT chat(s) FROM t WHERE i = 1").fetchall() == [("row 1",)]


@pytest.mark.parametrize(
    "write",
    [
        "UPDATE t SET s = chat(s)",
        "MERGE INTO t USING t AS n ON t.i = n.i WHEN MATCHED THEN UPDATE SET s = chat(n.s)",
    ],
)
def test_a_failing_row_stops_what_would_destroy_a_value(table: Any, write: str) -> None:
    """UPDATE and MERGE raise by default, and change nothing."""
    table.execute(DEPLOY.format("fail_on='row 42'"))
    before = table.execute("FROM t ORDER BY i").fetchall()
    with pytest.raises(GenerationError, match="told to fail on 'row 42'"):
        table.execute(write)
    assert table.execute("FROM t ORDER BY i").fetchall() == before


def test_a_model_that_always_breaks_stops_early() -> None:
    """When every row alone fails, the statement says so after a few, with the cause."""
    ours = Ours("CREATE TABLE t AS SELECT 'x' || i AS s FROM range(1000) r(i)")
    asked = []

    class Broken(echo.Model):
        def generate(self, prompts: Any) -> Any:
            asked.append(len(prompts))
            raise RuntimeError("no luck")

    ours.con.engine.deployments.get("m").model = Broken("chat", echo.Options())
    with pytest.raises(BackendError, match="^the model fails on every row: no luck$") as raised:
        ours.con.execute("SELECT m(s) FROM t")
    assert isinstance(raised.value.__cause__, RuntimeError)
    assert len(asked) < 40


def test_a_model_that_forgets_a_row_fails_that_row() -> None:
    """A result that never came is a failed row, not another row's answer."""
    ours = Ours("CREATE TABLE t AS SELECT 'x' || i AS s FROM range(10) r(i)")

    class Forgetful(echo.Model):
        def generate(self, prompts: Any) -> Any:
            yield from (item for item in super().generate(prompts) if item[0] != 3)

    ours.con.engine.deployments.get("m").model = Forgetful("chat", echo.Options())
    with pytest.warns(
        LlmsqlWarning, match="1 of 10 model calls failed .* the model gave no answer"
    ):
        rows = ours.con.execute("SELECT s, m(s) FROM t").fetchall()
    assert [s for s, y in rows if y is None] == ["x3"]
    assert all(y in (None, s) for s, y in rows)


def test_failures_in_a_streamed_statement_warn_too(table: Any) -> None:
    """A statement that resolves on the spot counts its failures like any other."""
    table.execute(DEPLOY.format("fail_on='row 42'"))
    with pytest.warns(LlmsqlWarning, match="1 of 100 model calls failed"):
        rows = table.execute("SELECT i FROM t WHERE random() < 2 AND chat(s) IS NULL").fetchall()
    assert rows == [(42,)]


def test_an_error_inside_a_function_keeps_its_type(table: Any) -> None:
    """What a function raised comes out as it was, not as DuckDB's text."""
    table.execute(DEPLOY.format("delay='0'"))
    for sql in ("SELECT chat(s, {'nope': 1}) FROM t", "SELECT chat(s, {'nope': random()}) FROM t"):
        with pytest.raises(llmsql.OptionError, match='model "chat" has no option "nope"'):
            table.execute(sql).fetchall()


def test_two_deploys_of_one_name_at_once(con: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two deploys in flight is refused, the first goes on."""
    started, go = threading.Event(), threading.Event()
    load = echo.Backend.load

    def slow(self: Any, spec: Any) -> Any:
        started.set()
        go.wait(10)
        return load(self, spec)

    monkeypatch.setattr(echo.Backend, "load", slow)
    other = con.cursor()
    thread = threading.Thread(target=other.execute, args=(DEPLOY.format("delay='0'"),))
    thread.start()
    started.wait(10)
    with pytest.raises(
        CatalogError, match='^a model named "chat" is being deployed right now\n  wait for it'
    ):
        con.execute(DEPLOY.format("delay='0'"))
    go.set()
    thread.join()
    assert con.execute("SELECT chat('a')").fetchall() == [("a",)]


def test_running_out_of_memory_while_loading_leaves_the_old_model(
    con: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that is not there while loading is an error; the model before goes on serving."""
    con.execute(DEPLOY.format("delay='0'"))

    def greedy(self: Any, spec: Any) -> Any:
        return bytearray(1 << 62)

    monkeypatch.setattr(echo.Backend, "load", greedy)
    with pytest.raises(BackendError, match='^no memory left to load model "chat"'):
        con.execute(DEPLOY.format("delay='0'"))
    assert con.execute("SELECT chat('old')").fetchall() == [("old",)]


def test_an_unsettled_error_leaves_no_transaction_open(table: Any) -> None:
    """After any error the connection is in no transaction, and answers."""
    table.execute(DEPLOY.format("delay='0'"))
    for sql in (
        "SELECT error(chat(s)) FROM t",
        "SELECT chat(nope) FROM t",
        "INSERT INTO t SELECT chat(s) FROM t",
    ):
        with pytest.raises(llmsql.Error):
            table.execute(sql).fetchall()
        table.execute("BEGIN")
        assert table.execute("SELECT chat('x')").fetchall() == [("x",)]
        table.execute("COMMIT")


def test_no_warning_when_nothing_is_wrong(table: Any) -> None:
    """A statement without failures and cuts says nothing."""
    table.execute(DEPLOY.format("delay='0'"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table.execute("SELECT count(chat(s)) FROM t")


def test_a_library_macro_without_a_model_says_so(con: Any) -> None:
    """The error is the function's own, also through a macro, and when nothing is deployed."""
    for sql in ("SELECT ai_sentiment('x')", "SELECT llm_generate('x')", "SELECT ai_embed('x')"):
        with pytest.raises(CatalogError, match="^no (chat|emb) model is deployed"):
            con.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("remote", "No model is deployed: RUN command AS LLM WHERE localModelDir='…' AND udfName="),
        ("lowr", 'Did you mean "lower"?'),
    ],
)
def test_a_function_that_nobody_has_may_be_a_model(missing: str, said: str) -> None:
    """Without models, a name that is near none of DuckDB's is one that was never deployed."""
    with llmsql.connect() as empty, pytest.raises(duckdb.CatalogException) as caught:
        empty.execute(f"SELECT {missing}('x')")
    assert str(caught.value).split("\n")[1].startswith(said)


def test_a_null_option_keeps_the_deployments_default(table: Any) -> None:
    """A NULL option leaves what the deployment was given with `generation.`."""
    table.execute(DEPLOY.format("generation.max_tokens='1'"))
    with pytest.warns(LlmsqlWarning, match="answers were cut"):
        rows = table.execute("SELECT chat('a b c', {'max_tokens': NULL}), chat('a b c')").fetchall()
    assert rows == [("a", "a")]


def test_a_failing_row_of_a_write_is_said_once(
    table: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A write tells of its failed rows in one warning, and logs nothing beside it."""
    table.execute(DEPLOY.format("fail_on='row 42'"))
    with pytest.warns(LlmsqlWarning) as caught:
        table.execute("CREATE TABLE made AS SELECT chat(s) AS y FROM t")
    assert len(caught) == 1
    assert caplog.records == []


def test_a_long_word_is_looked_at_once(con: Any) -> None:
    """A text of 200,000 characters without a blank is no reason to wait once a model is there."""
    con.execute(DEPLOY.format("delay='0'"))
    text = "x" * 200_000
    assert con.execute(f"SELECT length('{text}')").fetchall() == [(200_000,)]


def test_a_name_with_a_number_is_no_obstacle(con: Any) -> None:
    """A model whose function returns another type finds a name, whatever others are called."""
    deploy = "RUN command AS LLM WHERE pretrainedModelType='debug' AND kind='emb'"
    con.execute(f"{deploy} AND udfName='emb__2'")
    con.execute(f"{deploy} AND udfName='emb'")
    con.execute(f"{deploy} AND udfName='emb' AND dimension='16'")
    assert con.execute("SELECT len(emb('a')), len(emb__2('a'))").fetchall() == [(16, 8)]
