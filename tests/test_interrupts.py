"""Ctrl-C and interrupt(), and models that fail, where rows are fetched or a pass has just begun."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import llmsql
from llmsql.errors import GenerationError, LlmsqlWarning, StatementError
from llmsql.runtime import deployments
from llmsql.runtime.interrupts import roll_back

SLOW = "(SELECT count(*) FROM range(20000000000) r(i) WHERE i * i % 7 = 8)"
STREAMED = (
    "SELECT m('x' || (CASE WHEN i < 200000 THEN 0 ELSE i END)), random() FROM range(200800) r(i)"
)


@pytest.fixture
def con() -> Iterator[llmsql.Connection]:
    """A model that takes its time."""
    with llmsql.connect() as con:
        con.execute(
            "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='m' AND delay='0.01'"
        )
        con.execute("SET threads=4")
        yield con


def states(con: llmsql.Connection) -> list[Any]:
    """How the statements so far ended."""
    found: list[Any] = con.execute("SELECT state FROM llm_statements()").fetchall()
    return [state for (state,) in found]


@pytest.mark.parametrize("head", ["", "EXPLAIN ANALYZE "])
def test_an_interrupted_pass_is_not_run_again(con: llmsql.Connection, head: str) -> None:
    """All was known: the statement ended with what DuckDB alone had to do."""
    con.execute("SELECT m('a')").fetchall()
    threading.Timer(0.5, con.interrupt).start()
    started = time.monotonic()
    with pytest.raises(duckdb.InterruptException):
        con.execute(f"{head}SELECT m(s), {SLOW} FROM (SELECT 'a' AS s)").fetchall()
    assert time.monotonic() - started < 20  # a second run would take minutes


@pytest.mark.parametrize("error", [TimeoutError, ZeroDivisionError])
def test_a_signal_of_the_users_ends_the_statement(
    con: llmsql.Connection, error: type[Exception]
) -> None:
    """Whatever its handler raises; an alarm raises TimeoutError, as a future does."""

    def ring(*_: Any) -> None:
        raise error("too long")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(error, match="too long"):
            con.execute("SELECT m('x' || i) FROM range(2000) r(i)").fetchall()
    finally:
        signal.signal(signal.SIGALRM, before)
    ((asked,),) = con.execute("SELECT count(*) FROM llm_calls()").fetchall()
    assert asked < 2000


def test_ctrl_c_while_rows_are_fetched_ends_the_statement(con: llmsql.Connection) -> None:
    """It is one, whatever DuckDB calls it, and no model is asked any more."""
    pending = con.execute(STREAMED)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        pending.fetchall()
    model = con.engine.deployments.get("m")
    time.sleep(0.5)  # a thread that waits looks up five times a second
    answered = model.answered
    time.sleep(0.3)
    assert model.answered == answered
    assert states(con) == ["interrupted"]


def test_what_fails_while_rows_are_fetched_has_failed(con: llmsql.Connection) -> None:
    """The record of the statement says so, and why."""
    con.execute(
        "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='m' AND fail_on='x400000';"
        '!llm setup "on_error=raise"'
    )
    pending = con.execute(
        "SELECT m('x' || (i // 100000 * 100000)), random() FROM range(500000) r(i)"
    )
    with pytest.raises(GenerationError):
        while pending.fetchmany(2048):
            pass
    assert states(con) == ["failed"]


def test_a_fetch_that_is_none_ends_nothing(con: llmsql.Connection) -> None:
    """The rows of the statement are still to be had."""
    pending = con.execute("SELECT m('a'), random() < 2")
    with pytest.raises(TypeError):
        pending.fetchmany("many")
    assert pending.fetchall() == [("a", True)]
    assert states(con) == ["done"]


def test_who_is_told_may_not_fetch(con: llmsql.Connection) -> None:
    """DuckDB's thread would wait for the one that waits for it."""
    said: list[str] = []

    def told(progress: Any) -> None:
        for use in (con.fetchall, con.close):
            try:
                use()
            except StatementError as error:
                said.append(str(error))

    con.on_progress = told
    con.execute("SELECT m('x' || i), random() FROM range(60) r(i)").fetchall()
    con.on_progress = None
    con.execute("SELECT 1")
    assert said and set(said) == {
        "this connection runs the statement that it tells of\n"
        "  con.cursor() makes another one, to be used meanwhile"
    }


def test_a_warning_that_is_an_error_closes_all_the_same(tmp_path: Path) -> None:
    """Another process can open the file."""
    path = str(tmp_path / "shop.duckdb")
    con = llmsql.connect(path)
    con.execute(
        "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='m' AND fail_on='1'"
    )
    con.execute("SELECT m(i::VARCHAR), random() FROM range(5) r(i)")
    with warnings.catch_warnings():
        warnings.simplefilter("error", LlmsqlWarning)
        with pytest.raises(LlmsqlWarning):
            con.close()
    with duckdb.connect(path, config={"threads": 1}):  # other settings: not while it is open
        pass


def test_answers_that_memory_forgets_meanwhile_are_asked_again(
    con: llmsql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row is NULL for it."""
    deployment = con.engine.deployments.get("m")
    con.execute("SELECT m('x0')").fetchall()
    asked = deployment.look_again
    left = iter([deployment.forget])
    monkeypatch.setattr(deployment, "look_again", lambda: (asked(), next(left, lambda: None)()))
    found = con.execute("SELECT m('x' || i), random() < 2 FROM range(3) r(i)").fetchall()
    assert [text for text, _ in found] == ["x0", "x1", "x2"]


def test_another_statement_forgets_nothing_that_is_being_asked(
    con: llmsql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is swept between statements only."""
    monkeypatch.setattr(deployments, "MAX_ANSWERS", 10)
    deployment = con.engine.deployments.get("m")
    con.execute("SELECT m('y' || i) FROM range(10) r(i)").fetchall()
    with deployment.turn:
        deployment.answers(None)
        other = threading.Thread(target=con.cursor().execute, args=("SELECT 1",))
        other.start()
        other.join()
        assert deployment.known == 10


def test_in_the_users_transaction_no_rows_are_left_behind(con: llmsql.Connection) -> None:
    """Also where the statement has failed."""
    con.execute('!llm setup "max_calls=1"; BEGIN')
    with pytest.raises(llmsql.LlmsqlError):
        con.execute("SELECT m('x' || i) FROM range(5) r(i)")
    con.execute("COMMIT; SELECT 1")
    tables = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'llmsql_result%'"
    )
    assert tables.fetchall() == []


def test_a_rollback_that_is_interrupted_is_made_again() -> None:
    """Ctrl-C comes as a signal and from a thread; nobody is left in a transaction of ours."""

    class Pressed:
        """A connection on which Ctrl-C is pressed twice more."""

        def __init__(self) -> None:
            self.con = duckdb.connect()
            self.left = [duckdb.InterruptException("Interrupted!"), KeyboardInterrupt()]

        def execute(self, sql: str) -> None:
            if self.left:
                raise self.left.pop()
            self.con.execute(sql)

    pressed = Pressed()
    pressed.con.execute("BEGIN TRANSACTION")
    roll_back(pressed)
    with pytest.raises(duckdb.TransactionException, match="no transaction is active"):
        pressed.con.execute("ROLLBACK")
