"""A model that stands for another one, which is elsewhere or not loaded yet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmsql.backends import base
from llmsql.types import Message, Prompt


class Proxy(base.Model, ABC):
    """Passes every call on: whoever knows where the model is says how it is asked."""

    @abstractmethod
    def ask(self, method: str, *arguments: Any) -> Any:
        """Return what *method* returns there; raises what it raises."""

    @abstractmethod
    def stream(self, method: str, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Return what *method* yields there for *items*, as it comes."""

    def generate(self, prompts: Sequence[Prompt]) -> base.Answered:
        """Yield the completion of each prompt."""
        return self.stream("generate", prompts)

    def embed(self, texts: Sequence[str]) -> base.Embedded:
        """Yield the vector of each text."""
        return self.stream("embed", texts)

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> base.Scored:
        """Yield the score of each pair."""
        return self.stream("rerank", pairs)

    def wind_up(self, seconds: float) -> bool:
        """No: closing the call gives up what a process of ours has in hand."""
        return False

    def count_tokens(self, inputs: Sequence[Any]) -> list[int] | None:
        """Return the tokens of each input, as the model reads them."""
        counted: list[int] | None = self.ask("count_tokens", list(inputs))
        return counted

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text."""
        tokens: list[list[int]] = self.ask("tokenize", list(texts))
        return tokens

    def apply_chat_template(self, messages: Sequence[Message]) -> str:
        """Return *messages* as the model reads them."""
        text: str = self.ask("apply_chat_template", list(messages))
        return text

    def meta(self) -> Mapping[str, Any]:
        """Return what the model tells of itself."""
        told: Mapping[str, Any] = self.ask("meta")
        return told
