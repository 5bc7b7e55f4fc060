"""What happened can be asked in SQL: statements, calls, usage, models, progress."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import duckdb
import pytest

import llmsql
from llmsql.errors import LlmsqlWarning

ECHO = "RUN command AS LLM WHERE pretrainedModelType='debug' AND "


@pytest.fixture
def chat(con: Any) -> Any:
    con.execute(f"{ECHO} udfName='chat' AND price_input='1000000'")
    return con


def all_of(con: Any, sql: str) -> list[tuple[Any, ...]]:
    return con.execute(sql).fetchall()  # type: ignore[no-any-return]


def test_a_statement_is_written_down(chat: Any) -> None:
    """Its kind, how it ended, and what it cost."""
    chat.execute("SELECT chat('a b ' || i % 3) FROM range(9) t(i)")
    rows = all_of(
        chat, "SELECT kind, state, calls, reused, input_tokens, cost FROM llm_statements()"
    )
    assert rows == [("SELECT", "done", 3, 0, 9, 9.0)]


def test_a_statement_that_reaches_no_model_is_not(chat: Any) -> None:
    """Nor one that asks nothing."""
    chat.execute("SELECT 1; SELECT chat(NULL)")
    assert all_of(chat, "FROM llm_statements()") == []


def test_a_statement_is_shown_as_it_was_written(chat):
    chat.execute("SELECT chat('a') DEFAULT 'x' ON ERROR AS a")
    assert all_of(chat, "SELECT text FROM llm_statements()") == [
        ("SELECT chat('…') DEFAULT '…' ON ERROR AS a",)
    ]


def test_texts_stay_out_of_records(chat: Any) -> None:
    """Neither prompts nor what is quoted in a statement, unless switched on."""
    sql = "SELECT chat('my secret')"
    chat.execute(sql)
    chat.execute('!llm setup "record_prompts=true"')
    chat.execute(sql.replace("my", "your"))
    assert all_of(chat, "SELECT text, prompt FROM llm_statements() JOIN llm_calls() USING (statement)") == [
        ("SELECT chat('…')", None),
        ("SELECT chat('your secret')", "your secret"),
    ]  # fmt: skip


def test_an_api_key_is_in_no_record(chat: Any) -> None:
    """A statement that deploys is not recorded at all."""
    with pytest.raises(duckdb.Error):
        chat.execute(
            "RUN command AS LLM WHERE pretrainedModelType='saas/openai' AND udfName='x'"
            " AND saas.base_url='http://127.0.0.1:9' AND saas.api_key='sk-hidden'"
            " AND saas.max_retries='0'"
        )
    everything = [
        str(all_of(chat, f"FROM llm_{name}()"))
        for name in ("statements", "calls", "usage", "models")
    ]
    assert "sk-hidden" not in "".join(everything)


def test_a_call_is_written_down(chat: Any) -> None:
    """Who asked, what it read and wrote, and how it ended."""
    chat.execute("SELECT chat('a b c', {max_tokens: 3})")
    rows = all_of(
        chat,
        "SELECT model, is_reused, input_tokens, output_tokens, finish_reason, error,"
        " length(call_id), length(prompt_hash) FROM llm_calls()",
    )
    assert rows == [("chat", False, 3, 3, "stop", None, 32, 16)]


def test_reuse_is_written_down(chat: Any) -> None:
    """Each statement that an answer serves has a row, computed in the first."""
    for _ in range(2):
        chat.execute("SELECT chat('a')")
    rows = all_of(chat, "SELECT is_reused FROM llm_calls() ORDER BY answered_at")
    assert rows == [(False,), (True,)]
    assert all_of(chat, "SELECT calls, reused FROM llm_usage()") == [(1, 1)]


def test_a_thousand_reuses_of_a_statement_are_written_down(tmp_path: Path) -> None:
    """However many calls share them, and whether memory or the file knew them; all are counted."""
    prompts = "SELECT chat('a ' || i), chat('b ' || i) FROM range(800) t(i)"
    deploy = f"{ECHO} udfName='chat'"
    with llmsql.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute(f"{deploy}; {prompts}; {prompts}")
    with llmsql.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute(f"{deploy}; {prompts}")
        rows = all_of(con, "SELECT count(*) FROM llm_calls() WHERE is_reused GROUP BY statement")
        assert rows == [(1_000,), (1_000,)]
        assert all_of(con, "SELECT reused FROM llm_statements()") == [(0,), (1_600,), (1_600,)]


def test_a_failed_call_has_its_error(con: Any) -> None:
    """Where the warning sends one."""
    con.execute(f"{ECHO} udfName='chat' AND fail_on='row 7'")
    with pytest.warns(LlmsqlWarning, match=r"llm_calls\(\) has them all$"):
        con.execute("SELECT chat('row ' || i) FROM range(10) t(i)")
    sql = "SELECT error, input_tokens, output_tokens, retries FROM llm_calls() WHERE finish_reason = 'error'"
    assert all_of(con, sql) == [("told to fail on 'row 7'", 2, None, 0)]
    assert all_of(con, "SELECT calls, failed FROM llm_usage()") == [(10, 1)]


def test_a_failed_call_costs_the_same_in_every_record(con: Any) -> None:
    """The tokens of its prompt, as the model's tokenizer counts them; a cap may count more."""
    con.execute(f"{ECHO} udfName='chat' AND fail_on='bad' AND price_input='1000000'")
    sql = "EXPLAIN ANALYZE SELECT chat(x) FROM (VALUES ('this is bad'), ('ok')) t(x)"
    with pytest.warns(LlmsqlWarning, match="1 of 2 model calls failed"):
        con.execute(sql)
    for records in ("llm_statements", "llm_usage"):
        assert all_of(con, f"SELECT input_tokens, output_tokens, cost FROM {records}()") == [
            (4, 1, 4.0)
        ]
    assert all_of(con, "SELECT sum(input_tokens) FROM llm_calls()") == [(4,)]
    assert all_of(con, "SELECT tokens_read, spent FROM llm_estimates()") == [(4, 4.0)]


