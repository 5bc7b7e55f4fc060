"""Embeddings by each engine over sentence-transformers' own encode, on the same texts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import llmsql
from benchmarks.engines import _texts
from benchmarks.table import Line
from llmsql import backends, sources
from llmsql.types import ModelSpec, bare

TEXTS = 5_000
ROUNDS = 4  # of two, one slow moment of the machine decides
ENGINES = {
    "onnxruntime": ("onnxruntime", {}, "≥ 1.8 at cosine ≥ 0.999"),
    "onnxruntime int8": ("onnxruntime", {"quantization": "int8"}, "report"),
    "sentence_transformers": ("sentence_transformers", {"dtype": "float32"}, "≥ 1.0"),
}


def run(count: int = TEXTS, rounds: int = ROUNDS) -> list[Line]:
    """MiniLM on texts of mixed length, through SQL and through each engine, by turns."""
    from sentence_transformers import SentenceTransformer

    texts = _texts(count)
    path = sources.locate("minilm")
    library = SentenceTransformer(path, device="cpu")
    works: dict[str, Callable[[], Any]] = {
        "encode": lambda: library.encode(texts, batch_size=32, normalize_embeddings=True)
    }
    for what, (backend, options, _) in ENGINES.items():
        works[what] = _direct(_loaded(path, backend, **options), texts)
    works["SQL"] = _through_sql(texts)
    expected = works["encode"]()
    cosines = {what: float((works[what]() * expected).sum(axis=1).min()) for what in ENGINES}
    taken = _best(rounds, works)
    goals = {what: goal for what, (_, _, goal) in ENGINES.items()} | {"SQL": "≥ 1.0"}
    lines = [_line(what, goals[what], count, taken, cosines.get(what)) for what in goals]
    return [*lines, _padding(path, texts)]


def _line(what: str, goal: str, count: int, taken: Any, cosine: float | None) -> Line:
    (wall, processor), (other, other_processor) = taken[what], taken["encode"]
    least = "" if cosine is None else f", least cosine {cosine:.6f}"
    name = "SQL on onnxruntime" if what == "SQL" else what
    return Line(
        f"MiniLM embeddings of {count:,} texts of mixed length: {name} / encode (batch 32)",
        goal,
        f"{other / wall:.2f} ({count / wall:.0f} and {count / other:.0f} texts/s;"
        f" {other_processor / processor:.2f} in processor time{least})",
    )


def _loaded(path: str, backend: str, **options: Any) -> Any:
    engine = backends.get(backend)
    return engine.load(
        ModelSpec("emb", "emb", backend, path=path, options=engine.options(**options))
    )


def _direct(model: Any, texts: list[str]) -> Callable[[], np.ndarray]:
    def embed() -> np.ndarray:
        rows: list[Any] = [None] * len(texts)
        for index, row in model.embed(texts):
            rows[index] = bare(row)
        return np.stack(rows)

    return embed


def _through_sql(texts: list[str]) -> Callable[[], None]:
    import pyarrow as pa

    con = llmsql.connect()
    con.execute(
        "RUN command AS LLM WHERE localModelDir='minilm' AND udfName='emb'"
        " AND infer_backend='onnxruntime'"
    )
    con.register("texts", pa.table({"s": texts}))

    def ask() -> None:
        con.engine.deployments.get("emb")._answers.clear()
        con.execute("SELECT count(emb(s)) FROM texts").fetchall()

    return ask


def _best(rounds: int, works: dict[str, Callable[[], Any]]) -> dict[str, tuple[float, float]]:
    """The least wall time and processor time of each, all of them in each round."""
    taken: dict[str, list[tuple[float, float]]] = {what: [] for what in works}
    for _ in range(rounds):
        for what, work in works.items():
            wall, processor = time.perf_counter(), time.process_time()
            work()
            passed = time.perf_counter() - wall, time.process_time() - processor
            taken[what].append(passed)
    return {
        what: (min(wall for wall, _ in times), min(processor for _, processor in times))
        for what, times in taken.items()
    }


def _padding(path: str, texts: list[str]) -> Line:
    model = _loaded(path, "onnxruntime")
    shapes: list[tuple[int, int]] = []
    run = model.engine.run

    def watched(batch: Any) -> Any:
        shapes.append((len(batch) * max(map(len, batch)), sum(map(len, batch))))
        return run(batch[:1]).repeat(len(batch), axis=0)

    model.engine.run = watched
    list(model.embed(texts))
    computed, tokens = (sum(sizes) for sizes in zip(*shapes, strict=True))
    return Line(
        f"onnxruntime, {len(texts):,} texts: padding among the tokens computed",
        "≤ 3 %",
        f"{100 * (computed - tokens) / computed:.2f} % in {len(shapes)} batches",
    )
