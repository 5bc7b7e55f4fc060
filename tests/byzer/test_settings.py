"""`!byzerllm setup` and `!byzerllm model`: items C01 to C09 and O03 of the spec."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from llmsql import errors
from llmsql.backends import echo
from llmsql.config import ALIASES, WITHOUT_EFFECT, Settings
from tests import openai_api
from tests.installed import require
from tests.servers import Reply, Request, Server

DEPLOY = "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='{}' AND kind='{}'"
KEY = "sk-very-secret-0123456789"
BYZER_DEFAULTS = {
    "rayAddress": "127.0.0.1:10001",
    "pythonExec": "python",
    "dataMode": "model",
    "runIn": "driver",
    "num_gpus": "1",
    "standalone": "false",
    "maxConcurrency": "1",
    "masterMaxConcurrency": "1000",
    "schema": "file",
}


def settings(con: Any, text: str) -> dict[str, str]:
    """What a statement of `!byzerllm setup` returns, by key."""
    return dict(con.execute(f"!byzerllm setup {text}").fetchall())


def test_C01_setup_single_gives_the_settings_of_byzer_llm(con: Any) -> None:
    """Every key of Byzer-LLM's own list is returned with its default there."""
    assert settings(con, "single").items() >= BYZER_DEFAULTS.items()


@pytest.mark.parametrize("key", ["num_gpus", "confirm_calls", "record_prompts", "order_fields"])
def test_C01_an_empty_value_puts_a_setting_back(con: Any, key: str) -> None:
    """Also where nothing is no value of its type."""
    before = str(getattr(Settings, key))
    con.execute(
        f'!llm setup "{key}={"false" if before == "True" else "true" if before == "False" else 7}"'
    )
    assert settings(con, f'"{key}="')[key].lower() == before.lower()


def test_C01_setup_single_resets_everything_and_says_so(con: Any) -> None:
    """A setting that Byzer-LLM would have kept is put back as well, with a notice."""
    fresh = settings(con, "single")
    con.execute('!llm setup "num_gpus=4"')
    con.execute('!llm setup "on_error=raise"')
    with pytest.warns(errors.LlmsqlWarning, match="has no effect here"):
        con.execute('!llm setup "resource.master=0.01"')
    with pytest.warns(errors.LlmsqlWarning) as told:
        assert settings(con, "single") == fresh
    assert [str(w.message) for w in told] == [
        "every setting is back at its default, on_error, resource.master too"
    ]


@pytest.mark.parametrize("word", ["sft", "sfft"])
def test_C02_C03_setup_for_training_lets_it_run(con: Any, word: str) -> None:
    """Both are the defaults with runIn=executor, which training asks for."""
    con.execute('!llm setup "num_gpus=4"')
    assert settings(con, word) == {**settings(con, "single"), "runIn": "executor"}


def test_C04_setup_data_wants_no_gpu(con: Any) -> None:
    """The defaults with dataMode=data, without a GPU."""
    found = settings(con, "data")
    changed = {"dataMode": "data", "num_gpus": "0", "runIn": "executor"}
    assert found == {**settings(con, "single"), **changed}


def test_C05_setup_retrieval(con: Any) -> None:
    """The defaults with another address and schema, without a GPU."""
    found = settings(con, "retrieval")
    changed = {"rayAddress": "worker", "num_gpus": "0", "schema": "st(field(value,string))"}
    assert found == {**settings(con, "single"), **changed}


def test_C06_setup_retrieval_data_is_one_word_with_a_slash(con: Any) -> None:
    """What retrieval sets, and what data sets."""
    found = settings(con, "retrieval/data")
    assert found == {**settings(con, "retrieval"), "dataMode": "data", "runIn": "executor"}


@pytest.mark.parametrize("alias", ALIASES)
def test_C07_the_newer_spellings_set_the_same_setting(alias: str) -> None:
    """A key in the spelling of newer versions, in any letter case, is the same setting."""
    assert Settings().changed(f"{alias.upper()}", "2") == Settings().changed(ALIASES[alias], "2")
    assert Settings().changed(alias, "2") != Settings()


