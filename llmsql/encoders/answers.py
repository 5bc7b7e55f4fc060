"""What comes out of encoders: vectors, cosines, scores. Which library computes is not seen here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from llmsql.encoders.encoder import Encoder, Rows
from llmsql.encoders.options import Options
from llmsql.errors import BackendError, GenerationError, OptionError
from llmsql.types import Measured, ModelSpec, Usage

Scored = Iterator[tuple[int, Measured[float] | GenerationError]]


class Vectors(Encoder):
    """An encoder that makes vectors."""

    output = "sentence_embedding"
    sample = ("a", "b c")
    dimension: int | None

    def __init__(self, engine: Any, options: Options) -> None:
        super().__init__(engine, options)
        wanted = options.dimensions or self.width
        if wanted > self.width:
            raise OptionError(f"dimensions is {wanted}, but the model makes {self.width}")
        self.dimension = wanted
        self.prompt()  # a wrong name is told when the model is deployed

    def embed(self, texts: Sequence[str]) -> Rows:
        """Yield the vector of each text, the longest texts first."""
        return self.run(texts, [len(text) for text in texts], self.prompt())

    def count_tokens(self, inputs: Sequence[Any]) -> list[int] | None:
        """Return the tokens of each text, with its prompt and after it is cut."""
        return self.counts(inputs, [len(text) for text in inputs], self.prompt())

    def finish(self, rows: np.ndarray) -> np.ndarray:
        """Keep the first `dimensions` numbers, and divide by the length of what is left."""
        rows = np.ascontiguousarray(rows[:, : self.options.dimensions])
        return unit(rows) if self.options.normalize else rows


class Cosines(Vectors):
    """An embedding model that ranks: a score is the cosine of query and passage.

    Each distinct text is embedded once, however many pairs it is in. Queries and passages get the
    prompts that the model has for them.
    """

    note = "scores are cosine similarities: this is an embedding model, not a cross-encoder"

    def __init__(self, engine: Any, options: Options) -> None:
        super().__init__(engine, replace(options, normalize=True))

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> Scored:
        """Yield each score as soon as both vectors are there."""
        prompts = self._prompts()
        sides = [tuple(zip(prompts, pair, strict=True)) for pair in pairs]
        indexes_by_side: dict[tuple[str | None, str], list[int]] = {}
        for index, both in enumerate(sides):
            for side in dict.fromkeys(both):
                indexes_by_side.setdefault(side, []).append(index)
        vectors: dict[tuple[str | None, str], Any] = {}
        for prompt in dict.fromkeys(prompts):
            texts = [text for known, text in indexes_by_side if known == prompt]
            for i, vector in self.run(texts, [len(text) for text in texts], prompt):
                vectors[prompt, texts[i]] = vector
                for index in indexes_by_side[prompt, texts[i]]:
                    query, passage = (vectors.get(side) for side in sides[index])
                    if query is not None and passage is not None:
                        yield index, _cosine(query, passage)

    def count_tokens(self, inputs: Sequence[tuple[str, str]]) -> list[int] | None:
        """Return the tokens of both sides of each pair, counted with every pair they are in."""
        total = [0] * len(inputs)
        for side, prompt in enumerate(self._prompts()):
            texts = list(dict.fromkeys(pair[side] for pair in inputs))
            counts = self.counts(texts, [len(text) for text in texts], prompt)
            if counts is None:
                return None
            count_by_text = dict(zip(texts, counts, strict=True))
            total = [have + count_by_text[p[side]] for have, p in zip(total, inputs, strict=True)]
        return total

    def _prompts(self) -> tuple[str | None, str | None]:
        return self.prompt("query"), self.own_prompt("document", "passage", "corpus")


class Scores(Encoder):
    """A cross-encoder: reads query and passage together, and gives its raw score, no sigmoid."""

    output = "scores"
    sample = (("a", "b"), ("c", "d e"))

    def __init__(self, engine: Any, options: Options) -> None:
        super().__init__(engine, options)
        if self.width != 1:
            raise BackendError(
                f"the model gives {self.width} scores for a pair: it sorts, and does not rank\n"
                "  a cross-encoder for ranking has one label"
            )
        self.prompt()

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> Scored:
        """Yield the score of each pair, the longest pairs first."""
        for index, row in self.run(pairs, _sizes(pairs), self.prompt()):
            if isinstance(row, GenerationError):
                yield index, row
            else:
                yield index, Measured(float(row.value[0]), row.usage)

    def count_tokens(self, inputs: Sequence[tuple[str, str]]) -> list[int] | None:
        """Return the tokens of each pair, read as one, after it is cut."""
        return self.counts(inputs, _sizes(inputs), self.prompt())


def check_pairs(spec: ModelSpec) -> None:
    """Raise BackendError where *spec*, whose model is a cross-encoder, wants vectors of it."""
    if spec.kind == "emb":
        raise BackendError(
            f'model "{spec.name}" is a cross-encoder: it scores pairs, and makes no vectors\n'
            "  deploy it with kind='rerank'"
        )


def unit(rows: np.ndarray) -> np.ndarray:
    """Return *rows*, each divided by its length; one that is not finite stays so."""
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        found: np.ndarray = rows / np.maximum(lengths, np.float32(1e-12))
    return found


def _sizes(pairs: Sequence[tuple[str, str]]) -> list[int]:
    return [len(query) + len(passage) for query, passage in pairs]


def _cosine(query: Any, passage: Any) -> Measured[float] | GenerationError:
    failed = next((side for side in (query, passage) if isinstance(side, GenerationError)), None)
    if failed is not None:
        return failed
    counts = query.usage.input_tokens, passage.usage.input_tokens
    usage = Usage(None if None in counts else sum(counts), 0)
    return Measured(float(query.value @ passage.value), usage)
