"""What keeping answers, records and progress adds to a statement on a real model."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llmsql
from benchmarks.table import Line, seconds
from llmsql.runtime.account import Account
from llmsql.runtime.budget import Budget
from llmsql.runtime.run import Run

PROMPTS = 64
WATCHED: tuple[tuple[type, Callable[..., Any]], ...] = (
    (Account, Account.recall),
    (Budget, Budget.allow),
    (Account, Account.reuse),
    (Account, Account.begin),
    (Account, Account.tick),
    (Account, Account.finish),
    (Run, Run.answered),
    (Run, Run.finish),
)


def run() -> list[Line]:
    """One line."""
    spent = [0.0]
    for cls, method in WATCHED:
        setattr(cls, method.__name__, _timed(method, spent))
    try:
        return [_added(spent)]
    finally:
        for cls, method in WATCHED:
            setattr(cls, method.__name__, method)


def _added(spent: list[float]) -> Line:
    with tempfile.TemporaryDirectory() as folder:
        con = llmsql.connect(str(Path(folder) / "shop.duckdb"))
        con.on_progress = lambda progress: None
        con.execute("RUN command AS LLM WHERE localModelDir='smollm2' AND udfName='chat'")
        con.execute("SELECT chat('to warm up', {'max_tokens': 2})")
        spent[0] = 0.0
        query = (
            "SELECT chat('Describe object number ' || i || ' in a few words.', {'max_tokens': 16})"
            f" FROM range({PROMPTS}) t(i)"
        )
        taken = seconds(lambda: con.execute(query).fetchall())
        share = spent[0] / taken
        con.close()
    return Line(
        f"SmolLM2 chat, {PROMPTS} prompts of 16 tokens: time in store, records and progress",
        "≤ 3 %",
        f"{share:.2%} ({spent[0] * 1000:.0f} ms of {taken:.1f} s)",
    )


def _timed(method: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            spent[0] += time.perf_counter() - started

    return timed
