"""What is sent to a server stays below the caps, by the tokens that the server counts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import llmsql
from llmsql.errors import LimitError
from llmsql.runtime.bound import FRAME, TURN, Bound
from tests.installed import require
from tests.servers import Reply, Request, Server

require("aiohttp", "tenacity")

Count = Callable[[str], int]
DEPLOY = (
    "RUN command AS LLM WHERE pretrainedModelType='saas/openai' AND udfName='{}'"
    " AND saas.model='{}' AND saas.base_url='{}/v1'"
)
PROMPTS = "SELECT chat(repeat('zebra quagga ', 24) || i{}) FROM range({}) t(i)"


class Counting:
    """A server that counts what it is sent with *tokens*, and writes so many as an answer.

    What it has counted for a prompt it *tells*, or not.
    """

    def __init__(
        self,
        tokens: Count,
        written: int = 5,
        delay: float = 0.02,
        tells: Callable[[str], bool] = bool,
    ) -> None:
        self.tokens = tokens
        self.tells = tells
        self.delay = delay
        self.written = written
        self.read = self.wrote = 0

    def __call__(self, request: Request) -> Reply:
        if not request.body:
            return Reply({"object": "list", "data": [{"id": "m"}, {"id": "embed"}]})
        if "input" in request.body:
            return self._vectors(request.body["input"])
        read = sum(self.tokens(message["content"]) for message in request.body["messages"])
        wrote = min(self.written, request.body["max_tokens"])
        self.read, self.wrote = self.read + read, self.wrote + wrote
        message = {"role": "assistant", "content": "word " * wrote}
        usage = {"prompt_tokens": read, "completion_tokens": wrote}
        choice = {"message": message, "finish_reason": "stop"}
        told = {"usage": usage} if self.tells(request.body["messages"][-1]["content"]) else {}
        return Reply({"choices": [choice]} | told, delay=self.delay)

    def _vectors(self, texts: list[str]) -> Reply:
        read = sum(map(self.tokens, texts))
        self.read += read
        data = [{"index": i, "embedding": [1.0, 2.0]} for i in range(len(texts))]
        return Reply({"data": data, "usage": {"prompt_tokens": read}})


@contextmanager
def asking(counting: Counting, *settings: str, model: str = "m", also: str = "") -> Iterator[Any]:
    """A connection under *settings* whose model is behind *counting*."""
    with Server(counting) as server, llmsql.connect() as con:
        con.url = server.url
        con.execute(DEPLOY.format("chat", model, server.url) + also)
        for setting in settings:
            con.execute(f'!llm setup "{setting}"')
        yield con


def test_what_is_in_flight_does_not_pass_a_cap_on_what_is_read() -> None:
    """Here the server counts twice what we expect: nine prompts of 156 tokens each."""
    counting = Counting(lambda text: len(text) // 2)
    with asking(counting, "max_input_tokens=1000") as con:
        with pytest.raises(LimitError) as caught:
            con.execute(PROMPTS.format("", 9))
        assert counting.read == 936
        assert str(caught.value) == (
            "up to 594 more input tokens would be needed, and max_input_tokens is 1000, of which "
            '936 are spent\n  nothing more was asked; !llm setup "max_input_tokens=1530" allows it'
        )
        (note,) = caught.value.__notes__
        assert note.startswith("6 answers are kept")
        con.execute('!llm setup "max_input_tokens=1530"')
        con.execute(PROMPTS.format("", 9))
    assert counting.read == 9 * 156


@pytest.mark.parametrize(
    "tokens",
    [
        lambda text: len(text.encode()) + 20,
        lambda text: len(text.encode()) // 4 + 60,
        lambda text: len(text.split()),
        lambda text: 1 + len(text) * (2 + len(text) % 3) // 8,
    ],
    ids=["a byte a token", "with a system prompt", "words", "unevenly"],
)
@pytest.mark.parametrize("cap", [100, 1_000, 3_000])
def test_no_cap_is_passed_whatever_a_server_counts(tokens: Count, cap: int) -> None:
    """Prompts of different lengths, of which some fit."""
    counting = Counting(tokens)
    with asking(counting, f"max_input_tokens={cap}") as con:
        for step in (3, 11, 1):
            counting.read = 0
            sql = f"SELECT chat(repeat('x1 ', (i * {step}) % 40) || i || '-{step}') FROM range(30) t(i)"
            with suppress(LimitError):
                con.execute(sql)
            assert counting.read <= cap


def test_a_cap_that_suffices_lets_all_through() -> None:
    """Once the server has told what it counts, a cap a little above the need is enough."""
    counting = Counting(lambda text: len(text) // 4 + 7)
    with asking(counting, "max_input_tokens=1900") as con:
        con.execute(PROMPTS.format("", 20))
    assert counting.read == 1700


def test_far_from_the_cap_all_is_asked_at_once() -> None:
    """As without one."""
    counting = Counting(lambda text: len(text) // 4)
    with Server(counting) as server, llmsql.connect() as con:
        con.execute(DEPLOY.format("chat", "m", server.url))
        con.execute('!llm setup "max_input_tokens=100000"; !llm setup "max_output_tokens=100000"')
        con.execute(PROMPTS.format("", 30))
        assert server.most_at_once > 15


def test_an_answer_may_be_as_long_as_max_tokens() -> None:
    """What was written before is no promise: of each call in flight the most is reserved."""
    counting = Counting(len, written=2)
    with asking(counting) as con:
        con.execute(PROMPTS.format(", {max_tokens: 50}", 5))
        counting.written, counting.wrote = 50, 0
        con.execute('!llm setup "max_output_tokens=210"')
        with pytest.raises(LimitError) as caught:
            con.execute(PROMPTS.format(", {max_tokens: 50}", 25).replace("zebra", "okapi"))
        assert str(caught.value) == (
            "up to 1050 more output tokens would be needed, and max_output_tokens is 210, of which "
            '200 are spent\n  nothing more was asked; !llm setup "max_output_tokens=1250" allows '
            "it, and a lower max_tokens needs less"
        )
    assert counting.wrote == 200


def test_money_is_reserved_as_well() -> None:
    """At the worst price of what is in flight."""
    counting, prices = Counting(len, written=1), " AND price_input='0' AND price_output='1000000'"
    with asking(counting, "max_cost=99", also=prices) as con:
        con.execute(PROMPTS.format(", {max_tokens: 20}", 2))
        counting.written, counting.wrote = 20, 0
        with pytest.raises(LimitError, match="^up to .* more of cost would be needed"):
            con.execute(PROMPTS.format(", {max_tokens: 20}", 12).replace("zebra", "okapi"))
    assert counting.wrote == 80


def test_a_request_has_its_own_max_tokens() -> None:
    """What `llm_param` asks counts with the length that it allows."""
    counting = Counting(len, written=300)
    ask = "SELECT chat(llm_param(MAP {'instruction': 'a ' || i, 'max_length': '40'})) FROM range(9) t(i)"
    with asking(counting) as con:
        counting.written = 1
        con.execute(ask.replace("a '", "b '"))
        counting.written, counting.wrote = 300, 0
        con.execute('!llm setup "max_output_tokens=100"')
        with pytest.raises(LimitError, match="of which 80 are spent"):
            con.execute(ask)
    assert counting.wrote == 80


def test_texts_of_an_embedding_model_are_bounded_alike() -> None:
    """However many share a request."""
    counting = Counting(lambda text: 3 * len(text) // 4)
    with asking(counting, "max_input_tokens=2000", model="embed") as con:
        counting.read = 0
        with pytest.raises(LimitError, match="^up to "):
            con.execute("SELECT chat(repeat('word ', 16) || i) FROM range(60) t(i)")
    assert 1500 < counting.read <= 2000


def test_cursors_that_share_a_total_do_not_pass_it_together() -> None:
    """Each waits for what the other has in flight, and neither is refused too early."""
    counting = Counting(lambda text: len(text) // 2, delay=0.5)
    refused: list[LimitError] = []

    def ask(con: Any, model: str) -> None:
        try:
            con.execute(PROMPTS.format("", 8).replace("chat", model))
        except LimitError as error:
            refused.append(error)

    with asking(counting, "total_max_input_tokens=2200") as con:
        con.execute(DEPLOY.format("talk", "m", con.url))
        models = ("chat", "talk")
        both = [threading.Thread(target=ask, args=(con.cursor(), model)) for model in models]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    assert 1500 < counting.read <= 2200
    assert refused


def test_a_model_that_is_not_loaded_yet_is_counted_by_its_own_tokenizer(database: str) -> None:
    """A cap that its texts just fit into refuses nothing after a database was opened again."""
    with llmsql.connect(database) as con:
        con.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'")
    with llmsql.connect(database) as con:
        con.execute('!llm setup "max_input_tokens=300"')
        con.execute(PROMPTS.format("", 5))


def test_a_text_is_bounded_by_its_bytes_until_something_is_known() -> None:
    """No tokenizer makes more of it; then by the densest that was seen."""
    bound, text = Bound(), "é" * 1_000
    assert bound.of([text]) == 2_000 + FRAME + TURN
    for _ in range(20):
        bound.learn([text], 400)
    assert 400 < bound.of([text]) < 500
    bound.learn([text], 900)
    assert 900 < bound.of([text]) < 1_100


def test_what_a_server_puts_around_a_text_is_learned() -> None:
    """Also where it is more than one expects, and where a text is shorter than all before."""
    bound = Bound()
    bound.learn(["word " * 100], 150)
    bound.learn(["Hi"], 250)
    assert bound.of(["No"]) >= 250
    assert Bound().of(["Hi"]) >= 20


def test_tokens_that_nobody_told_are_null_in_every_record() -> None:
    """And so is what they cost: not 0, and not what a cap counts for them."""
    counting = Counting(len, tells=lambda prompt: False)
    prices = " AND price_input='1' AND price_output='2'"
    with asking(counting, "max_cost=1", also=prices) as con:
        ((_, shown),) = con.execute(
            "EXPLAIN ANALYZE SELECT chat('a ' || i) FROM range(2) t(i)"
        ).fetchall()[-1:]
        for records in ("llm_statements", "llm_usage", "llm_calls"):
            cost = "NULL" if records == "llm_calls" else "cost"
            sql = f"SELECT DISTINCT input_tokens, output_tokens, {cost} FROM {records}()"
            assert con.execute(sql).fetchall() == [(None, None, None)], records
        assert [line.split()[-4:] for line in shown.splitlines()[2:]] == [
            ["2", "NULL", "NULL", "NULL"]
        ] * 2


def test_an_answer_that_nobody_counted_is_not_expected_to_be_empty() -> None:
    """The next ones may be as long as they may, or are as long as those that were counted."""
    expected = "SELECT output_tokens, seconds > 0 FROM llm_estimates()"
    next_ones = "EXPLAIN SELECT chat('next ' || i) FROM range(10) t(i)"
    counting = Counting(len, written=7, tells=lambda prompt: "told" in prompt)
    with asking(counting) as con:
        con.execute("SELECT chat('a ' || i) FROM range(3) t(i)").fetchall()
        con.execute(next_ones)
        assert con.execute(expected).fetchall() == [(2_560, True)]
        con.execute('!llm setup next "max_output_tokens=1000"')
        with pytest.raises(LimitError, match="2560 more output tokens would be needed"):
            con.execute("SELECT chat('next ' || i) FROM range(10) t(i)").fetchall()
        con.execute("SELECT chat(s) FROM (VALUES ('told'), ('again')) t(s)").fetchall()
        con.execute(next_ones)
        assert con.execute(expected).fetchall() == [(70, True)]
        assert con.execute("SELECT calls, output_tokens FROM llm_usage()").fetchall() == [(5, 7)]
