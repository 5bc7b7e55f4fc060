"""Another process that shares the store sees what runs, while it runs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llmsql
from llmsql.runtime import watched

_RUN = """
import sys, llmsql
con = llmsql.connect()
con.execute(f'!llm setup "cache={sys.argv[1]}"')
con.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'"
            " AND delay='0.02'")
con.execute("SELECT chat('a ' || i || 'secret') FROM range(150) t(i)")
print("done", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def watcher(tmp_path: Path) -> Any:
    """A connection that shares a store."""
    with llmsql.connect() as con:
        con.execute(f'!llm setup "cache={tmp_path}/shared.llmsql"')
        yield con


def started(tmp_path: Path) -> subprocess.Popen[bytes]:
    """A process that asks 150 inputs in three seconds or more."""
    return subprocess.Popen(
        [sys.executable, "-c", _RUN, f"{tmp_path}/shared.llmsql"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def seen(con: Any, *, until: Callable[[list[Any]], bool]) -> list[Any]:
    """The rows of `llm_progress()`, as soon as they are as they should become."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        sql = "SELECT kind, text, model, total, done, failed FROM llm_progress()"
        if until(rows := con.execute(sql).fetchall()):
            return rows
        time.sleep(0.05)
    raise AssertionError(rows)


def test_a_statement_is_seen_from_another_process(watcher: Any, tmp_path: Path) -> None:
    """How far it is, live, and without what is quoted in it; gone when it has ended."""
    with started(tmp_path) as process:
        (first,) = seen(watcher, until=bool)
        assert first[:4] == (
            "SELECT",
            "SELECT chat('…' || i || '…') FROM range(150) t(i)",
            "chat",
            150,
        )
        (later,) = seen(watcher, until=lambda rows: rows and rows[0][4] > first[4])
        assert first[4] < later[4] <= 150
        assert process.stdout is not None
        process.stdout.readline()
        seen(watcher, until=lambda rows: not rows)
        process.kill()


def test_a_statement_that_was_killed_is_not_seen(watcher: Any, tmp_path: Path) -> None:
    """Though nobody has ended it."""
    with started(tmp_path) as process:
        seen(watcher, until=bool)
        process.kill()
    assert watcher.execute("FROM llm_progress()").fetchall() == []


def test_a_short_statement_writes_no_row(watcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over at once would be seen by nobody."""
    monkeypatch.setattr(watched, "WATCHED_SECONDS", 3_600)
    shown: list[int] = []
    store = watcher._session.conditions.store
    monkeypatch.setattr(store, "show", lambda number, row: shown.append(number))
    watcher.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'")
    watcher.execute("SELECT chat('a ' || i) FROM range(50) t(i)")
    assert shown == []
