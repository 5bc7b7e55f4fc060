"""Replicas as statements see them: deployed, remembered, recorded, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llmsql
from llmsql.errors import BackendError, LlmsqlWarning
from tests.replicas.test_replicated import gone, kill

DEPLOY = (
    "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'"
    " AND maxConcurrency='2' AND workerMaxConcurrency='4'"
)


def pids(con: Any) -> list[int]:
    """The processes of the model."""
    found: list[int] = con.engine.deployments.get("chat").model.pids
    return found


def test_a_run_says_how_many_there_are(con: Any) -> None:
    """The row of RUN, and those of the list and the statistics, count the replicas."""
    assert con.execute(DEPLOY).fetchall()[0][:5] == ("chat", "chat", "echo", 2, "cpu")
    assert con.execute("!llm model list").fetchall()[0][3] == 2
    assert con.execute("!llm model stat").fetchall()[0][1:4] == (2, 0, 2)
    assert len(set(pids(con))) == 2


@pytest.mark.parametrize("more", ["num_gpus='1'", "gpus_per_worker='1' AND maxConcurrency='2'"])
def test_a_gpu_that_is_not_used_is_told(con: Any, more: str) -> None:
    """A RUN that asks for a GPU, and whose model is on the CPU, says so; a setting asks nothing."""
    run = "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'"
    with pytest.warns(LlmsqlWarning) as said:
        con.execute(f"{run} AND {more}")
    assert [str(warning.message) for warning in said] == [
        "model \"chat\" runs on the CPU, though num_gpus is 1\n  set num_gpus='0' where that is meant"
    ]
    con.execute('!llm setup "num_gpus=1"')
    con.execute(f"{run} AND num_gpus='0'")
    con.execute(run)


def test_one_stays_in_this_process(con: Any) -> None:
    """A model that is wanted once has no process of its own."""
    con.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'")
    assert not hasattr(con.engine.deployments.get("chat").model, "pids")


def test_a_call_tells_its_replica(con: Any) -> None:
    """llm_calls() has the number of the replica that answered, or failed, and NULL for none."""
    con.execute(DEPLOY + " AND delay='0.002' AND fail_on='7'")
    with pytest.warns(LlmsqlWarning, match="4 of 40"):
        con.execute("SELECT chat('row ' || i) FROM range(40) r(i)")
    con.execute("SELECT chat('row 1')")
    seen = con.execute("SELECT DISTINCT replica, is_reused FROM llm_calls() ORDER BY ALL")
    assert seen.fetchall() == [(0, False), (1, False), (None, True)]


def test_a_statement_outlives_a_replica(con: Any) -> None:
    """Kill -9 between two statements: the next one has every row answered."""
    con.execute(DEPLOY)
    for pid in pids(con):
        kill(pid)
    found = con.execute("SELECT count(*) FROM range(50) r(i) WHERE chat('row ' || i) = 'row ' || i")
    assert found.fetchall() == [(50,)]


def test_an_input_that_kills_is_a_row_that_failed(con: Any) -> None:
    """It is NULL, with a record that says why; all others are answered, and it is not kept."""
    con.execute(DEPLOY + " AND die_on='poison'")
    con.execute("CREATE TABLE t AS SELECT 'row ' || i AS s FROM range(30) r(i)")
    con.execute("UPDATE t SET s = 'poison' WHERE s = 'row 9'")
    with pytest.warns(LlmsqlWarning, match="1 of 30"):
        rows = con.execute("SELECT s, chat(s) FROM t").fetchall()
    assert [(s, answer) for s, answer in rows if s != answer] == [("poison", None)]
    records = con.execute("SELECT finish_reason, error FROM llm_calls() WHERE error IS NOT NULL")
    ((reason, error),) = records.fetchall()
    assert reason == "error"
    assert error.startswith(
        'a process of model "chat" ended twice on this input: killed by SIGKILL'
    )
    assert con.execute("!llm model stat").fetchall()[0][4:6] == (29, 1)


def test_a_row_that_breaks_fails_alone(con: Any) -> None:
    """A library's error in a replica is found to be one row's, as in this process."""
    con.execute(DEPLOY + " AND break_on='row 7'")
    with pytest.warns(LlmsqlWarning, match="1 of 10.*RuntimeError: broken by 'row 7'"):
        rows = con.execute("SELECT i, chat('row ' || i) FROM range(10) r(i)").fetchall()
    assert [i for i, answer in rows if answer is None] == [7]


def test_a_failed_deploy_leaves_the_old_one(con: Any) -> None:
    """Where replicas cannot be loaded, what was there before answers on."""
    con.execute(DEPLOY)
    with pytest.raises(BackendError, match='^model "chat" was told to fail to load$'):
        con.execute(DEPLOY + " AND fail_to_load='true'")
    assert con.execute("SELECT chat('still')").fetchall() == [("still",)]


def test_replicas_are_remembered(tmp_path: Path) -> None:
    """A database that is opened again offers the model, and its first call starts as many."""
    with llmsql.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute(DEPLOY)
    with llmsql.connect(str(tmp_path / "shop.duckdb")) as con:
        assert con.execute("!llm model list").fetchall()[0][3] == 2
        assert con.execute("SELECT chat('again')").fetchall() == [("again",)]
        assert len(con.engine.deployments.get("chat").model._model.pids) == 2


def test_requests_are_shared(con: Any) -> None:
    """A JSON request is answered by a replica as by one model."""
    con.execute(DEPLOY)
    answer = "SELECT chat(llm_param(MAP {'instruction': 'Hi'}))->>'$.output'"
    assert con.execute(answer.replace("->>", "::JSON->>")).fetchall() == [("Hi",)]


def test_dying_on_purpose_wants_a_process(con: Any) -> None:
    """Echo does not take the user's process along."""
    with pytest.raises(BackendError) as error:
        con.execute(
            "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='c' AND die_on='x'"
        )
    assert str(error.value) == (
        'model "c" was told to die on "x", and would take this process along\n'
        "  with maxConcurrency='2' it has processes of its own"
    )


PROGRAM = f"""
import sys, llmsql
con = llmsql.connect()
con.execute({DEPLOY!r} + f" AND delay='30' AND journal='{{sys.argv[1]}}'")
print(*con.engine.deployments.get("chat").model.pids, flush=True)
if sys.stdin.readline() == "ask\\n":
    con.execute("SELECT chat('a' || i) FROM range(40) r(i)")
"""


@pytest.mark.parametrize(
    ("said", "end"),
    [("ask", signal.SIGKILL), ("ask", signal.SIGTERM), ("", signal.SIGKILL), ("end", None)],
    ids=["killed at work", "ended at work", "killed", "done"],
)
def test_no_process_outlives_ours(said: str, end: signal.Signals | None, tmp_path: Path) -> None:
    """However our process ends, and whatever its replicas do, they end as well."""
    journal = tmp_path / "journal"
    os.mkfifo(journal)  # who reads it knows that a replica is at work
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(journal)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout
        handles = [os.pidfd_open(int(pid)) for pid in process.stdout.readline().split()]
        assert len(handles) == 2
        process.stdin.write(f"{said}\n" if said else "")
        process.stdin.flush()
        if said == "ask":
            assert "a" in journal.read_text()
        if end is not None:
            process.send_signal(end)
        assert all(map(gone, handles))
