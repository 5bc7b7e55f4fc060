"""Replicas of echo in real processes: shared work, and what happens when one dies."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmsql import backends, replicas
from llmsql.errors import BackendError, GenerationError
from llmsql.replicas.replica import Replica
from llmsql.replicas.replicated import Replicated
from llmsql.types import Kind, Message, ModelSpec, Prompt, Sampling, bare

Load = Callable[..., Replicated]


@pytest.fixture
def load() -> Iterator[Load]:
    """Load echo twice, or as often as is said."""
    loaded: list[Replicated] = []

    def load(*, count: int = 2, kind: Kind = "chat", least: int = 4, **options: Any) -> Replicated:
        engine = backends.get("echo")
        spec = ModelSpec(
            name="m", kind=kind, backend="echo", replicas=count, concurrency=least,
            options=engine.options(**options),
        )  # fmt: skip
        model = replicas.load(spec, engine)
        assert isinstance(model, Replicated)
        loaded.append(model)
        return model

    yield load
    for model in loaded:
        model.unload()


def prompts(*texts: str) -> list[Prompt]:
    return [Prompt(text, Sampling()) for text in texts]


def rows(count: int) -> list[Prompt]:
    return prompts(*(f"row {i}" for i in range(count)))


def texts(answered: Iterator[tuple[int, Any]]) -> dict[int, str]:
    return {index: answer.text for index, answer in answered}


def kill(pid: int) -> None:
    """Kill -9 the process *pid*, and wait until it is gone."""
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert gone(handle)


def gone(handle: int) -> bool:
    """Wait for the end of the process of *handle*; False after a minute."""
    ready, _, _ = select.select([handle], [], [], 60)
    os.close(handle)
    return bool(ready)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_all_replicas_work(load: Load) -> None:
    """Each of three answers some of a set, and every input is asked once."""
    answered = dict(load(count=3, delay=0.002).generate(rows(60)))
    assert {i: a.text for i, a in answered.items()} == {i: f"row {i}" for i in range(60)}
    assert {a.replica for a in answered.values()} == {0, 1, 2}


def test_a_vector_and_a_score_tell_their_replica(load: Load) -> None:
    """Both kinds are shared as well, and are what one model alone says."""
    one = backends.get("echo").load(ModelSpec(name="m", kind="emb", backend="echo"))
    model = load(kind="emb", delay=0.002)
    vectors = dict(model.embed(["a", "b"] * 20))
    assert {vector.replica for vector in vectors.values()} == {0, 1}
    assert all((bare(vectors[i]) == bare(dict(one.embed(["a"]))[0])).all() for i in (0, 38))
    scores = dict(load(kind="rerank").rerank([("a b", "b c")] * 20))
    assert [bare(score) for score in scores.values()] == [0.5] * 20


def test_what_one_can_tell_one_is_asked(load: Load) -> None:
    """Tokens, template and what the model says of itself come from a replica."""
    model = load(kind="emb")
    assert model.count_tokens(["one two", ""]) == [2, 0]
    assert [len(tokens) for tokens in model.tokenize(["one two", "a"])] == [2, 1]
    assert model.apply_chat_template([Message("user", "Hi")]) == "user: Hi\nassistant: "
    assert model.meta()["architectures"] == ["Echo"]
    assert (model.device, model.dimension, model.note) == ("cpu", 8, "")


def test_a_replica_killed_in_mid_batch(load: Load) -> None:
    """Kill -9 while it works: another takes its place, and every input is answered."""
    model = load(delay=0.02)
    before = model.pids
    running = iter(model.generate(rows(80)))
    index, first = next(running)
    kill(model.pids[0])
    rest = texts(running)
    assert {index: first.text} | rest == {i: f"row {i}" for i in range(80)}
    assert model.pids[0] != before[0]
    assert model.pids[1] == before[1]


def test_all_replicas_killed_in_mid_batch(load: Load) -> None:
    """Kill -9 all of them: every input is answered all the same."""
    model = load(delay=0.02)
    running = iter(model.generate(rows(60)))
    next(running)
    for pid in model.pids:
        kill(pid)
    assert len(texts(running)) == 59


def test_killed_while_nothing_is_asked(load: Load) -> None:
    """A death between two calls is found by the next one, whatever it asks."""
    model = load()
    for pid in model.pids:
        kill(pid)
    assert texts(model.generate(rows(20))) == {i: f"row {i}" for i in range(20)}
    kill(model.pids[0])
    assert model.count_tokens(rows(1)) == [2]


def test_an_input_that_kills_twice_fails_alone(load: Load, tmp_path: Path) -> None:
    """It is asked twice, its neighbours are answered, and its error says what happened."""
    journal = tmp_path / "journal"
    model = load(die_on="poison", journal=str(journal))
    answered = dict(model.generate([*rows(30), *prompts("poison"), *rows(30)]))
    failed = answered.pop(30)
    assert isinstance(failed, GenerationError)
    assert str(failed) == (
        'a process of model "m" ended twice on this input: killed by SIGKILL, as where memory runs '
        "out"
    )
    assert sorted(a.text for a in answered.values()) == sorted(p.text for p in rows(30) * 2)
    asked = [json.loads(line) for line in journal.read_text().splitlines()]
    assert asked.count("poison") == 2


def test_several_inputs_that_kill_fail_each_alone(load: Load) -> None:
    """Where others are answered, five that kill are five errors."""
    model = load(die_on="poison")
    mixed = [*rows(20), *prompts(*(f"poison {i}" for i in range(5))), *rows(20)]
    answered = dict(model.generate(mixed))
    failed = {i for i, answer in answered.items() if isinstance(answer, GenerationError)}
    assert failed == {20, 21, 22, 23, 24}
    assert len(answered) == 45


def test_one_that_only_dies_ends_the_statement(load: Load) -> None:
    """Three deaths in a row without an answer are enough: the error has its last words."""
    model = load(die_on="poison")
    with pytest.raises(BackendError) as error:
        list(model.generate(prompts(*(f"poison {i}" for i in range(40)))))
    assert str(error.value) == (
        'a process of model "m" ended: killed by SIGKILL, as where memory runs out\n'
        "  that was 3 times in a row without an answer between\n"
        "  free memory, or deploy a smaller model; what was answered is kept"
    )
    assert texts(model.generate(rows(3))) == {0: "row 0", 1: "row 1", 2: "row 2"}


def test_a_closed_batch_is_given_up(load: Load, tmp_path: Path) -> None:
    """What is left of a closed batch is not asked, and the next batch is answered."""
    journal = tmp_path / "journal"
    model = load(delay=0.01, journal=str(journal))
    running = iter(model.generate(rows(1_000)))
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert len(texts(model.generate(prompts("a", "b")))) == 2
    assert len(journal.read_text().splitlines()) < 100


def test_an_error_of_a_library_keeps_its_name(load: Load) -> None:
    """What a model raises in its process arrives under its own name, and ends the batch."""
    with pytest.raises(Exception, match="^broken by 'no'$") as error:
        list(load(break_on="no").generate(prompts("yes", "no")))
    assert type(error.value).__name__ == "RuntimeError"


def test_an_input_may_fail(load: Load) -> None:
    """The error of one input is no error of the others, nor of the replica."""
    answered = dict(load(fail_on="no").generate(prompts("yes", "no")))
    assert str(answered[1]) == "told to fail on 'no'"
    assert answered[0].text == "yes"


def test_unload_ends_the_processes(load: Load) -> None:
    """Unloading ends them all, also while they work; asking says so then."""
    model = load(delay=0.01)
    running = iter(model.generate(rows(500)))
    next(running)
    model.unload()
    assert not any(map(is_there, model.pids))
    with pytest.raises(BackendError, match="^this model was unloaded$"):
        list(running)
    with pytest.raises(BackendError, match="^this model was unloaded$"):
        list(model.generate(rows(1)))


@pytest.mark.parametrize("error", [KeyboardInterrupt, BackendError])
def test_where_one_cannot_be_loaded_none_stays(
    load: Load, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """An error of one replica, or Ctrl-C meanwhile, ends the processes of all."""
    made: list[Replica] = []
    settle = Replica.settle

    def settled(self: Replica) -> None:
        made.append(self)
        settle(self)
        if self.number == 1:
            raise error("no")

    monkeypatch.setattr(Replica, "settle", settled)
    with pytest.raises(error, match="^no$"):
        load()
    assert [replica.number for replica in made] == [0, 1]
    assert not any(is_there(replica.model.process.pid) for replica in made)