def test_a_failed_call_says_nothing_of_what_the_next_ones_write(con: Any) -> None:
    """Nor is it an answer of no tokens."""
    con.execute(f"{ECHO} udfName='chat' AND fail_on='bad'")
    with pytest.warns(LlmsqlWarning, match="model calls failed"):
        con.execute("SELECT chat(x) FROM (VALUES ('bad'), ('worse bad'), ('one two')) t(x)")
    con.execute("EXPLAIN SELECT chat('next ' || i) FROM range(5) t(i)")
    assert all_of(con, "SELECT output_tokens FROM llm_estimates()") == [(10,)]


def test_what_only_reuses_has_no_tokens_and_not_unknown_ones(tmp_path: Path) -> None:
    """Nothing was asked of the model."""
    with llmsql.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute(f"{ECHO} udfName='chat'; {ECHO} udfName='same'")
        con.execute("SELECT chat('a b'); SELECT same('a b')")
        for records in ("llm_statements", "llm_usage"):
            tokens = all_of(
                con, f"SELECT calls, reused, input_tokens, output_tokens FROM {records}()"
            )
            assert tokens == [(1, 0, 2, 2), (0, 1, 0, 0)]


def test_sites_tell_calls_apart(chat: Any) -> None:
    """As EXPLAIN numbers them."""
    chat.execute("SELECT chat('b ' || i) FROM range(4) t(i) WHERE chat('a ' || i) <> 'a 3'")
    rows = all_of(chat, "SELECT site, count(*) FROM llm_calls() GROUP BY ALL ORDER BY ALL")
    assert rows == [(1, 4), (2, 3)]


def test_a_failed_statement_is_written_down(con: Any) -> None:
    """With its error."""
    con.execute(f"{ECHO} udfName='chat' AND fail_on='row 7'")
    con.execute('!llm setup "on_error=raise"')
    with pytest.raises(duckdb.Error):
        con.execute("SELECT chat('row ' || i) FROM range(10) t(i)")
    rows = all_of(con, "SELECT state, error FROM llm_statements()")
    assert rows == [("failed", "told to fail on '…'")]  # as what is quoted stays out of records