@pytest.mark.parametrize("key", sorted(WITHOUT_EFFECT))
def test_C07_plumbing_is_kept_and_said_to_do_nothing(con: Any, key: str) -> None:
    """A key of Ray's or Spark's is kept, so that scripts run, with a notice."""
    value = {"standalone": "true", "load_balance": "round_robin"}.get(key, "7")
    with pytest.warns(
        errors.LlmsqlWarning, match=f'^setting "{key}" is kept, but has no effect here$'
    ):
        assert con.execute(f'!llm setup "{key}={value}"').fetchall() == [(key, value)]
    assert (key, value) in con.settings.rows()


def test_C07_a_resource_is_accepted_with_a_notice(con: Any) -> None:
    """`resource.NAME` pins to a node of a cluster: there is none here, and that is said."""
    with pytest.warns(errors.LlmsqlWarning, match='^setting "resource.master" is kept, but'):
        rows = con.execute('!byzerllm setup "resource.master=0.01"').fetchall()
    assert rows == [("resource.master", "0.01")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("maxCocurrency=1", 'there is no setting "maxCocurrency"; did you mean "maxConcurrency"?'),
        ("resources.master=1", 'there is no setting "resources.master"; did you mean "resource.<name>"?'),
        ("resource.=1", 'there is no setting "resource."; did you mean "resource.<name>"?'),
        ("resource.gpu=many", 'setting "resource.gpu" takes a number, not "many"'),
        ("num_gpus=some", 'setting "num_gpus" takes a number, not "some"'),
        ("num_gpus=-1", 'setting "num_gpus" must not be negative, not -1'),
        ("maxConcurrency=0", 'setting "maxConcurrency" must be 1 or more, not 0'),
        ("load_balance=random", 'setting "load_balance" takes one of lru, round_robin, not "random"'),
        ("standalone=perhaps", 'setting "standalone" takes true or false, not "perhaps"'),
    ],
)  # fmt: skip
def test_C07_a_wrong_setting_is_refused(con: Any, text: str, message: str) -> None:
    """A key that is not known, or a value of another type, changes nothing."""
    before = con.settings
    with pytest.raises(errors.OptionError) as raised:
        con.execute(f'!byzerllm setup "{text}"')
    assert str(raised.value).splitlines()[0] == message
    assert con.settings == before


def test_C07_the_text_false_is_false(con: Any) -> None:
    """`standalone=false` does not mean true because it is a text."""
    with pytest.warns(errors.LlmsqlWarning):
        con.execute('!llm setup "standalone=true"')
        con.execute('!llm setup "standalone=false"')
    assert con.settings.standalone is False


def test_C08_model_remove_takes_model_and_function(con: Any) -> None:
    """Afterwards there is neither; removing it again is an error."""
    con.execute(DEPLOY.format("chat", "chat"))
    con.execute('!byzerllm model remove "chat"')
    with pytest.raises(errors.CatalogError, match='^there is no model "chat"'):
        con.execute('!byzerllm model remove "chat"')
    with pytest.raises(duckdb.Error, match='there is no model "chat"'):
        con.execute("SELECT chat('a')")


def test_C09_model_exists(con: Any) -> None:
    """One row with one column, `value`: true or false."""
    con.execute(DEPLOY.format("chat", "chat"))
    result = con.execute('!byzerllm model exists "chat"')
    assert [column[0] for column in result.description] == ["value"]
    assert result.fetchall() == [(True,)]
    assert con.execute('!byzerllm model exists "other"').fetchall() == [(False,)]


@pytest.mark.parametrize(
    ("kind", "answer"),
    [("chat", "Hello"), ("emb", "a vector of 8 numbers"), ("rerank", "a score of 1")],
)
def test_C09_model_check_asks_one_tiny_thing(con: Any, kind: str, answer: str) -> None:
    """Each kind of model is asked what it is there for, whether or not it knows the answer."""
    con.execute(DEPLOY.format("m", kind) + " AND delay='0.05'")
    for _ in range(2):
        ((name, shown, ok, seconds, said),) = con.execute("!llm model check m").fetchall()
        assert (name, shown, ok, said) == ("m", kind, True, answer)
        assert seconds >= 0.05


def test_C09_model_check_raises_the_reason(con: Any) -> None:
    """A model that cannot answer raises what it would raise in a query."""
    con.execute(DEPLOY.format("model", "chat") + " AND fail_on='Hello'")
    with pytest.raises(errors.GenerationError, match="^told to fail on 'Hello'$"):
        con.execute("!llm model check model")
    with pytest.raises(
        errors.CatalogError, match='^there is no model "modle"; did you mean "model"'
    ):
        con.execute("!llm model check modle")


