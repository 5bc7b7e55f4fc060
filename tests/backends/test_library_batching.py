"""Transformers' own continuous batching: greedy rows go to it, and come out as they would of our loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmsql.backends.transformers import Sampling
from llmsql.errors import BackendError, GenerationError, LlmsqlWarning
from llmsql.types import Prompt
from tests.installed import require

from .causal_models import ARCHITECTURES, config, texts, tiny
from .conftest import loaded

pytestmark = pytest.mark.models

require("torch", "transformers", "tokenizers")

ASKED = [f"a common start, {'x' * (3 * i)}{i}" for i in range(10)]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A small random model."""
    values = {"num_key_value_heads": 2, "max_position_embeddings": 256}
    return str(tiny(tmp_path, config("LlamaConfig", **values)))


def model_of(path: str, wanted: str = "true", **options: Any) -> Any:
    """The model at *path* with *continuous_batching* as *wanted*, three rows side by side."""
    options = {"batch_size": 3, "dtype": "float32", "continuous_batching": wanted, **options}
    return loaded("transformers", "chat", path, **options)


def told(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The prompts that go to the library, set by set."""
    found: list[list[str]] = []
    answered = model.decoder._answered

    def noted(manager: Any, rows: Any) -> Any:
        found.append([model.wording.text(row.prompt) for row in rows])
        return answered(manager, rows)

    monkeypatch.setattr(model.decoder, "_answered", noted)
    return found


UNKNOWN = ("bloom", "mamba", "lfm2")
"""Whose states are no pages, or whose positions the library would get wrong in these."""


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in UNKNOWN])
def test_answers_are_the_same_either_way(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every architecture that the library takes."""
    class_name, values = ARCHITECTURES[name]
    path = str(tiny(tmp_path, config(class_name, **values)))
    ours, library = model_of(path, "false"), model_of(path)
    asked = told(library, monkeypatch)
    assert texts(library, ASKED, max_tokens=20) == texts(ours, ASKED, max_tokens=20)
    assert asked == [ASKED]


def test_a_stop_ends_a_row(path: str) -> None:
    """And nothing of it is left, whatever was written behind it."""
    ours, library = model_of(path, "false"), model_of(path)
    whole = texts(ours, ASKED, max_tokens=20)
    stops = tuple({text[9:10] for text in whole} - {""})
    found = texts(library, ASKED, max_tokens=20, stop=stops)
    assert found == texts(ours, ASKED, max_tokens=20, stop=stops) != whole


def test_rows_that_are_drawn_or_penalised_are_our_loops(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seeded row must not depend on its neighbours; the others of its set go to the library."""
    library, ours = model_of(path), model_of(path, "false")
    asked = told(library, monkeypatch)
    kinds = [{}, {"temperature": 1.0, "seed": 1}, {"repetition_penalty": 2.0}, {"min_tokens": 2}]
    prompts = [Prompt("abab", Sampling(max_tokens=6, **kind)) for kind in kinds]
    answers = [{at: said.text for at, said in each.generate(prompts)} for each in (library, ours)]
    assert answers[0] == answers[1]
    assert asked == [["abab"]]


def test_on_a_cpu_nothing_is_tried(path: str) -> None:
    """Where it is several times slower."""
    assert model_of(path, "auto").decoder.is_faster is False


@pytest.mark.parametrize("library_seconds, sets", [(1.0, 2), (3.0, 1)])
def test_elsewhere_the_first_large_set_tells(
    path: str, monkeypatch: pytest.MonkeyPatch, library_seconds: float, sets: int
) -> None:
    """As many rows as stand side by side go each way; the rest goes the faster one."""
    from llmsql.torch_models import library_batching

    model = model_of(path, "auto")
    expected = texts(model_of(path, "false"), ASKED * 2, max_tokens=5)
    model.decoder.is_faster = None  # as on a GPU
    asked, seconds = told(model, monkeypatch), iter([library_seconds, 2.0, library_seconds])

    def paced(rows: Any, *begun: float) -> Any:
        yield from rows
        return next(seconds)

    monkeypatch.setattr(library_batching, "_paced", paced)
    texts(model, ASKED, max_tokens=5)
    assert asked == []  # four times as many as stand side by side are worth a trial
    assert texts(model, ASKED * 2, max_tokens=5) == expected
    assert list(map(len, asked)) == [3, 14][:sets]
    assert model.decoder.is_faster is (sets == 2)


def test_where_the_library_fails_our_loop_goes_on(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of its rows: each is answered, the reason is told, and it is not tried again."""
    from transformers.generation.continuous_batching.continuous_api import ContinuousBatchProcessor

    ours, library = model_of(path, "false"), model_of(path)
    asked = told(library, monkeypatch)
    step, steps = ContinuousBatchProcessor.update_batch, iter(range(99))

    def broken(self: Any) -> None:
        if next(steps) == 8:
            raise RuntimeError("the card fell off the bus")
        step(self)

    monkeypatch.setattr(ContinuousBatchProcessor, "update_batch", broken)
    with pytest.warns(LlmsqlWarning, match="continuous batching failed, rows go on without it"):
        found = texts(library, ASKED, max_tokens=12)
    assert found == texts(ours, ASKED, max_tokens=12)
    assert texts(library, ASKED, max_tokens=3) == texts(ours, ASKED, max_tokens=3)
    assert len(asked) == 1


def test_an_answer_that_nobody_waits_for_ends(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library stops when a statement is given up, and the model answers the next."""
    model, managers = model_of(path), []
    answered = model.decoder._answered

    def noted(manager: Any, rows: Any) -> Any:
        managers.append(manager)
        return answered(manager, rows)

    monkeypatch.setattr(model.decoder, "_answered", noted)
    answers = model.generate([Prompt(text, Sampling(max_tokens=200)) for text in ASKED])
    next(answers)
    assert managers[0].is_running()
    answers.close()
    assert not managers[0].is_running()
    assert texts(model, ["b"], max_tokens=2) == texts(model_of(path, "false"), ["b"], max_tokens=2)


def test_numbers_that_overflow_are_an_error(path: str) -> None:
    """And no token that the library took for the best of them."""
    import torch

    model = model_of(path)
    with torch.no_grad():
        model._ready().model.lm_head.weight.fill_(torch.nan)
    ((_, found),) = model.generate([Prompt("a", Sampling())])
    assert isinstance(found, GenerationError)
    assert str(found).startswith("the model's numbers overflowed")


def test_a_prompt_longer_than_the_memory_is_answered(path: str) -> None:
    """Pages for one row there are always."""
    model = model_of(path)
    model.decoder.memory = 1
    assert texts(model, ASKED, max_tokens=9) == texts(model_of(path, "false"), ASKED, max_tokens=9)


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_architecture_that_the_library_gets_wrong_is_refused(tmp_path: Path, name: str) -> None:
    """Where it is asked for; otherwise our loop runs it."""
    class_name, values = ARCHITECTURES[name]
    path = str(tiny(tmp_path, config(class_name, **values)))
    with pytest.raises(BackendError) as refused:
        model_of(path)
    said = (
        f"transformers does not batch {class_name.removesuffix('Config')}ForCausalLM continuously"
    )
    assert str(refused.value) == f"{said}\n  leave out the option continuous_batching"
    assert model_of(path, "auto").decoder.is_faster is False


@pytest.mark.parametrize("when", ["warmup", "start"])
def test_where_the_library_cannot_begin_our_loop_answers(
    path: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """It has given the model another attention by then, which only a running one takes back."""
    import torch
    from transformers.generation.continuous_batching import continuous_api

    def full(self: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    ours, library = model_of(path, "false"), model_of(path)
    library._ready().model.set_attn_implementation("eager")
    monkeypatch.setattr(continuous_api.ContinuousBatchingManager, when, full)
    with pytest.warns(LlmsqlWarning, match="continuous batching failed"):
        found = texts(library, ASKED, max_tokens=5)
    assert found == texts(ours, ASKED, max_tokens=5)
    assert library._ready().model.config._attn_implementation == "eager"


def test_a_set_that_does_not_fill_the_places_is_our_loops(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the library was chosen for its speed: it takes its time to begin."""
    model = model_of(path, "auto")
    model.decoder.is_faster = True  # as it may be on a GPU
    asked = told(model, monkeypatch)
    texts(model, ASKED[:2], max_tokens=5)
    assert asked == []
    texts(model, ASKED[:3], max_tokens=5)
    assert asked == [ASKED[:3]]


def test_a_model_over_several_devices_is_not_the_librarys(path: str) -> None:
    """Its pages lie on one."""
    from llmsql.torch_models.library_batching import _is_batched

    model = model_of(path, "false")._ready().model
    assert _is_batched(model)
    model.hf_device_map = {"model": 0, "lm_head": 1}
    assert not _is_batched(model)
