"""Rows per second through SQL over rows per second of the engine itself, on real models."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa

import llmsql
from benchmarks.table import Line, best, seconds
from llmsql.types import Prompt, Sampling, bare

PROMPTS = 64
TOKENS = 16
TEXTS = 5_000


def run() -> list[Line]:
    """SmolLM2 chat, MiniLM embeddings, and both against one call per DuckDB chunk."""
    with llmsql.connect() as con:
        lines = [line for dtype in _dtypes() for line in _of(con, dtype)]
        return [*lines, _batching(con), _per_chunk(con)]


def _dtypes() -> list[str]:
    """Both sides in the same numbers: float32, then those that we choose here, if others."""
    import torch

    from llmsql.torch_models import placement

    chosen = str(placement.dtype("auto", torch.device("cpu"))).removeprefix("torch.")
    return list(dict.fromkeys(["float32", chosen]))


def _of(con: Any, dtype: str) -> list[Line]:
    settings = f"device='cpu' AND dtype='{dtype}'"
    con.execute(
        "RUN command AS LLM WHERE localModelDir='smollm2' AND udfName='chat'"
        f" AND infer_backend='transformers' AND {settings}"
    )
    con.execute(
        "RUN command AS LLM WHERE localModelDir='minilm' AND udfName='emb'"
        f" AND infer_backend='sentence_transformers' AND {settings}"
    )
    return [_chat(con, dtype), *_embeddings(con, dtype)]


def _chat(con: Any, dtype: str) -> Line:
    prompts = [f"Name one thing that people do in the city of {name}." for name in _names(PROMPTS)]
    con.register("prompts", pa.table({"p": prompts * 3}))
    deployment = con.engine.deployments.get("chat")
    sampling = Sampling(max_tokens=TOKENS)

    def through_sql() -> None:
        deployment._answers.clear()
        _quietly(con, f"SELECT count(chat(p, {{'max_tokens': {TOKENS}}})) FROM prompts")

    def direct() -> None:
        list(deployment.model.generate([Prompt(p, sampling) for p in prompts]))

    generate = _library(deployment, prompts, dtype)
    sql, engine, library = best(4, through_sql, direct, generate)
    return Line(
        f"SmolLM2 chat, {PROMPTS} distinct prompts of {TOKENS} tokens in {3 * PROMPTS} rows,"
        f" {dtype}: SQL / the faster of our engine called directly and transformers' own padded"
        " batch",
        "≥ 0.95",
        f"{min(engine, library) / sql:.2f} (SQL {PROMPTS / sql:.1f}, engine {PROMPTS / engine:.1f},"
        f" transformers {PROMPTS / library:.1f} prompts/s)",
    )


def _batching(con: Any) -> Line:
    """Our loop beside the library's continuous batching, one model and one table."""
    con.execute(
        "RUN command AS LLM WHERE localModelDir='smollm2' AND udfName='paged' AND device='cpu'"
        " AND infer_backend='transformers' AND continuous_batching='true'"
    )

    def through(name: str) -> None:
        con.engine.deployments.get(name)._answers.clear()
        _quietly(con, f"SELECT count({name}(p, {{'max_tokens': {TOKENS}}})) FROM prompts")

    own, library = best(2, lambda: through("chat"), lambda: through("paged"))
    con.execute("!llm model remove paged")
    device = con.engine.deployments.get("chat").model.device
    return Line(
        f"the same on {device}, through SQL: with continuous_batching='true' / in our loop",
        "report",
        f"{own / library:.2f} ({PROMPTS / library:.1f} and {PROMPTS / own:.1f} prompts/s)",
    )