def test_C09_model_check_does_not_show_the_key(con: Any) -> None:
    """A server that repeats the key in its refusal does not bring it into the message."""
    require("aiohttp")

    def answer(request: Request) -> Reply:
        if request.path.endswith("chat/completions"):
            return Reply({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 401)
        return openai_api.answer(request)

    with Server(answer) as server:
        con.execute(
            "RUN command AS LLM WHERE pretrainedModelType='saas/openai' AND udfName='m'"
            f" AND saas.base_url='{server.url}/v1' AND saas.api_key='{KEY}'"
        )
        with pytest.raises(errors.BackendError, match="401") as raised:
            con.execute("!llm model check m")
        con.execute("!llm model remove m")
    assert KEY not in str(raised.value)
    assert "saas.api_key" in str(raised.value)


def test_O03_model_stat_shows_workers_and_answers(con: Any) -> None:
    """What each model is doing and knows; one alone where it is named."""
    con.execute(DEPLOY.format("a", "chat"))
    con.execute(DEPLOY.format("b", "emb"))
    con.execute("SELECT a('x' || i) FROM range(5) r(i)").fetchall()
    result = con.execute("!llm model stat a")
    names = [column[0] for column in result.description]
    (row,) = result.fetchall()
    found = dict(zip(names, row, strict=True))
    assert {key: found[key] for key in ("name", "known_answers", "device")} == {
        "name": "a",
        "known_answers": 5,
        "device": "cpu",
    }
    workers = [found[f"{word}_workers"] for word in ("total", "busy", "idle")]
    assert workers == [1, 0, 1]
    assert [row[0] for row in con.execute("!llm model stat").fetchall()] == ["a", "b"]


def test_O03_model_stat_counts_requests(con: Any) -> None:
    """What was answered and what failed, each once, in all statements together."""
    con.execute(DEPLOY.format("a", "chat") + " AND fail_on='3'")
    for _ in range(2):
        with pytest.warns(errors.LlmsqlWarning, match="model calls failed"):
            con.execute("SELECT a('x' || i) FROM range(5) r(i)").fetchall()
    result = con.execute("!llm model stat a")
    names = [column[0] for column in result.description]
    found = dict(zip(names, result.fetchall()[0], strict=True))
    assert (found["requests"], found["failed"]) == (4, 2)


def test_O03_model_stat_sees_a_busy_model(con: Any) -> None:
    """While a statement waits for the model, its worker is busy."""
    con.execute(DEPLOY.format("a", "chat") + " AND delay='0.2'")
    asking = threading.Thread(
        target=lambda: con.cursor().execute("SELECT a('x' || i) FROM range(5) r(i)").fetchall()
    )
    asking.start()
    until = time.monotonic() + 30
    busy = 0
    while not busy and time.monotonic() < until:
        ((busy, idle),) = [row[2:4] for row in con.execute("!llm model stat a").fetchall()]
    asking.join()
    assert (busy, idle) == (1, 0)


def loads(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> list[str]:
    """Let *work* run before each loading of an echo model; returns the list of loaded names."""
    loaded: list[str] = []
    original = echo.Backend.load

    def load(self: Any, spec: Any) -> Any:
        work()
        loaded.append(spec.name)
        return original(self, spec)

    monkeypatch.setattr(echo.Backend, "load", load)
    return loaded


def test_C09_model_reload_loads_while_the_old_one_serves(
    con: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old model answers until the new one is there; afterwards the new one does."""
    con.execute(DEPLOY.format("m", "chat"))
    old = con.engine.deployments.get("m").model
    meanwhile = []
    loaded = loads(
        monkeypatch,
        lambda: meanwhile.extend(con.cursor().execute("SELECT m('meanwhile')").fetchall()),
    )
    con.execute("!llm model reload m")
    assert (loaded, meanwhile) == (["m"], [("meanwhile",)])
    assert con.engine.deployments.get("m").model is not old
    assert con.execute("SELECT m('after')").fetchall() == [("after",)]


def test_C09_a_failed_reload_leaves_the_old_one(con: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is raised, and the model answers as before."""
    con.execute(DEPLOY.format("m", "chat"))

    def fail() -> None:
        raise errors.BackendError("no luck today")

    loads(monkeypatch, fail)
    with pytest.raises(errors.BackendError, match="^no luck today$"):
        con.execute("!llm model reload m")
    assert con.execute("SELECT m('still')").fetchall() == [("still",)]
