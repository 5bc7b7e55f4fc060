"""Nothing is paid twice: what was answered is found again, by whoever runs the statement next."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import llmsql
from llmsql.errors import LimitError, LlmsqlWarning
from tests.journals import ECHO, asked, deployed, opened
from tests.killing import ROWS, kill_and_go_on

KILLS = 12
TEN = "SELECT chat('row ' || i) FROM range(10) t(i)"


def test_another_process_asks_nothing_again(database: str, journal: Path) -> None:
    """The model is the same, and so are the texts."""
    for _ in range(2):
        with opened(database, deployed(journal)) as con:
            rows = con.execute(TEN).fetchall()
    assert rows == [(f"row {i}",) for i in range(10)]
    assert len(asked(journal)) == 10


@pytest.mark.parametrize("kind", ["chat", "emb", "rerank"])
def test_answers_of_every_kind_are_kept(database: str, journal: Path, kind: str) -> None:
    """Texts, vectors and scores come back as they were."""
    call = "chat('a b', 'b c')" if kind == "rerank" else "chat('a b')"
    found = []
    for _ in range(2):
        with opened(database, deployed(journal, f" AND kind='{kind}'")) as con:
            found += con.execute(f"SELECT {call}").fetchall()
    assert found[0] == found[1]
    assert len(asked(journal)) == 1


def test_requests_are_kept_too(database: str, journal: Path) -> None:
    """An answer to a JSON request is the one that was given, its id included."""
    found = []
    for _ in range(2):
        with opened(database, deployed(journal)) as con:
            found += con.execute("SELECT chat(llm_param({'instruction': 'Hello'}))").fetchall()
    assert found[0] == found[1]
    assert len(asked(journal)) == 1


def test_a_remembered_model_is_not_loaded_for_what_is_known(database: str, journal: Path) -> None:
    """The second process needs no RUN and no model."""
    with opened(database, deployed(journal)) as con:
        con.execute(TEN)
    with opened(database) as con:
        assert con.execute(TEN).fetchall() == [(f"row {i}",) for i in range(10)]
        assert con.execute("SELECT is_loaded FROM llm_models()").fetchall() == [(False,)]


def test_a_database_in_memory_keeps_nothing(journal: Path, tmp_path: Path) -> None:
    """Unless it is told where."""
    for _ in range(2):
        with opened(":memory:", deployed(journal)) as con:
            con.execute(TEN)
    assert len(asked(journal)) == 20
    for _ in range(2):
        with opened(":memory:", f'!llm setup "cache={tmp_path}/kept"', deployed(journal)) as con:
            con.execute(TEN)
    assert len(asked(journal)) == 30


def test_no_file_is_made_before_a_model_is_asked(database: str) -> None:
    """A database that calls no model has no second file."""
    with opened(database, "CREATE TABLE t AS SELECT 1"):
        pass
    assert not Path(database + ".llmsql").exists()


@pytest.mark.parametrize(
    "off",
    ['!llm setup "cache=off"', '!llm setup next "cache=off"'],
    ids=["connection", "statement"],
)
def test_the_cache_is_switched_off(database: str, journal: Path, off: str) -> None:
    """For a connection, or for one statement."""
    with opened(database, deployed(journal), off, TEN):
        pass
    with opened(database, deployed(journal), TEN):
        pass
    assert len(asked(journal)) == 20


def test_what_was_asked_without_the_cache_is_written_down(database: str, journal: Path) -> None:
    """Who turns the cache off and on again sees all that was spent, in each state."""
    seen = "SELECT (SELECT sum(calls) FROM llm_usage()), (SELECT count(*) FROM llm_statements())"
    with opened(database, deployed(journal), '!llm setup "cache=off"', TEN) as con:
        assert con.execute(seen).fetchall() == [(10, 1)]
        con.execute('!llm setup "cache=on"')
        con.execute(TEN.replace("row", "line")).fetchall()
        assert con.execute(seen).fetchall() == [(20, 2)]
    with opened(database) as con:
        assert con.execute(seen).fetchall() == [(20, 2)]


@pytest.mark.parametrize("kind", ["chat", "emb", "rerank"])
def test_an_answer_is_kept_by_the_statement_that_reuses_it(
    database: str, journal: Path, kind: str
) -> None:
    """The one that computed it was told to keep none; this one is not."""
    second = ", 'x'" if kind == "rerank" else ""
    ask = f"SELECT chat('row ' || i{second}) FROM range(10) t(i)"
    deploy = deployed(journal, f" AND kind='{kind}'")
    with opened(database, deploy, '!llm setup next "cache=off"', ask) as con:
        con.execute(ask.replace("10", "6")).fetchall()
    with opened(database, deploy, ask) as con:
        assert con.execute("SELECT calls, reused FROM llm_statements()").fetchall()[-1] == (4, 6)
    assert len(asked(journal)) == 14


def test_such_an_answer_is_kept_with_its_tokens(database: str, journal: Path) -> None:
    """As they were counted when it was computed, for the records of those who reuse it."""
    deploy, ask = deployed(journal), "SELECT chat('row ' || i) FROM range(3) t(i)"
    with opened(database, deploy, '!llm setup next "cache=off"', ask) as con:
        con.execute(ask).fetchall()
    with opened(database, deploy, ask) as con:
        sql = "SELECT input_tokens, output_tokens FROM llm_calls() ORDER BY answered_at DESC"
        assert con.execute(f"{sql} LIMIT 3").fetchall() == [(2, 2)] * 3
    assert len(asked(journal)) == 3


def test_a_deployment_keeps_nothing(database: str, journal: Path) -> None:
    """With cache='false'."""
    for _ in range(2):
        with opened(database, deployed(journal, " AND cache='false'"), TEN):
            pass
    assert len(asked(journal)) == 20


@pytest.mark.parametrize(
    "other",
    [
        "SELECT chat('row ' || i, {max_tokens: 1}) FROM range(10) t(i)",
        "SELECT chat('row ' || i, {system: 'Be brief.'}) FROM range(10) t(i)",
        "SELECT chat('row ' || i, {temperature: 1, seed: 1}) FROM range(10) t(i)",
    ],
)
def test_other_options_are_other_answers(database: str, journal: Path, other: str) -> None:
    """What decides an answer is in its key."""
    with opened(database, deployed(journal), TEN):
        pass
    with opened(database, deployed(journal)) as con:
        if "max_tokens" in other:
            with pytest.warns(LlmsqlWarning, match="cut at max_tokens"):
                con.execute(other)
        else:
            con.execute(other)
    assert len(asked(journal)) == 20


def test_an_answer_that_was_cut_is_warned_of_again(database: str, journal: Path) -> None:
    """Also by a process that only finds it."""
    for _ in range(2):
        with opened(database, deployed(journal)) as con, pytest.warns(LlmsqlWarning) as said:
            con.execute("SELECT chat('row ' || i, {max_tokens: 1}) FROM range(10) t(i)")
        assert str(said[0].message).startswith("10 of 10 answers were cut at max_tokens")
    assert len(asked(journal)) == 10


def test_another_model_gives_other_answers(database: str, journal: Path) -> None:
    """The name is the same, the model is not."""
    for dimension in (4, 8):
        deploy = deployed(journal, f" AND kind='emb' AND dimension='{dimension}'")
        with opened(database, deploy) as con:
            ((vector,),) = con.execute("SELECT chat('a')").fetchall()
            assert len(vector) == dimension
    assert len(asked(journal)) == 2


def test_another_name_finds_the_same_answers(database: str, journal: Path) -> None:
    """A model is what it is, not what it is called."""
    with opened(database, deployed(journal), TEN):
        pass
    with opened(database, deployed(journal).replace("'chat'", "'talk'")) as con:
        con.execute(TEN.replace("chat", "talk"))
    assert len(asked(journal)) == 10


def test_failures_are_not_kept(database: str, journal: Path) -> None:
    """A row that failed is asked again."""
    with (
        opened(database, deployed(journal, " AND fail_on='row 7'")) as con,
        pytest.warns(LlmsqlWarning),
    ):
        con.execute(TEN)
    with opened(database, deployed(journal)) as con:
        assert (("row 7",)) in con.execute(TEN).fetchall()
    assert Counter(asked(journal)) == {f'"row {i}"': 1 + (i == 7) for i in range(10)}


SAMPLED = "SELECT chat('row ' || i, {temperature: 1}) FROM range(10) t(i)"


def test_sampled_answers_are_drawn_anew(database: str, journal: Path) -> None:
    """A statement that has finished leaves none behind."""
    with opened(database, deployed(journal), SAMPLED, SAMPLED):
        pass
    with opened(database, deployed(journal), SAMPLED):
        pass
    assert len(asked(journal)) == 30


def test_sampled_answers_of_a_statement_that_did_not_finish_serve_it_again(
    database: str, journal: Path
) -> None:
    """The same text on the same database goes on, another one draws its own."""
    slow = deployed(journal, " AND delay='0.1'")
    with opened(database, slow, '!llm setup "max_seconds=0.5"') as con, pytest.raises(LimitError):
        con.execute(SAMPLED)
    done = len(asked(journal))
    assert 0 < done < 10
    with opened(database, deployed(journal), SAMPLED):
        pass
    assert len(asked(journal)) == 10
    with opened(database, deployed(journal), SAMPLED + " "):
        pass
    assert len(asked(journal)) == 20


def test_a_capped_statement_goes_on(database: str, journal: Path) -> None:
    """What was answered before the cap is not asked again."""
    slow = deployed(journal, " AND delay='0.1'")
    with opened(database, slow) as con:
        con.execute('!llm setup next "max_seconds=0.5"')
        with pytest.raises(LimitError) as caught:
            con.execute(TEN)
        (note,) = caught.value.__notes__
        assert note.endswith(" kept: run again, the statement goes on")
    with opened(database, slow) as con:
        assert con.execute(TEN).fetchall() == [(f"row {i}",) for i in range(10)]
    assert len(asked(journal)) == 10


def test_a_write_that_failed_left_nothing_and_goes_on(database: str, journal: Path) -> None:
    """The table is made as a whole, or not at all."""
    slow = deployed(journal, " AND delay='0.1'")
    write = f"CREATE TABLE u AS {TEN}"
    with opened(database, slow, '!llm setup next "max_seconds=0.5"') as con:
        with pytest.raises(LimitError):
            con.execute(write)
        assert con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'u'").fetchall() == [(0,)]  # fmt: skip
        con.execute(write)
        assert con.execute("SELECT count(*) FROM u").fetchall() == [(10,)]
    assert len(asked(journal)) == 10


def test_cache_statements(database: str, journal: Path, tmp_path: Path) -> None:
    """What is kept is shown, exported and cleared."""
    with opened(database, deployed(journal), TEN) as con:
        ((model, answers, size, _, path),) = con.execute("!llm cache stat").fetchall()
        assert (model, answers, size > 100, path) == ("chat", 10, True, database + ".llmsql")
        target = tmp_path / "answers.csv"
        assert con.execute(f"!llm cache export '{target}'").fetchall() == [(str(target), 10)]
        rows = con.execute(f"SELECT answer FROM '{target}' ORDER BY ALL").fetchall()
        assert rows == [(f"row {i}",) for i in range(10)]
        assert con.execute("!llm cache clear chat").fetchall() == [(10,)]
        con.execute(TEN)
    assert len(asked(journal)) == 20


def test_a_read_only_database_reads_what_is_kept(database: str, journal: Path) -> None:
    """And adds nothing to it."""
    with opened(database, deployed(journal), TEN):
        pass
    before = Path(database + ".llmsql").read_bytes()
    with llmsql.connect(database, read_only=True) as con:
        con.execute(deployed(journal))
        con.execute(TEN)
        with pytest.warns(
            LlmsqlWarning, match="opened read-only: kept answers are reused, none are added"
        ):
            con.execute("SELECT chat('another')")
    assert len(asked(journal)) == 11
    assert Path(database + ".llmsql").read_bytes() == before


@pytest.mark.parametrize("name", ["notes.txt", "photos", "shop.duckdb"])
def test_a_file_that_is_no_store_is_left_alone(
    tmp_path: Path, database: str, journal: Path, name: str
) -> None:
    """A text, a folder, the database itself: whatever `cache` names by mistake stays."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    (tmp_path / "notes.txt").write_text("mine")
    with opened(database, deployed(journal), f'!llm setup "cache={tmp_path}/{name}"') as con:
        con.execute("CREATE TABLE t AS SELECT 1")
        with pytest.warns(LlmsqlWarning, match="is left alone"):
            assert len(con.execute(TEN).fetchall()) == 10
        assert len(con.execute("FROM llm_statements()").fetchall()) == 1
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "photos" / "cat.png").read_bytes() == b"cat"
    with opened(database) as con:
        assert con.execute("SELECT count(*) FROM t").fetchall() == [(1,)]


