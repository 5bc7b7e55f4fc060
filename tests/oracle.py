"""The same statement through llmsql and through plain DuckDB, side by side.

Both sides have the same tables and the same two functions, which only depend on their input: `m`
answers 'true' or 'false', `g` a digit. Plain DuckDB's are ordinary Arrow functions that remember their
answers, so what they were asked is the fewest calls that a function alone can do with.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

import llmsql
from llmsql.backends import echo
from llmsql.backends.base import Answered
from llmsql.types import Completion, Prompt

TABLES = """
CREATE TABLE t AS SELECT i, i % 10 AS k, CASE WHEN i % 13 = 0 THEN NULL ELSE 'text ' || (i % 40) END AS s,
    i % 3 = 0 AS flag, [('l' || (i % 4)), ('l' || (i % 6))] AS l FROM range(200) r(i);
CREATE TABLE u AS SELECT i AS id, i % 5 AS k, 'word ' || (i % 25) AS w, (i * 7) % 11 AS n FROM range(60) r(i);
CREATE TABLE e(i BIGINT, s VARCHAR);
CREATE VIEW v AS SELECT i, k, s, m(s) AS yes FROM t WHERE k < 4;
CREATE MACRO is_yes(x) AS m('macro ' || x) = 'true';
CREATE MACRO marked(x) AS TABLE SELECT i, g(s) AS mark FROM t WHERE k = x;
"""

FUNCTIONS: dict[str, Callable[[str], str]] = {
    "m": lambda text: str(zlib.crc32(text.encode()) % 3 == 0).lower(),
    "g": lambda text: str(zlib.crc32(text.encode()) % 7),
}


class CountingModel(echo.Model):
    """A chat model that answers by one of FUNCTIONS and keeps what it was asked, call by call."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        super().__init__("chat", echo.Options())
        self.answer = answer
        self.asked: list[str] = []
        self.batches: list[int] = []

    def generate(self, prompts: list[Prompt]) -> Answered:
        self.batches.append(len(prompts))
        for index, prompt in enumerate(prompts):
            self.asked.append(prompt.text)
            yield index, Completion(self.answer(prompt.text))


@dataclass
class Outcome:
    """What a statement gave: rows in order, or the type of its error; and the calls it made."""

    rows: list[tuple[Any, ...]] | None
    error: str | None
    calls: int
    names: list[str] | None = None


class Ours:
    """llmsql with the tables and counting models."""

    def __init__(self, tables: str = TABLES) -> None:
        self.con = llmsql.connect()
        self.models: dict[str, CountingModel] = {}
        for name, answer in FUNCTIONS.items():
            self.con.execute(
                f"RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='{name}'"
            )
            self.models[name] = CountingModel(answer)
            self.con.engine.deployments.get(name).model = self.models[name]
        self.con.execute(tables)
        self.forget()

    def forget(self) -> None:
        """Start counting, and knowing, from nothing."""
        for name, model in self.models.items():
            model.asked.clear()
            model.batches.clear()
            deployment = self.con.engine.deployments.get(name)
            deployment._answers.clear()

    @property
    def calls(self) -> int:
        return sum(len(model.asked) for model in self.models.values())

    def run(self, sql: str, parameters: Any = None) -> Outcome:
        self.forget()
        return _run(self.con, sql, parameters, lambda: self.calls)


class Plain:
    """DuckDB alone, with functions that remember their answers."""

    def __init__(self, tables: str = TABLES) -> None:
        self.con = duckdb.connect()
        self.known: dict[tuple[str, str], str] = {}
        self.made = [self._make(name, answer) for name, answer in FUNCTIONS.items()]
        self.con.execute(tables)

    def _make(self, name: str, answer: Callable[[str], str]) -> Any:
        def function(column: Any) -> Any:
            texts = column.to_pylist()
            for text in texts:
                if text is not None and (name, text) not in self.known:
                    self.known[name, text] = answer(text)
            return pa.array(
                [None if x is None else self.known[name, x] for x in texts], pa.string()
            )

        self.con.create_function(
            name, function, ["VARCHAR"], "VARCHAR", type="arrow", null_handling="special"
        )
        return function

    def run(self, sql: str, parameters: Any = None) -> Outcome:
        self.known.clear()
        return _run(self.con, sql, parameters, lambda: len(self.known))

    def close(self) -> None:
        with contextlib.suppress(duckdb.Error):  # of a transaction that a test left open
            self.con.execute("ROLLBACK")
        for name in FUNCTIONS:
            self.con.remove_function(name)
        self.con.close()


def _run(con: Any, sql: str, parameters: Any, calls: Callable[[], int]) -> Outcome:
    try:
        con.execute(sql) if parameters is None else con.execute(sql, parameters)
        names = [column[0] for column in con.description] if con.description else None
        rows = con.fetchall() if con.description else None
    except duckdb.Error as error:
        return Outcome(None, type(error).__name__, calls())
    return Outcome(rows, None, calls(), names)


def same_rows(sql: str, one: list[Any] | None, other: list[Any] | None) -> bool:
    """True when both have the same rows, in the same order where the statement gives one."""
    if one is None or other is None:
        return one == other
    outermost = sql.lower().rpartition(")")[2]
    if "order by" in outermost or "limit" in outermost:
        return one == other
    return sorted(map(repr, one)) == sorted(map(repr, other))


def numbered(statements: list[str]) -> list[Any]:
    """pytest parameters that show the beginning of each statement."""
    import pytest

    return [
        pytest.param(sql, id=f"{index}-{' '.join(sql.split())[:60]}")
        for index, sql in enumerate(statements)
    ]