def _library(deployment: Any, prompts: list[str], dtype: str) -> Callable[[], None]:
    """Return what puts one padded batch through transformers' own generate."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llmsql.torch_models import conversion

    path = str(conversion.plain(deployment.spec.path))
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": p}], tokenize=False, add_generation_prompt=True
        )
        for p in prompts
    ]

    def generate() -> None:
        batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            model.generate(
                **batch, do_sample=False, max_new_tokens=TOKENS, min_new_tokens=TOKENS,
                pad_token_id=tokenizer.eos_token_id,
            )  # fmt: skip

    return generate


def _embeddings(con: Any, dtype: str) -> list[Line]:
    import torch
    from sentence_transformers import SentenceTransformer

    texts = _texts(TEXTS)
    con.register("texts", pa.table({"s": texts}))
    deployment = con.engine.deployments.get("emb")
    library = SentenceTransformer(
        deployment.spec.path, device="cpu", model_kwargs={"dtype": getattr(torch, dtype)}
    )

    def through_sql() -> None:
        deployment._answers.clear()
        con.execute("SELECT count(emb(s)) FROM texts").fetchall()

    def direct() -> None:
        list(deployment.model.embed(texts))

    sql, own, encode = best(
        4, through_sql, direct,  # of two, one slow moment of the machine decides
        lambda: library.encode(texts, batch_size=32, normalize_embeddings=True),
    )  # fmt: skip
    what = f"MiniLM embeddings of {TEXTS:,} texts of mixed length, {dtype}: SQL / "
    return [
        Line(what + "sentence-transformers' encode (batch 32)", "≥ 0.95",
             f"{encode / sql:.2f} ({TEXTS / sql:.0f} and {TEXTS / encode:.0f} texts/s)"),
        Line(what + "our engine called directly", "≥ 0.95", f"{own / sql:.2f}"),
    ]  # fmt: skip


def _per_chunk(con: Any) -> Line:
    """A plain Arrow function asks the model for each chunk that DuckDB hands it."""
    rows = 50_000
    table = pa.table({"i": list(range(rows)), "s": _texts(rows)})
    con.register("many", table)
    model = con.engine.deployments.get("emb").model
    deployment = con.engine.deployments.get("emb")
    plain = duckdb.connect()
    plain.register("many", table)
    asked, batches = [], []
    model.embed = lambda texts: asked.append(len(texts)) or type(model).embed(model, texts)

    def function(column: Any) -> Any:
        batches.append(len(column))
        vectors: list[Any] = [None] * len(column)
        for index, vector in type(model).embed(model, column.to_pylist()):
            vectors[index] = bare(vector)
        return pa.array([v.tolist() for v in vectors], pa.list_(pa.float32()))

    plain.create_function("emb", function, ["VARCHAR"], "FLOAT[]", type="arrow")
    query = "SELECT count(*) FROM many WHERE i % 100 = 0 AND list_sum(emb(s)::FLOAT[]) > -100"
    deployment._answers.clear()
    ours = seconds(lambda: con.execute(query).fetchall())
    theirs = seconds(lambda: plain.execute(query).fetchall())
    del model.embed
    plain.remove_function("emb")
    plain.close()
    return Line(
        f"1-in-100 filter on {rows:,} rows: time of a plain Arrow function / ours",
        "report",
        f"{theirs / ours:.1f} × ({sum(batches):,} rows in {len(batches)} batches,"
        f" ours {sum(asked):,} in {len(asked)}; DuckDB {duckdb.__version__})",
    )


def _quietly(con: Any, sql: str) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", llmsql.LlmsqlWarning)  # answers are cut on purpose
        con.execute(sql).fetchall()


def _names(count: int) -> list[str]:
    chance = random.Random(1)
    syllables = "ka lo mi ran to be sur ven ta ri mon del".split()
    return ["".join(chance.choices(syllables, k=3)).title() + str(n) for n in range(count)]


def _texts(count: int) -> list[str]:
    """Texts of 3 to 120 words, most of them short, all different."""
    chance = random.Random(2)
    words = (
        "the quick brown fox jumps over a lazy dog near river bank while rain falls on town".split()
    )
    return [
        f"{n} " + " ".join(chance.choices(words, k=min(120, int(chance.expovariate(1 / 20)) + 3)))
        for n in range(count)
    ]
