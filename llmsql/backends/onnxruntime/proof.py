"""Whether onnxruntime answers as sentence-transformers does, and whether it is the faster one.

Both run some texts once, and what came of it stays beside the converted file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llmsql import backends, encoders
from llmsql.backends.base import Model
from llmsql.types import Kind, ModelSpec, bare

FILE = "proof.json"
EQUAL = 1e-4
_REPETITIONS = 3


@dataclass(frozen=True)
class Proof:
    """What came of the comparison.

    *difference* is the largest found: 1 less the cosine of two vectors, or of two scores their
    difference over the larger. *seconds* is how long onnxruntime took for what took
    sentence-transformers *other_seconds*.
    """

    difference: float
    seconds: float
    other_seconds: float

    @property
    def is_better(self) -> bool:
        """True where nobody would miss sentence-transformers."""
        return self.difference <= EQUAL and self.seconds < self.other_seconds


def write(folder: Path, proof: Proof) -> None:
    """Keep *proof* in *folder*."""
    (folder / FILE).write_text(json.dumps(asdict(proof)), encoding="utf-8")


def read(folder: Path) -> Proof | None:
    """Return what *write* kept in *folder*, None where there is nothing to be read."""
    try:
        return Proof(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def compared(model: Model, path: str, *, is_cross: bool, trust_remote_code: bool) -> Proof:
    """Run *model* and what sentence-transformers would make of *path* on the same inputs.

    In the same numbers and on the same processor: bfloat16 differs by more than a good conversion.
    """
    given = {"dtype": "float32", "device": "cpu", "trust_remote_code": trust_remote_code}
    other = reference(path, is_cross=is_cross, **given)
    texts = probe()
    pairs = list(zip(reversed(texts), texts, strict=True))

    def of(one: Model) -> Callable[[], np.ndarray]:
        return lambda: _in_order(one.rerank(pairs) if is_cross else one.embed(texts))

    (rows, seconds), (expected, other_seconds) = _best(of(model), of(other))
    other.unload()
    difference = _scores_differ if is_cross else _vectors_differ
    return Proof(difference(rows, expected), seconds, other_seconds)


def reference(path: str, *, is_cross: bool, **options: Any) -> Any:
    """Load *path* with sentence-transformers."""
    other = backends.get("sentence_transformers")
    kind: Kind = "rerank" if is_cross else "emb"
    given = other.options(**options)
    return other.load(ModelSpec("reference", kind, other.name, path=path, options=given))


def probe() -> list[str]:
    """Some texts of many lengths, scripts and kinds."""
    words = "A model reads each of these words, and 42 more; then it says what they mean.".split()
    lengths = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
    sentences = [" ".join(words[at % len(words)] for at in range(n, 2 * n)) for n in lengths]
    return [
        *sentences,
        *("", " ", "x", "cats", "The cat sat on the mat.", "How do I reset my password?"),
        *("Größe, naïve, Ωμέγα, Здравствуй, שלום, مرحبا, 你好, こんにちは", "SELECT * FROM t;"),
        *("astral 😀 𐍈 𠀀", "e\u0301 and é", "https://example.org/a?b=c", "1,234.56 €", "\t\n"),
    ]


def _in_order(answered: Any) -> np.ndarray:
    found = {index: bare(result) for index, result in answered}
    for result in found.values():
        if isinstance(result, Exception):
            raise result
    return np.asarray([found[index] for index in range(len(found))], dtype=np.float64)


def _best(*runs: Callable[[], np.ndarray]) -> list[tuple[np.ndarray, float]]:
    """What each of *runs* returns and its shortest time, run by turns."""
    found: list[np.ndarray] = [run() for run in runs]
    times = [float("inf")] * len(runs)
    for _ in range(_REPETITIONS):
        for at, run in enumerate(runs):
            started = time.perf_counter()
            run()
            times[at] = min(times[at], time.perf_counter() - started)
    return list(zip(found, times, strict=True))


def _vectors_differ(rows: np.ndarray, expected: np.ndarray) -> float:
    cosines = (encoders.unit(rows) * encoders.unit(expected)).sum(axis=1)
    return float(abs(1 - cosines.min()))


def _scores_differ(scores: np.ndarray, expected: np.ndarray) -> float:
    scale = np.maximum(1, np.maximum(np.abs(scores), np.abs(expected)))
    return float((np.abs(scores - expected) / scale).max())
