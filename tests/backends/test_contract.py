"""What every model does, whatever runs it: one battery for all of `conftest.CANDIDATES`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from llmsql import backends
from llmsql.backends import base
from llmsql.errors import GenerationError, OptionError
from llmsql.types import Completion, Prompt, Sampling, bare, read_options

from .conftest import CANDIDATES, Models, candidates

Find = Callable[[str], base.Model]

TEXTS = [
    "Name a colour and a town.",
    "Größe, naïve, Ωμέγα, Здравствуй, שלום, مرحبا, 你好, こんにちは",
    "astral 😀 𐍈 𠀀, private \ue000 \U000f0000 \U00100000, tags \U000e0041",
    "combined e\u0301, joined 👩\u200d👩\u200d👧, right to left \u202eabc",
    "nul \x00, bell \x07, return \r\n, line \u2028",
    "",
    " ",
]
LONG = "All work and no play makes Jack a dull boy. " * 2_300

chat = pytest.mark.parametrize("name", candidates("chat"))
emb = pytest.mark.parametrize("name", candidates("emb"))
rerank = pytest.mark.parametrize("name", candidates("rerank"))
every = pytest.mark.parametrize("name", candidates("chat", "emb", "rerank"))


def inputs(kind: str, texts: Sequence[str]) -> Sequence[Any]:
    """What a model of *kind* is given, made of *texts*."""
    if kind == "chat":
        return [Prompt(text, Sampling(max_tokens=4)) for text in texts]
    return texts if kind == "emb" else [("Name a colour.", text) for text in texts]


def raw(model: base.Model, kind: str, texts: Sequence[str]) -> Any:
    """Call the method of *kind* with inputs made of *texts*."""
    ask: Any = {"chat": model.generate, "emb": model.embed, "rerank": model.rerank}[kind]
    return ask(inputs(kind, texts))


def run(model: base.Model, kind: str, texts: Sequence[str]) -> Any:
    """Call the method of *kind*; vectors and scores come without what they cost."""
    return ((index, bare(result)) for index, result in raw(model, kind, texts))


def answer(model: base.Model, text: str, **sampling: Any) -> Completion:
    """Ask *model* one thing."""
    ((_, completion),) = model.generate([Prompt(text, Sampling(**sampling))])
    assert isinstance(completion, Completion), completion
    return completion


@every
def test_every_index_is_answered_once(model: Find, name: str) -> None:
    """Each input is answered exactly once, also where inputs are equal."""
    texts = ["one", "two two", "one", "three " * 30, "one"]
    answered = list(run(model(name), CANDIDATES[name].kind, texts))
    assert sorted(index for index, _ in answered) == list(range(len(texts)))
    assert not [result for _, result in answered if isinstance(result, GenerationError)]


@every
def test_an_empty_batch_has_no_answers(model: Find, name: str) -> None:
    """Nothing asked, nothing answered."""
    assert list(run(model(name), CANDIDATES[name].kind, [])) == []


@every
def test_every_text_is_taken(model: Find, name: str) -> None:
    """Every Unicode plane, control characters and the empty text are answered."""
    kind = CANDIDATES[name].kind
    answered = dict(run(model(name), kind, TEXTS))
    assert sorted(answered) == list(range(len(TEXTS)))
    wanted = {"chat": Completion, "emb": np.ndarray, "rerank": float}[kind]
    # An empty prompt may be more than a model can start from; that is an error of its row.
    failed = {index for index, result in answered.items() if not isinstance(result, wanted)}
    assert failed <= {TEXTS.index("")}


@every
def test_a_long_text_does_not_harm_its_neighbours(model: Find, name: str) -> None:
    """A text of 100 kB is answered or fails alone."""
    kind = CANDIDATES[name].kind
    answered = dict(run(model(name), kind, ["one", LONG, "two"]))
    assert sorted(answered) == [0, 1, 2]
    assert not isinstance(answered[0], GenerationError)
    assert not isinstance(answered[2], GenerationError)


@every
def test_a_batch_may_be_closed_half_way(model: Find, name: str) -> None:
    """After closing between two results the model answers the next batch."""
    kind = CANDIDATES[name].kind
    running = raw(model(name), kind, ["one", "two two", "three three three"])
    next(running)
    running.close()
    assert len(list(run(model(name), kind, ["one", "two"]))) == 2


@every
def test_a_batch_answers_like_its_rows(model: Find, name: str) -> None:
    """What a model says of an input does not depend on what is asked beside it."""
    kind = CANDIDATES[name].kind
    texts = ["The sky is blue.", "Seven trains left the town before noon.", "A"]
    together = dict(run(model(name), kind, texts))
    alone = {i: dict(run(model(name), kind, [text]))[0] for i, text in enumerate(texts)}
    for index in range(len(texts)):
        if kind == "chat":
            assert together[index].text == alone[index].text
        else:
            np.testing.assert_allclose(together[index], alone[index], rtol=0.02, atol=0.02)


@every
def test_tokens_are_counted_as_they_are_used(model: Find, name: str) -> None:
    """What a model counts before it is asked is what its usage says then."""
    kind = CANDIDATES[name].kind
    texts = ["one", "two two", "three " * 30, "one", "Größe 你好 😀", "x" * 3000]
    counted = model(name).count_tokens(inputs(kind, texts))
    answered = dict(raw(model(name), kind, texts))
    if counted is None:  # nobody but the engine or the server counts, and it does so afterwards
        short, long, again = (answered[index].usage.input_tokens for index in (0, 2, 3))
        assert short == again and (kind != "chat" or short < long)
        return
    assert [answered[index].usage.input_tokens for index in range(len(texts))] == counted
    assert model(name).count_tokens([]) == []


@chat
def test_max_tokens_cuts_and_says_so(model: Find, name: str) -> None:
    """An answer cut by max_tokens is a beginning of the whole one and ends by "length"."""
    prompt = "Count: one two three four five six seven eight nine ten eleven twelve"
    whole = answer(model(name), prompt, max_tokens=12)
    cut = answer(model(name), prompt, max_tokens=3)
    assert cut.finish_reason == "length"
    assert 0 < len(cut.text) < len(whole.text)
    assert whole.text.startswith(cut.text)


@chat
def test_a_stop_is_never_part_of_an_answer(model: Find, name: str) -> None:
    """An answer ends before the first of its stops, and nothing of the stop is left."""
    prompt = "Count: one two three four five six seven eight nine ten eleven twelve"
    free = answer(model(name), prompt, max_tokens=12).text
    middle = len(free) // 2
    for stop in (free[middle : middle + 1], free[middle : middle + 5], free[-3:]):
        stopped = answer(model(name), prompt, max_tokens=12, stop=(stop, "never said"))
        assert stopped.text == free.split(stop)[0]
        assert stopped.finish_reason == "stop"


@chat
def test_a_seed_does_not_see_its_neighbours(model: Find, name: str) -> None:
    """A seeded answer is the same alone, in a batch, and in another place of it."""
    seeded = Prompt("Invent a short name for a cat.", Sampling(1.0, seed=7, max_tokens=8))
    others = [Prompt(f"Say {i} words." * i, Sampling(1.0, max_tokens=2 * i)) for i in range(1, 5)]
    (alone,) = (result for _, result in model(name).generate([seeded]))
    first = dict(model(name).generate([seeded, *others]))[0]
    last = dict(model(name).generate([*others, seeded]))[len(others)]
    assert alone.text == first.text == last.text


@chat
def test_rows_of_one_batch_may_differ_in_sampling(model: Find, name: str) -> None:
    """Each row of a batch is drawn as it asks: the greedy one as if alone, the short one short."""
    prompt = "Count: one two three four five six seven eight nine ten eleven twelve"
    greedy = answer(model(name), prompt, max_tokens=10)
    mixed = [
        Prompt(prompt, Sampling(max_tokens=10)),
        Prompt(prompt, Sampling(max_tokens=2)),
        Prompt(prompt, Sampling(1.5, top_p=0.9, top_k=20, max_tokens=6)),
    ]
    answered = dict(model(name).generate(mixed))
    assert answered[0].text == greedy.text
    assert answered[1].finish_reason == "length"


@emb
def test_a_vector_has_the_dimension_of_its_model(model: Find, name: str) -> None:
    """Vectors are float32 and as long as the model says."""
    for _, vector in run(model(name), "emb", ["one", "two"]):
        assert vector.dtype == np.float32
        assert vector.shape == (model(name).dimension,)


@rerank
def test_a_score_is_a_number(model: Find, name: str) -> None:
    """Scores are finite, and differ between passages."""
    pairs = [("colour of the sky", "the colour of the sky is blue"), ("colour of the sky", "no")]
    scores = {index: bare(score) for index, score in model(name).rerank(pairs)}
    assert np.isfinite([scores[0], scores[1]]).all()
    assert scores[0] != scores[1]


@every
def test_unload_frees_a_model(model: Models, name: str) -> None:
    """A model can be unloaded once it has answered, and loaded again."""
    kind = CANDIDATES[name].kind
    assert len(list(run(model(name), kind, ["one"]))) == 1
    model.unload(name)
    assert len(list(run(model(name), kind, ["one"]))) == 1


@pytest.mark.parametrize("backend", sorted({c.backend for c in CANDIDATES.values()}))
def test_an_unknown_option_is_refused(backend: str) -> None:
    """An option that no backend knows is refused, and the nearest one named."""
    cls = backends.get(backend).options
    nearest = dataclasses.fields(cls)[0].name
    with pytest.raises(OptionError) as error:
        read_options(cls, {nearest + "x": 1}, owner=f'backend "{backend}"', prefix="backend.")
    assert str(error.value).startswith(
        f'backend "{backend}" has no option "backend.{nearest}x"; did you mean "{nearest}"?\n'
    )