def test_a_relative_cache_stays_where_it_was_named(
    tmp_path: Path, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the process goes afterwards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with opened(":memory:", deployed(journal), '!llm setup "cache=kept"', TEN) as con:
        monkeypatch.chdir(tmp_path / "elsewhere")
        con.execute("SELECT chat('another')")
    assert (tmp_path / "kept").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_answers_of_a_database_at_home_are_kept_there(
    tmp_path: Path, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~` is the home for the store, as it is for DuckDB."""
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    for _ in range(2):
        with opened("~/shop.duckdb", deployed(journal), TEN):
            pass
    assert (tmp_path / "shop.duckdb.llmsql").exists()
    assert len(asked(journal)) == 10


def test_prompts_are_not_in_the_file(database: str, journal: Path) -> None:
    """Neither inputs nor system prompts: they are hashes there. Answers are what is kept."""
    fixed = deployed(journal, " AND `gen.system`='SYSTEMSECRET'").replace("'debug'", "'dummy'")
    with opened(database, fixed) as con:
        con.execute("SELECT chat('PROMPTSECRET', {system: 'CALLSECRET'}) -- COMMENTSECRET")
        con.execute(r"SELECT chat(E'ESC\'APESECRET'), 'LITERALSECRET'")
        with pytest.raises(duckdb.Error):
            con.execute("SELECT chat('x')::INT + 'COLSECRET'::INT FROM range(1)")
    held = Path(database + ".llmsql").read_bytes()
    assert b"SECRET" not in held


def test_a_model_that_changes_before_it_loads_is_another(tmp_path: Path, database: str) -> None:
    """What it answered before is not taken for its own."""
    source = tmp_path / "model"
    source.mkdir()
    (source / "config.json").write_text("{}")
    with opened(database) as con:
        deployment = _lazy(con, source)
        before = deployment.identity
        (source / "config.json").write_text('{"other": true}')
        deployment.look_again()
        assert deployment.identity != before


def _lazy(con: Any, source: Path) -> Any:
    """A remembered deployment of the files in *source*, not loaded."""
    from llmsql import backends
    from llmsql.runtime import remembered
    from llmsql.types import ModelSpec

    spec = ModelSpec("late", "chat", "echo", str(source), str(source), options={})
    return remembered.unloaded(spec, backends.get("echo"), None, ())


def test_a_second_statement_of_the_same_text_draws_for_itself(con: Any) -> None:
    """While the first one runs, what it draws is its own."""
    con.execute(f"{ECHO}")
    first, second = (cursor._session.conditions for cursor in (con.cursor(), con.cursor()))
    from llmsql.runtime.account import Account

    one, other = Account(first, text=SAMPLED), Account(second, text=SAMPLED)
    assert one.statement != other.statement
    one.finish("done", 0)
    assert Account(second, text=SAMPLED).statement == one.statement


def test_a_damaged_store_is_set_aside(database: str, journal: Path) -> None:
    """The statement goes on with a warning, and asks again."""
    with opened(database, deployed(journal), TEN):
        pass
    store = Path(database + ".llmsql")
    store.write_bytes(b"no database at all" * 1000)
    with opened(database, deployed(journal)) as con, pytest.warns(LlmsqlWarning, match="damaged"):
        assert len(con.execute(TEN).fetchall()) == 10
    assert len(asked(journal)) == 20
    assert len(list(store.parent.glob("*.damaged-*"))) == 1


def test_kill_at_random_moments_loses_one_group_commit(tmp_path: Path) -> None:
    """Each row has its own answer, and what was committed is not asked again."""
    outcome = kill_and_go_on(tmp_path, KILLS, seed=5)
    assert (outcome.right, outcome.asked) == (ROWS, ROWS)
    assert max(outcome.again) <= outcome.allowed


def test_two_processes_fill_one_store(tmp_path: Path, journal: Path) -> None:
    """No error, and each finds afterwards what both have answered."""
    program = f"""
import sys
import llmsql
con = llmsql.connect()
con.execute('!llm setup "cache={tmp_path}/shared"')
con.execute(sys.argv[1])
start = int(sys.argv[2])
con.execute("SELECT chat('row ' || i) FROM range(" + f"{{start}}, {{start + 6000}}" + ") t(i)")
con.close()
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", program, deployed(journal), str(start)])
        for start in (0, 3000)
    ]
    assert [process.wait(120) for process in processes] == [0, 0]
    before = len(asked(journal))
    with opened(":memory:", f'!llm setup "cache={tmp_path}/shared"', deployed(journal)) as con:
        rows = con.execute("SELECT chat('row ' || i) FROM range(9000) t(i)").fetchall()
    assert rows == [(f"row {i}",) for i in range(9000)]
    assert len(asked(journal)) == before


@pytest.fixture
def poisoned(con: Any) -> Iterator[Any]:
    con.execute(f"{ECHO} AND break_on='poison'")
    con.execute("""CREATE TABLE t AS SELECT i, CASE WHEN i = 77777 THEN 'poison' ELSE 'row ' || i
        END AS s FROM range(100000) r(i)""")
    return con


def test_one_poisoned_row_of_a_hundred_thousand(poisoned: Any) -> None:
    """99,999 answers, one NULL, one error record."""
    with pytest.warns(LlmsqlWarning, match="^1 of 100000 model calls failed"):
        rows = poisoned.execute("SELECT count(chat(s)), count(*) FROM t").fetchall()
    assert rows == [(99_999, 100_000)]
    errors = poisoned.execute(
        "SELECT error FROM llm_calls() WHERE finish_reason = 'error'"
    ).fetchall()
    assert errors == [("RuntimeError: broken by 'poison'",)]


def test_what_a_raw_client_has_drawn_is_not_kept(database: str, journal: Path) -> None:
    """No statement of it can be run again to find the sample; a certain answer is kept."""
    asks = "SELECT llm_generate(s, {temperature: 1.0}), llm_generate(s) FROM (VALUES ('a')) t(s)"
    with opened(database, deployed(journal)) as con:
        con.engine.root.cursor().execute(asks).fetchall()
        assert con.execute("!llm cache stat").fetchall()[0][:2] == ("chat", 1)
