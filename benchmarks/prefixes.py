"""Time of a table whose fields repeat, in our order and as it comes, with the engines' hit rates.

Prompts share about 75 % of their tokens with others, answers have 4 tokens, and there are more
different starts than an engine remembers.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

import llmsql
from benchmarks.engines import _quietly
from benchmarks.generated import _WORDS
from benchmarks.table import Line, best
from llmsql.types import Prompt, Sampling, Usage

STARTS, EACH, SLOTS, TOKENS, ROUNDS = 24, 6, 4, 4, 1
GOAL = "≥ 1.5 × in time"
PROMPT = "llm_fields('Which one?', {'question': question, 'passage': passage})"
ASK = f"ask({PROMPT}, {{'max_tokens': {TOKENS}}})"


def run() -> list[Line]:
    """A line an engine that is installed."""
    lines = []
    if importlib.util.find_spec("xllamacpp"):
        lines.append(_llamacpp())
    if importlib.util.find_spec("transformers"):
        lines += _transformers()
    if importlib.util.find_spec("vllm"):
        lines += [_vllm("0.04", longer=1), _vllm("0.1", longer=3)]
    return lines


def _llamacpp() -> Line:
    """The slots of llama.cpp remember one prompt each; it chooses the slot of a prompt itself."""
    settings = f"backend.n_parallel='{SLOTS}' AND backend.context='512'"
    with _deployed("llamacpp", settings) as con:
        model = con.engine.deployments.get("ask").model
        usages: list[Usage] = []

        def as_it_comes() -> None:
            usages[:] = _asked_directly(model, _prompts(con))

        return _compared(con, as_it_comes, usages, f"llama.cpp with {SLOTS} slots")


def _transformers() -> list[Line]:
    """Our decoder as it is, which finds beginnings by itself, and with only what all rows share."""
    from llmsql.torch_models import decoding

    with _deployed("transformers", "dtype='float32'") as con:
        model = con.engine.deployments.get("ask").model
        usages: list[Usage] = []

        def as_it_comes() -> None:
            asked = [Prompt(text, Sampling(max_tokens=TOKENS)) for text in _prompts(con)]
            usages[:] = [answer.usage for _, answer in model.generate(asked)]

        def without_sharing() -> None:
            usual = dict(decoding._OVERHEAD)
            decoding._OVERHEAD["cpu"] = 10**9  # it is never worth that
            as_it_comes()
            decoding._OVERHEAD.update(usual)

        return [
            _compared(con, as_it_comes, usages, "transformers"),
            _compared(
                con, without_sharing, usages, "transformers, beginnings of some rows not shared"
            ),
        ]


def _vllm(room: str, longer: int) -> Line:
    """vLLM with *room* for half of the passages, which requests share in blocks of 32 tokens."""
    settings = (
        f"backend.context='512' AND backend.kv_cache_gb='{room}' AND backend.max_num_seqs='{SLOTS}'"
    )
    with _deployed("vllm", settings, longer) as con:
        model = con.engine.deployments.get("ask").model
        usages: list[Usage] = []

        def as_it_comes() -> None:
            asked = [Prompt(text, Sampling(max_tokens=TOKENS)) for text in _prompts(con)]
            usages[:] = [answer.usage for _, answer in model.generate(asked)]

        return _compared(con, as_it_comes, usages, f"vLLM with {SLOTS} at once", longer)


def _deployed(backend: str, settings: str, longer: int = 1) -> Any:
    con = llmsql.connect()
    con.execute(
        f"RUN command AS LLM WHERE localModelDir='smollm2' AND infer_backend='{backend}'"
        f" AND udfName='ask' AND {settings}"
    )
    con.register("given", pa.table(dict(zip(("question", "passage"), _rows(longer), strict=True))))
    con.execute("CREATE TABLE asked AS FROM given")
    return con


def _rows(longer: int) -> Sequence[list[str]]:
    """Questions, each of its own, and passages, each for some of them, in any order.

    They are *longer* times as long as they must be.
    """
    chance = random.Random(1)

    def text(words: int) -> str:
        return " ".join(chance.choices(_WORDS, k=words))

    passages = [text(80 * longer) for _ in range(STARTS)]
    rows = [(text(13 * longer), passage) for passage in passages for _ in range(EACH)]
    chance.shuffle(rows)
    return [list(column) for column in zip(*rows, strict=True)]


def _prompts(con: Any) -> list[str]:
    """The prompts that our statement asks, in the order of the table."""
    rows = con.execute(f"SELECT {PROMPT} FROM asked").fetchall()
    return [text for (text,) in rows]


def _asked_directly(model: Any, prompts: Sequence[str]) -> list[Usage]:
    """Ask llama.cpp's own server by as many threads as it has slots."""
    from llmsql.backends.llamacpp.chat import Chat
    from llmsql.backends.llamacpp.requests import Pieces

    chat = Chat(model.server, model.plan, has_template=model.has_template)

    def ask(text: str) -> Usage:
        handle, body = chat._request(Prompt(text, Sampling(max_tokens=TOKENS)))
        pieces = Pieces(lambda: False, None)
        handle(body, pieces.take)
        return pieces.usage

    with ThreadPoolExecutor(SLOTS) as threads:
        return list(threads.map(ask, prompts))


def _compared(
    con: Any, as_it_comes: Callable[[], None], usages: list[Usage], name: str, longer: int = 1
) -> Line:
    def ours() -> None:
        con.engine.deployments.get("ask")._answers.clear()
        _quietly(con, f"SELECT count({ASK}) FROM asked")

    # As many rows as an order of fields is chosen from.
    _quietly(con, f"SELECT count({ASK}) FROM (FROM asked LIMIT 36)")
    mine, theirs = best(ROUNDS, ours, as_it_comes)
    length = "" if longer == 1 else f", {longer} times as long"
    (read, found), *_ = con.execute(
        "SELECT input_tokens, cached_tokens FROM llm_statements() ORDER BY statement DESC"
    ).fetchall()
    return Line(
        f"{name}, SmolLM2, {STARTS * EACH} prompts of {STARTS} passages{length},"
        f" {TOKENS} tokens each: time as the table comes / in our order",
        GOAL,
        f"{theirs / mine:.2f} × ({mine:.1f} s with {found / read:.0%} of the tokens found,"
        f" {theirs:.1f} s with {_share(usages):.0%})",
    )


def _share(usages: Sequence[Usage]) -> float:
    return sum(u.cached_tokens or 0 for u in usages) / sum(u.input_tokens or 0 for u in usages)


if __name__ == "__main__":
    for line in run():
        print(line.what, line.measured, sep="\n  ")
