"""Prompts, texts and pairs as OpenAI's requests, so many to a request.

What the answers mean is `answers`' business; asking, and asking again, is `client`'s, and what is
in flight is `loop`'s.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from llmsql.backends import base
from llmsql.backends.openai import address, answers
from llmsql.backends.openai.client import Client, Posted
from llmsql.backends.openai.loop import Loop, Stream, Work
from llmsql.backends.openai.refusals import Refused
from llmsql.backends.openai.sampling import fields
from llmsql.errors import BackendError, GenerationError, suggestion
from llmsql.types import Completion, Measured, Message, Prompt

CHARACTERS_PER_REQUEST = 200_000
OTHER_LIMIT = "max_completion_tokens"

Row = tuple[int, str]


class Model(base.Model):
    """A model of a server, asked *concurrency* requests at a time."""

    device = "remote"

    def __init__(
        self,
        name: str,
        client: Client,
        loop: Loop,
        *,
        concurrency: int,
        batch_texts: int,
        dimensions: int | None,
    ) -> None:
        self.name = name
        self.client = client
        self.loop = loop
        self.concurrency = concurrency
        self.batch_texts = batch_texts
        self.dimensions = dimensions
        self._running: Stream[Any, Any] | None = None
        self._has_base64 = True
        # Reasoning models know max_tokens by another name, and take no temperature.
        self._limit_name = "max_tokens"
        self._has_temperature = True
        # Also when the process ends without it: an open session complains on the user's screen.
        self._close = weakref.finalize(self, _close, loop, client)

    def open(self, organization: str | None, proxy: str | None, local: str | None) -> None:
        """Find the server; where the deployment names no model, the server's only one is meant."""
        self.loop.run(self.client.open(self.concurrency, organization, proxy, local))
        self.loop.run(self.client.find())
        if self.client.base != self.client.bases[0]:
            base = address.shown(self.client.base)
            self.note = f'the server answers at "{base}": write that as saas.base_url'
        elif self.name and not self._is_listed():
            near = suggestion(self.name, self.client.models)
            self.note = f'the server\'s list of models has no "{self.name}"{near}'
        if not self.name and len(self.client.models) != 1:
            raise BackendError(
                "saas.model is missing: which of the server's models is meant?\n"
                f"  its models: {', '.join(self.client.models) or 'it does not tell'}"
            )
        self.name = self.name or self.client.models[0]

    @property
    def retrying(self) -> int:
        """How many requests wait to be sent again."""
        return self.client.retrying

    def unload(self) -> None:
        """Cancel what is in flight and close the connections."""
        self._close()

    def generate(self, prompts: Sequence[Prompt]) -> base.Answered:
        """Yield completions as they arrive."""
        return self._stream(self._complete, enumerate(prompts))

    def embed(self, texts: Sequence[str]) -> base.Embedded:
        """Yield the vectors of each request as it arrives."""
        return self._stream(self._embed, self._requests(enumerate(texts)))

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> base.Scored:
        """Yield the scores of each request as it arrives; a request has one query."""
        rows_by_query: dict[str, list[Row]] = {}
        for index, (query, passage) in enumerate(pairs):
            rows_by_query.setdefault(query, []).append((index, passage))
        jobs = (
            (query, some) for query, rows in rows_by_query.items() for some in self._requests(rows)
        )
        return self._stream(self._rerank, jobs)

    def wind_up(self, seconds: float) -> bool:
        """Send no more requests; those in flight have so many *seconds* to be answered."""
        if self._running is not None:
            self._running.wind_up(seconds)
        return self._running is not None

    def _stream(self, work: Work[Any, Any], jobs: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        self.client.in_vain = 0
        self._running = self.loop.stream(work, jobs, self.concurrency)
        return iter(self._running)

    def meta(self) -> Mapping[str, Any]:
        """Return what is known of the model: its name, and that it takes messages."""
        return {"model": self.name, "message_format": True}

    def measure(self) -> None:
        """Learn the dimension by asking for a vector; some servers refuse to send it in base64."""
        for self._has_base64 in (True, False):
            ((_, vector),) = self.loop.run(self._embed([(0, "a")]))
            if not isinstance(vector, GenerationError):
                self.dimension = len(vector.value)
                return
        raise BackendError(f'model "{self.name}" makes no vector: {vector}') from vector

    def _requests(self, rows: Iterable[Row]) -> Iterator[list[Row]]:
        """Cut *rows* into what one request may hold."""
        some: list[Row] = []
        characters = 0
        for row in rows:
            characters += len(row[1])
            if some and (len(some) == self.batch_texts or characters > CHARACTERS_PER_REQUEST):
                yield some
                some, characters = [], len(row[1])
            some.append(row)
        if some:
            yield some

    def _is_listed(self) -> bool:
        """True where the server lists the model, under its name or as `name:tag`, or lists none."""
        listed = {name for model in self.client.models for name in (model, model.partition(":")[0])}
        return not listed or self.name in listed

    async def _complete(self, job: tuple[int, Prompt]) -> list[tuple[int, Any]]:
        index, prompt = job
        started = time.perf_counter()
        try:
            async with asyncio.timeout(prompt.timeout):
                answer = await self._answered(prompt)
        except TimeoutError:
            late = GenerationError(f"no answer within {prompt.timeout:g} seconds")
            late.seconds, late.retries = prompt.timeout, None
            return [(index, late)]
        except GenerationError as error:
            return [(index, error)]
        seconds = time.perf_counter() - started
        return [(index, replace(answer.result, seconds=seconds, retries=answer.retries))]

    async def _answered(self, prompt: Prompt) -> Posted[Completion]:
        while True:
            body = self._body(prompt)
            try:
                return await self.client.post("/chat/completions", body, answers.completion)
            except Refused as error:
                if not self._adapts(error, body):
                    raise

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        sampling = prompt.sampling
        said = [*prompt.history, Message("user", prompt.text)]
        messages = [{"role": turn.role, "content": turn.content} for turn in said]
        if sampling.system:
            messages.insert(0, {"role": "system", "content": sampling.system})
        body: dict[str, Any] = {
            "model": self.name,
            "messages": messages,
            self._limit_name: sampling.max_tokens,
        }
        if self._has_temperature or sampling.temperature:
            body["temperature"] = sampling.temperature
        if sampling.top_p < 1:
            body["top_p"] = sampling.top_p
        if sampling.top_k:
            body["top_k"] = sampling.top_k
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        return body | fields(sampling)

    def _adapts(self, error: Refused, body: dict[str, Any]) -> bool:
        """Leave out what the model does not take, where that was not the user's wish."""
        if error.status != 400 or error.param not in body:
            return False
        if error.param == "max_tokens":  # which may also be too large
            if error.code != "unsupported_parameter" and OTHER_LIMIT not in error.text:
                return False
            self._limit_name = OTHER_LIMIT
            return True
        if error.param == "temperature" and not body["temperature"]:
            self._has_temperature = False
            return True
        return False

    async def _embed(self, rows: list[Row]) -> list[tuple[int, Any]]:
        return await _halved(self._vectors, rows)

    async def _vectors(self, texts: list[str]) -> Sequence[Any]:
        body: dict[str, Any] = {"model": self.name, "input": texts}
        if self.dimensions:
            body["dimensions"] = self.dimensions
        if self._has_base64:
            body["encoding_format"] = "base64"
        dimension = self.dimensions or self.dimension
        sizes = [len(text) for text in texts]
        read = partial(answers.vectors, sizes=sizes, dimension=dimension)
        return _shared(await self.client.post("/embeddings", body, read, is_many=len(texts) > 1))

    async def _rerank(self, job: tuple[str, list[Row]]) -> list[tuple[int, Any]]:
        query, rows = job

        async def scores(passages: list[str]) -> Sequence[Any]:
            body = {"model": self.name, "query": query, "documents": passages}
            read = partial(answers.scores, sizes=[len(query) + len(text) for text in passages])
            return _shared(await self.client.post("/rerank", body, read, is_many=len(passages) > 1))

        return await _halved(scores, rows)


async def _halved(
    ask: Callable[[list[str]], Awaitable[Sequence[Any]]], rows: list[Row]
) -> list[tuple[int, Any]]:
    """Ask for *rows* at once; when they are refused, in halves, until the wrong one is alone."""
    try:
        results = await ask([text for _, text in rows])
    except Refused as error:
        if len(rows) == 1:
            return [(rows[0][0], error)]
        middle = len(rows) // 2
        return await _halved(ask, rows[:middle]) + await _halved(ask, rows[middle:])
    except GenerationError as error:
        return [(rows[0][0], error), *((index, _like(error)) for index, _ in rows[1:])]
    return [(index, result) for (index, _), result in zip(rows, results, strict=True)]


def _like(error: GenerationError) -> GenerationError:
    """The same error for another text of the request, whose retries count once."""
    other = GenerationError(str(error))
    other.seconds = error.seconds
    return other


def _shared(posted: Posted[Sequence[Any]]) -> list[Any]:
    """The results of one request: its time is each one's, its retries are the first one's."""
    found: list[Any] = []
    retries = posted.retries
    for result in posted.result:
        if isinstance(result, Measured):
            result = replace(result, seconds=posted.seconds, retries=retries)
            retries = 0
        found.append(result)
    return found


def _close(loop: Loop, client: Client) -> None:
    if not loop.is_ours:
        return
    loop.cancel()
    loop.run(client.close())
    loop.close()
