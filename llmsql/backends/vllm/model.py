"""A model in vLLM's process, as the rest of llmsql knows models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmsql.backends import base
from llmsql.backends.vllm.order import Order
from llmsql.backends.vllm.process import Process
from llmsql.errors import BackendError
from llmsql.types import Kind, Message, Prompt


class Model(base.Model):
    """One model and the process it runs in, which is made here and ended by `unload`."""

    def __init__(self, order: Order) -> None:
        self.kind: Kind = order.kind
        self.process = Process(order.environment)
        try:
            self.told: Mapping[str, Any] = self.process.ask("load", order)
        except BaseException:  # Ctrl-C as well
            self.process.end()
            raise
        self.device = self.told["device"]
        self.dimension = self.told["dimension"]

    def generate(self, prompts: Sequence[Prompt]) -> base.Answered:
        """Yield the completion of each prompt, the first to end first."""
        return self._stream("chat", "generate", prompts)

    def embed(self, texts: Sequence[str]) -> base.Embedded:
        """Yield the vector of each text."""
        return self._stream("emb", "embed", texts)

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> base.Scored:
        """Yield the score of each pair: a cross-encoder's, or the log-odds of yes against no."""
        return self._stream("rerank", "rerank", pairs)

    def count_tokens(self, inputs: Sequence[Any]) -> list[int]:
        """Return the tokens of each input, as the engine reads them."""
        counted: list[int] = self.process.ask("count", list(inputs))
        return counted

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text."""
        tokens: list[list[int]] = self.process.ask("tokenize", list(texts))
        return tokens

    def apply_chat_template(self, messages: Sequence[Message]) -> str:
        """Return *messages* as the model reads them."""
        text: str = self.process.ask("rendered", list(messages))
        return text

    def meta(self) -> Mapping[str, Any]:
        """Return what the model's files say."""
        return {
            "max_model_len": self.told["max_model_len"],
            "architectures": self.told["architectures"],
            "support_chat_template": self.told["has_template"],
            "message_format": self.told["has_template"],
            "embedding_mode": self.dimension is not None,
            "dtype": self.told["dtype"],
        }

    def unload(self) -> None:
        """End the process, and with it all its memory."""
        self.process.end()

    def _stream(self, kind: Kind, method: str, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        if kind != self.kind:
            raise BackendError(f"this model was deployed for {self.kind}, not for {kind}")
        return self.process.stream(method, list(items), count=len(items))
