"""What a server has in hand is paid for: what becomes of it when something goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pytest

import llmsql
from llmsql.errors import BackendError, GenerationError
from tests.installed import require
from tests.servers import Answer, Reply, Request, Server

from .test_openai import KEY, answers, chat, deployed, echo, said

require("aiohttp", "tenacity")


@contextmanager
def asked(answer: Answer, **options: str) -> Iterator[tuple[llmsql.Connection, Server]]:
    """A connection with the model `m` of a server that answers prompts so."""
    given = {"saas.api_key": KEY, "saas.model": "small", "workerMaxConcurrency": "8", **options}
    with Server(chat(answer)) as server, llmsql.connect() as con:
        keys = "".join(f" AND `{key}`='{value}'" for key, value in given.items())
        con.execute(
            "RUN command AS LLM WHERE pretrainedModelType='saas/openai' AND udfName='m'"
            f" AND `saas.base_url`='{server.url}'{keys}"
        )
        con.execute("CREATE TABLE t AS SELECT 'p' || i AS s, '' AS y FROM range(40) r(i)")
        yield con, server


def prompt(request: Request) -> str:
    return str(request.body["messages"][-1]["content"])


def posts(server: Server) -> list[str]:
    return sorted(body["messages"][-1]["content"] for body in server.asked("completions"))


def test_a_row_that_ends_the_statement_costs_no_answer_in_flight() -> None:
    """What the server had in hand is kept and counted, and asked of it no second time."""
    broken = ["p3"]

    def answer(request: Request) -> Reply:
        is_bad = prompt(request) in broken
        return Reply({"error": {"message": "bad row"}}, 400) if is_bad else echo(request)

    with asked(answer) as (con, server):
        with pytest.raises(GenerationError, match="bad row"):
            con.execute("UPDATE t SET y = m(s)")
        first = posts(server)
        counted = con.execute("SELECT sum(calls) FROM llm_usage()").fetchone()
        assert counted == (len(first),)
        broken.clear()
        con.execute("UPDATE t SET y = m(s)")
        assert posts(server) == sorted([*(f"p{i}" for i in range(40)), "p3"])
        assert len(first) < 40


def test_what_is_wrong_with_every_row_costs_no_answer_in_flight() -> None:
    """The others of eight that were sent at once are answered, and kept."""
    poor = ["p0"]

    def answer(request: Request) -> Reply:
        if prompt(request) in poor:
            return Reply({"error": {"message": "no credit"}}, 402)
        return Reply(said(prompt(request)), delay=0.2)

    with asked(answer) as (con, server):
        with pytest.raises(BackendError, match="no credit"):
            con.execute("SELECT m(s) FROM t").fetchall()
        assert len(posts(server)) == 8
        poor.clear()
        con.execute("SELECT m(s) FROM t").fetchall()
        assert len(posts(server)) == 41


def test_an_interrupted_statement_leaves_the_server_alone() -> None:
    """It waits two seconds for what is in hand, and the next statement no longer than that."""
    hanging = threading.Event()

    def answer(request: Request) -> Reply:
        if not prompt(request).startswith("p"):
            return echo(request)
        hanging.set()
        return Reply(said("late"), delay=60)

    with asked(answer) as (con, server):
        threading.Thread(target=lambda: (hanging.wait(60), con.interrupt())).start()
        with pytest.raises(duckdb.InterruptException):
            con.execute("SELECT m(s) FROM t").fetchall()
        assert con.execute("SELECT m('quick')").fetchone() == ("quick",)
        assert len(posts(server)) == 9  # eight at once, and this one


def test_a_server_that_fails_every_row_is_given_up() -> None:
    """Eight rows have all their retries, and what else is in hand; the others are not asked."""
    down = Reply({"error": {"message": "internal"}}, 500)
    with asked(lambda request: down, **{"saas.max_retries": "1"}) as (con, server):
        with pytest.raises(BackendError, match="fails on every row: the server answers 500"):
            con.execute("SELECT m(s) FROM t").fetchall()
        assert 16 <= len(posts(server)) < 40


@pytest.mark.parametrize("status", [403, 503, 504])
def test_a_row_that_only_a_gateway_refuses_is_null(status: int) -> None:
    """The server answers the others meanwhile: it is not down, and the key is not wrong."""

    def answer(request: Request) -> Reply:
        if prompt(request) == "p39":
            return Reply({"error": {"message": "not this"}}, status)
        return echo(request)

    with asked(answer, **{"saas.max_retries": "1"}) as (con, _):
        with pytest.warns(llmsql.LlmsqlWarning, match=f"1 of 40 .* answers {status}: not this"):
            found = con.execute("SELECT count(*), count(m(s)) FROM t").fetchall()
        assert found == [(40, 39)]


def test_half_a_character_is_a_question_mark() -> None:
    """In an answer, which a table could not hold, and in the words of an error."""
    with asked(lambda request: Reply(said("cut \ud83d"))) as (con, _):
        assert con.execute("SELECT m(s) FROM t LIMIT 1").fetchone() == ("cut ?",)
    bad = Reply({"error": {"message": "bad \ud83d"}}, 400)
    with asked(lambda request: bad) as (con, _), pytest.raises(GenerationError, match=r"bad \?$"):
        con.execute("SELECT m(s, {'on_error': 'raise'}) FROM t LIMIT 1").fetchall()


def test_a_limit_that_is_too_large_changes_nothing_for_others() -> None:
    """Only a model that knows it by another name is asked by that name."""

    def answer(request: Request) -> Reply:
        if request.body.get("max_tokens", 0) > 4096:
            wrong = {"message": "at most 4096", "param": "max_tokens", "code": "invalid_value"}
            return Reply({"error": wrong}, 400)
        return Reply(said(str(request.body.get("max_tokens"))))

    with asked(answer) as (con, _):
        with pytest.warns(llmsql.LlmsqlWarning, match="at most 4096"):
            con.execute("SELECT m('a', {'max_tokens': 5000})").fetchall()
        assert con.execute("SELECT m('b', {'max_tokens': 10})").fetchone() == ("10",)


def test_what_stands_behind_the_address_goes_with_every_request() -> None:
    """Azure wants an api-version; no error shows it, as it may be a key."""

    def answer(request: Request) -> Reply:
        is_there = request.path.endswith("?api-version=1&key=sesame")
        path = request.path.partition("?")[0]
        if not is_there:
            return Reply({"error": {"message": "no version"}}, 400)
        if path.endswith("/models"):
            return Reply({"data": [{"id": "small"}]})
        if prompt(request) == "bad":
            return Reply({"error": {"message": f"cannot {request.path}"}}, 400)
        return Reply(said(path))

    with Server(answer) as server, deployed(f"{server.url}?api-version=1&key=sesame") as model:
        found, wrong = answers(model, "hi", "bad")
    assert found.text == "/v1/chat/completions"
    assert "sesame" not in str(wrong)


@pytest.mark.parametrize("status", [302, 401, 403, 500])
def test_a_place_that_was_guessed_need_not_be_the_servers(status: int) -> None:
    """Where /v1 lists no models, what the host says without it is nobody's refusal."""

    def answer(request: Request) -> Reply:
        if request.path == "/models":
            return Reply({"error": {"message": "who are you"}}, status)
        return echo(request) if request.body else Reply({"error": "no"}, 404)

    with Server(answer) as server, deployed(server.url) as model:
        assert (model.client.base, model.note) == (f"{server.url}/v1", "")


def test_a_server_that_asks_to_wait_is_there() -> None:
    """Deploying does not wait as long as that: it may answer when it is asked."""
    busy = Reply({"error": {"message": "loading"}}, 503, {"Retry-After": "15"})
    with Server(lambda request: echo(request) if request.body else busy) as server:
        started = time.monotonic()
        with deployed(server.url):
            assert time.monotonic() - started < 10
