"""A loaded GGUF model: it answers, embeds, ranks, and tells its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from llmsql.backends import base
from llmsql.backends.llamacpp.chat import Chat
from llmsql.backends.llamacpp.encoder import Encoder, Row, divided
from llmsql.backends.llamacpp.lanes import Lanes
from llmsql.backends.llamacpp.server import Plan, Server
from llmsql.backends.llamacpp.stream import shared, stream
from llmsql.errors import BackendError, GenerationError
from llmsql.types import Message, Prompt, bare

REQUESTS_AT_ONCE = 2
"""While the answer of one is read, the other is computed."""


class Model(base.Model):
    """A model in llama.cpp, whose slots run rows side by side."""

    def __init__(self, server: Server, plan: Plan, values: Mapping[str, Any]) -> None:
        self.server: Server | None = server
        self.plan = plan
        self.values = values
        self.has_template = bool(plan.template or values.get("tokenizer.chat_template"))
        if plan.kind == "emb":
            (vector,) = (bare(found) for _, found in self.embed(["a"]))
            if isinstance(vector, GenerationError):
                raise BackendError(f'"{plan.file}" makes no vectors: {vector}')
            self.dimension = len(vector)

    def generate(self, prompts: Sequence[Prompt]) -> base.Answered:
        """Yield the completion of each prompt, the first to end first."""
        lanes = Lanes(list(enumerate(prompts)), self.plan.size.slots)
        # One broken grammar breaks every row, where all have the same.
        is_shared = len({getattr(prompt.sampling, "grammar", None) for prompt in prompts}) == 1
        chat = Chat(self._ready(), self.plan, has_template=self.has_template)
        work = partial(chat.complete, is_shared=is_shared)
        # Of each slot another one waits inside llama.cpp, and is taken when the slot falls free.
        return stream(work, [lanes.of(slot) for slot in range(lanes.count) for _ in range(2)])

    def embed(self, texts: Sequence[str]) -> base.Embedded:
        """Yield the vectors of each request; what is longer than the context is cut to it."""
        encoder = Encoder(self._ready(), self.plan)
        return stream(encoder.embed, shared(divided(list(enumerate(texts))), REQUESTS_AT_ONCE))

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> base.Scored:
        """Yield the scores of each request, which has one query."""
        by_query: dict[str, list[Row]] = {}
        for index, (query, passage) in enumerate(pairs):
            by_query.setdefault(query, []).append((index, passage))
        jobs = [(query, some) for query, rows in by_query.items() for some in divided(rows)]
        return stream(Encoder(self._ready(), self.plan).rerank, shared(jobs, REQUESTS_AT_ONCE))

    def count_tokens(self, inputs: Sequence[Any]) -> list[int] | None:
        """Return the tokens of each prompt as it is worded; None for texts and pairs."""
        if self.plan.kind != "chat":
            return None
        chat = Chat(self._ready(), self.plan, has_template=self.has_template)
        return [chat.count(prompt) for prompt in inputs]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text."""
        server = self._ready()
        return [server.tokens(text) for text in texts]

    def apply_chat_template(self, messages: Sequence[Message]) -> str:
        """Return *messages* as the model reads them."""
        if not self.has_template:
            raise BackendError(
                "this model has no chat template\n"
                "  deploy it with backend.chat_template='…', or ask it with user_role and its like"
            )
        said = [{"role": turn.role, "content": turn.content} for turn in messages]
        return self._ready().rendered(said)

    def meta(self) -> Mapping[str, Any]:
        """Return what the model's file says."""
        return {
            "max_model_len": self.plan.size.context,
            "architectures": [str(self.values.get("general.architecture", ""))],
            "support_chat_template": self.has_template,
            "message_format": self.has_template,
            "n_parallel": self.plan.size.slots,
        }

    def unload(self) -> None:
        """Stop llama.cpp: its memory and its threads are free when this returns."""
        self.server = None

    def _ready(self) -> Server:
        if self.server is None:
            raise BackendError("this model was unloaded")
        return self.server
