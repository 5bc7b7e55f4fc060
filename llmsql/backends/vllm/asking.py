"""How vLLM's engine is asked: requests in tokens, and the way to read their outputs.

Lives in vLLM's process. Tokens are made here, so that what is counted is what is read. What is
asked of a model that writes is in `chat`, of the others in `pooled`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llmsql.backends.vllm.options import Options
from llmsql.backends.vllm.order import Order
from llmsql.errors import BackendError, GenerationError
from llmsql.types import Message, Usage


@dataclass(frozen=True)
class Request:
    """A prompt in tokens, vLLM's parameters for it, and how its output is read."""

    tokens: list[int]
    parameters: Any
    read: Callable[[Any], Any]


Requests = list[Request | GenerationError]


class Asking:
    """How a model is asked; what it can do is which methods it has."""

    dimension: int | None = None
    has_template = False

    def __init__(self, order: Order, llm: Any) -> None:
        self.options: Options = order.options
        self.tokenizer = llm.get_tokenizer()
        self.context: int = llm.model_config.max_model_len

    def count_tokens(self, inputs: Sequence[Any]) -> list[int]:
        """Return the tokens that are read of each input, 0 for one that is refused."""
        raise BackendError("this model does not show its tokens")

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text alone."""
        return [self.tokenizer(text, verbose=False)["input_ids"] for text in texts]

    def apply_chat_template(self, messages: Sequence[Message]) -> str:
        """Return *messages* as the chat template writes them."""
        raise BackendError("this model has no chat template of its own")


def usage(output: Any, written: int = 0) -> Usage:
    """Return the tokens that *output* says were read, found in the cache, and *written*."""
    return Usage(len(output.prompt_token_ids), written, max(0, output.num_cached_tokens or 0))