def test_records_join(chat: Any) -> None:
    """Calls to statements, models to usage."""
    chat.execute("SELECT chat('a ' || i) FROM range(3) t(i)")
    sql = """SELECT s.calls, count(*), any_value(m.backend)
        FROM llm_statements() s JOIN llm_calls() c USING (statement)
        JOIN llm_models() m USING (model) JOIN llm_usage() u USING (model) GROUP BY ALL"""
    assert all_of(chat, sql) == [(3, 3, "echo")]


def test_records_are_seen_from_cursors_and_kept_in_the_file(tmp_path: Path) -> None:
    """Whoever opens the database later can ask what it cost."""
    path = str(tmp_path / "a.duckdb")
    with llmsql.connect(path) as con:
        con.execute(f"{ECHO} udfName='chat'")
        con.execute("SELECT chat('a')")
        assert all_of(con.cursor(), "SELECT count(*) FROM llm_calls()") == [(1,)]
    with llmsql.connect(path) as con:
        assert all_of(con, "SELECT model, calls FROM llm_usage()") == [("chat", 1)]


def test_progress_is_seen_from_another_connection(con: Any) -> None:
    """While the statement runs: of how many, and how far."""
    con.execute(f"{ECHO} udfName='chat' AND delay='0.005'")
    other, seen = con.cursor(), []
    started = threading.Event()

    def observe(progress: Any) -> None:
        started.set()

    con.on_progress = observe
    thread = threading.Thread(
        target=con.execute, args=["SELECT chat('a ' || i) FROM range(300) t(i)"]
    )
    thread.start()
    assert started.wait(30)
    seen = all_of(other, "SELECT model, total, done < 300, seconds > 0 FROM llm_progress()")
    thread.join()
    assert seen == [("chat", 300, True, True)]
    assert all_of(other, "FROM llm_progress()") == []


def test_progress_is_told(con: Any) -> None:
    """To a callback: the total is known from the first, and the last one says that it is over."""
    con.execute(f"{ECHO} udfName='chat' AND fail_on='a 77'")
    told: list[Any] = []
    con.on_progress = told.append
    con.execute("SELECT chat('a 1')")
    told.clear()
    with pytest.warns(LlmsqlWarning):
        con.execute("SELECT chat('a ' || i) FROM range(300) t(i)")
    last = told[-1]
    assert {progress.total for progress in told} == {299}
    assert (last.done, last.failed, last.reused, last.is_finished) == (299, 1, 1, True)
    assert last.output_tokens == 2 * 298


def test_an_observer_that_raises_ends_the_statement(con: Any) -> None:
    """As it stands in the statement's way; what was answered is kept."""
    con.execute(f"{ECHO} udfName='chat' AND delay='0.001'")

    def stop(progress: Any) -> None:
        raise RuntimeError("enough")

    con.on_progress = stop
    with pytest.raises(RuntimeError, match="enough"):
        con.execute("SELECT chat('a ' || i) FROM range(300) t(i)")


def test_logs_are_structured_and_quiet(chat: Any, caplog: Any, capfd: Any) -> None:
    """One record a statement, with its numbers as fields; nothing is written by default."""
    caplog.set_level("INFO", "llmsql")
    chat.execute("SELECT chat('a ' || i) FROM range(3) t(i)")
    (record,) = [r for r in caplog.records if hasattr(r, "statement")]
    assert (record.state, record.calls, record.reused, record.failed) == ("done", 3, 0, 0)
    assert capfd.readouterr() == ("", "")


def test_raw_clients_are_recorded_too(chat: Any) -> None:
    """A connection that is none of ours has its calls counted."""
    chat.engine.root.cursor().execute("SELECT chat('a ' || i) FROM range(3) t(i)").fetchall()
    assert all_of(chat, "SELECT calls FROM llm_usage()") == [(3,)]
