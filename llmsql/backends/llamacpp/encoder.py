"""Texts and pairs as requests to llama.cpp, so many to a request, and what is refused alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from llmsql.backends.llamacpp import requests
from llmsql.backends.llamacpp.server import Plan, Server
from llmsql.backends.openai import answers
from llmsql.errors import GenerationError

TEXTS_PER_REQUEST = 32

Row = tuple[int, Any]


class Encoder:
    """Makes vectors of texts, and scores of pairs."""

    def __init__(self, server: Server, plan: Plan) -> None:
        self.server = server
        self.context = plan.size.context
        self.norm = 2 if plan.options.normalize else -1  # Euclid's, or none

    def embed(self, rows: list[Row], stopped: threading.Event) -> list[Row]:
        """Return the vector, or the error, of each (index, text)."""

        def vectors(texts: Sequence[Any]) -> Sequence[Any]:
            body = {"input": texts, "encoding_format": "base64", "embd_normalize": self.norm}
            answer = self.server.engine.handle_embeddings(body)
            return answers.vectors(_checked(answer), [_size(text) for text in texts], None)

        return _halved(vectors, [(index, self._fitting(text)) for index, text in rows])

    def rerank(self, job: tuple[str, list[Row]], stopped: threading.Event) -> list[Row]:
        """Return the score, or the error, of each (index, passage) for a query."""
        query, rows = job

        def scores(passages: Sequence[Any]) -> Sequence[Any]:
            answer = self.server.engine.handle_rerank({"query": query, "documents": passages})
            return answers.scores(_checked(answer), [len(query) + len(text) for text in passages])

        return _halved(scores, rows)

    def _fitting(self, text: str) -> str | list[int]:
        """*text*, or its tokens where it may be too long, or is empty, which is refused as text."""
        if text and len(text.encode()) + 2 <= self.context:  # a token is a byte at least
            return text
        tokens = self.server.tokens(text)
        if len(tokens) <= self.context:
            return tokens or text
        return [*tokens[: self.context - 1], tokens[-1]]  # the last may be one that ends any text


def divided(rows: list[Row]) -> list[list[Row]]:
    """Cut *rows* into what one request holds, the longest first."""
    ordered = sorted(rows, key=lambda row: -len(row[1]))
    starts = range(0, len(ordered), TEXTS_PER_REQUEST)
    return [ordered[at : at + TEXTS_PER_REQUEST] for at in starts]


def _halved(ask: Callable[[Sequence[Any]], Sequence[Any]], rows: list[Row]) -> list[Row]:
    """Ask for *rows* at once; when they are refused, in halves, until the wrong one is alone."""
    try:
        results = ask([text for _, text in rows])
    except (GenerationError, ValueError, RuntimeError) as error:
        if len(rows) == 1:
            is_known = isinstance(error, GenerationError)
            alone = error if is_known else GenerationError(f"llama.cpp refuses: {error}")
            return [(rows[0][0], alone)]
        middle = len(rows) // 2
        return _halved(ask, rows[:middle]) + _halved(ask, rows[middle:])
    return [(index, result) for (index, _), result in zip(rows, results, strict=True)]


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise requests.refusal(answer["error"], _too_long)
    return answer


def _too_long(tokens: int, context: int) -> GenerationError:
    return GenerationError(
        f"the input has {tokens} tokens, the model takes fewer than {context}\n"
        "  shorten the text, or deploy the model with a larger context"
    )


def _size(text: str | list[int]) -> int:
    """About how long *text* is, which may be tokens: of bytes there are some four to one."""
    return len(text.encode()) if isinstance(text, str) else 4 * len(text)
