"""A loaded GGUF model: it answers, embeds, ranks, and tells its tokens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from llmsql.backends import base
from llmsql.backends.llamacpp import requests
from llmsql.backends.llamacpp.requests import Pieces
from llmsql.backends.llamacpp.server import Plan, Server
from llmsql.backends.llamacpp.stream import stream
from llmsql.backends.openai import answers
from llmsql.errors import BackendError, GenerationError
from llmsql.torch_models.wording import Asked, laid_out
from llmsql.types import Completion, Message, Prompt

TEXTS_PER_REQUEST = 32
REQUESTS_AT_ONCE = 2
"""While the answer of one is read, the other is computed."""

Row = tuple[int, Any]


class Model(base.Model):
    """A model in llama.cpp, whose slots run rows side by side."""

    def __init__(self, server: Server, plan: Plan, values: Mapping[str, Any]) -> None:
        self.server: Server | None = server
        self.plan = plan
        self.values = values
        self.has_template = bool(plan.template or values.get("tokenizer.chat_template"))
        if plan.kind == "emb":
            (vector,) = (found for _, found in self.embed(["a"]))
            if isinstance(vector, GenerationError):
                raise BackendError(f'"{plan.file}" makes no vectors: {vector}')
            self.dimension = len(vector)

    def generate(self, prompts: Sequence[Prompt]) -> base.Answered:
        """Yield the completion of each prompt, the first to end first."""
        slots = self.plan.size.slots
        # A few wait inside llama.cpp, so that a slot that falls free is taken at once.
        threads = slots + max(1, slots // 4)
        # One broken grammar breaks every row, where all have the same.
        is_shared = len({getattr(prompt.sampling, "grammar", None) for prompt in prompts}) == 1
        work = partial(self._complete, self._ready(), is_shared)
        return stream(work, list(enumerate(prompts)), threads)

    def embed(self, texts: Sequence[str]) -> base.Embedded:
        """Yield the vectors of each request; what is longer than the context is cut to it."""
        jobs = _requests(list(enumerate(texts)))
        return stream(partial(self._embed, self._ready()), jobs, REQUESTS_AT_ONCE)

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> base.Scored:
        """Yield the scores of each request, which has one query."""
        by_query: dict[str, list[Row]] = {}
        for index, (query, passage) in enumerate(pairs):
            by_query.setdefault(query, []).append((index, passage))
        jobs = [(query, some) for query, rows in by_query.items() for some in _requests(rows)]
        return stream(partial(self._rerank, self._ready()), jobs, REQUESTS_AT_ONCE)

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

    def _complete(
        self, server: Server, is_shared: bool, job: tuple[int, Prompt], stopped: threading.Event
    ) -> list[tuple[int, Any]]:
        index, prompt = job
        pieces = Pieces(stopped.is_set, prompt.timeout)
        try:
            handle, body = self._request(server, self._limited(server, prompt))
            handle(body, pieces.take)
        except GenerationError as error:
            return [(index, error)]
        except (BackendError, ValueError, RuntimeError) as error:
            # A chat template refuses what it is given, or a schema cannot be followed.
            return [(index, GenerationError(f"llama.cpp refuses: {error}"))]
        answer = pieces.completion()
        if is_shared and isinstance(answer, GenerationError) and "parse grammar" in str(answer):
            raise BackendError(f"{answer}\n  grammar takes GBNF, as llama.cpp describes it")
        if isinstance(answer, Completion):
            answer = requests.kept(answer, prompt.sampling)
        return [(index, answer)]

    def _limited(self, server: Server, prompt: Prompt) -> Prompt:
        """*prompt* without what was said first, as far as the limit on its tokens asks for it."""
        limit = self.plan.options.limit
        while limit is not None:
            count = len(server.tokens(self._worded(server, prompt)))
            if count <= limit:
                break
            if not prompt.history:
                raise requests.too_long(count, limit + 1)
            # An answer without its question goes with it.
            first = 2 if prompt.history[1:2] and prompt.history[1].role == "assistant" else 1
            prompt = replace(prompt, history=prompt.history[first:])
        return prompt

    def _worded(self, server: Server, prompt: Prompt) -> str:
        """*prompt* as the model reads it."""
        system = prompt.sampling.system or self.plan.options.system_prompt
        if self.has_template:
            return server.rendered(requests.messages(prompt, system))
        return laid_out(Asked(system, prompt.text, prompt.history, prompt.roles))

    def _request(
        self, server: Server, prompt: Prompt
    ) -> tuple[Callable[[dict[str, Any], Callable[[dict[str, Any]], bool]], None], dict[str, Any]]:
        options = self.plan.options
        cuts = options.preset.cuts if options.preset else ()
        body = {"stream": True, "stream_options": {"include_usage": True}}
        body |= requests.sampling(prompt.sampling, cuts)
        if not self.has_template:
            body["prompt"] = self._worded(server, prompt)
            return server.engine.handle_completions, body
        body["messages"] = requests.messages(prompt, options.system_prompt)
        return server.engine.handle_chat_completions, body

    def _embed(self, server: Server, rows: list[Row], stopped: threading.Event) -> list[Row]:
        def vectors(texts: Sequence[Any]) -> Sequence[Any]:
            body = {
                "input": texts,
                "encoding_format": "base64",
                "embd_normalize": 2 if self.plan.options.normalize else -1,
            }
            return answers.vectors(
                _checked(server.engine.handle_embeddings(body)), len(texts), self.dimension
            )

        return _halved(vectors, [(index, self._fitting(server, text)) for index, text in rows])

    def _fitting(self, server: Server, text: str) -> str | list[int]:
        """*text*, or its tokens where it may be too long, or is empty, which is refused as text."""
        context = self.plan.size.context
        if text and len(text.encode()) + 2 <= context:  # a token is a byte at least
            return text
        tokens = server.tokens(text)
        if len(tokens) <= context:
            return tokens or text
        return [*tokens[: context - 1], tokens[-1]]  # the last may be one that ends every text

    def _rerank(
        self, server: Server, job: tuple[str, list[Row]], stopped: threading.Event
    ) -> list[Row]:
        query, rows = job

        def scores(passages: Sequence[Any]) -> Sequence[Any]:
            body = {"query": query, "documents": passages}
            return answers.scores(_checked(server.engine.handle_rerank(body)), len(passages))

        return _halved(scores, rows)


def _requests(rows: list[Row]) -> list[list[Row]]:
    """Cut *rows* into what one request holds, the longest first."""
    ordered = sorted(rows, key=lambda row: -len(row[1]))
    return [
        ordered[at : at + TEXTS_PER_REQUEST] for at in range(0, len(ordered), TEXTS_PER_REQUEST)
    ]


def _halved(ask: Callable[[Sequence[Any]], Sequence[Any]], rows: list[Row]) -> list[Row]:
    """Ask for *rows* at once; when they are refused, in halves, until the wrong one is alone."""
    try:
        results = ask([text for _, text in rows])
    except (GenerationError, ValueError, RuntimeError) as error:
        if len(rows) == 1:
            known = isinstance(error, GenerationError)
            return [
                (rows[0][0], error if known else GenerationError(f"llama.cpp refuses: {error}"))
            ]
        middle = len(rows) // 2
        return _halved(ask, rows[:middle]) + _halved(ask, rows[middle:])
    return [(index, result) for (index, _), result in zip(rows, results, strict=True)]


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise requests.refusal(answer["error"])
    return answer
