"""What is asked of models that make vectors or scores. Lives in vLLM's process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from llmsql.backends.vllm.asking import Asking, Request, Requests, usage
from llmsql.backends.vllm.order import Order
from llmsql.errors import BackendError, GenerationError
from llmsql.types import Measured


class Vectors(Asking):
    """A model that makes vectors, cut to `dimensions` and, unless told otherwise, of length 1."""

    def __init__(self, order: Order, llm: Any) -> None:
        super().__init__(order, llm)
        width = llm.model_config.embedding_size
        self.dimension = self.options.dimensions or width
        if self.dimension > width:
            raise BackendError(f"dimensions is {self.dimension}, but the model makes {width}")

    def embed(self, texts: Sequence[str]) -> Requests:
        """Return the request of each text."""
        from vllm import PoolingParams

        parameters = PoolingParams(task="embed", use_activation=False)
        return [Request(tokens, parameters, self._vector) for tokens in self._tokens(texts)]

    def count_tokens(self, inputs: Sequence[str]) -> list[int]:
        """Return the tokens of each text, with its prompt and after it is cut."""
        return list(map(len, self._tokens(inputs)))

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        found = self.tokenizer(
            [(self.options.prompt or "") + text for text in texts],
            truncation=True,
            max_length=self.context,
            verbose=False,
        )["input_ids"]
        return [tokens or [self.tokenizer.eos_token_id or 0] for tokens in found]

    def _vector(self, output: Any) -> Measured[np.ndarray] | GenerationError:
        vector = output.outputs.data.float().numpy()[: self.dimension]
        if not math.isfinite(vector.sum()):
            return GenerationError(
                "the model's numbers overflow on this text\n  deploy it with dtype='float32'"
            )
        if self.options.normalize:
            vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return Measured(np.asarray(vector, np.float32), usage(output))


class Pairs(Asking):
    """A cross-encoder: it reads query and passage together, and gives its raw score."""

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> Requests:
        """Return the request of each pair."""
        return [Request(tokens, _pooling(types), _score) for tokens, types in self._tokens(pairs)]

    def count_tokens(self, inputs: Sequence[tuple[str, str]]) -> list[int]:
        """Return the tokens of each pair, read as one, after it is cut."""
        return [len(tokens) for tokens, _ in self._tokens(inputs)]

    def _tokens(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int] | None]]:
        if not pairs:
            return []
        queries, passages = map(list, zip(*pairs, strict=True))
        found = self.tokenizer(
            queries, passages, truncation=True, max_length=self.context, verbose=False
        )
        types = found.get("token_type_ids") or [None] * len(pairs)
        return list(zip(found["input_ids"], types, strict=True))


def _pooling(types: Sequence[int] | None) -> Any:
    """vLLM's parameters of a pair whose second text begins where *types* turn to 1."""
    from vllm import PoolingParams

    begin = None if types is None else list(types).index(1) if 1 in types else len(types)
    more = {} if begin is None else {"extra_kwargs": {"compressed_token_type_ids": begin}}
    return PoolingParams(task="classify", use_activation=False, **more)


def _score(output: Any) -> Measured[float] | GenerationError:
    (score,) = output.outputs.data.float().reshape(-1).tolist()
    if not math.isfinite(score):
        return GenerationError(
            "the model's numbers overflow on this pair\n  deploy it with dtype='float32'"
        )
    return Measured(score, usage(output))
