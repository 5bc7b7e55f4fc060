"""Causal models through DeepSpeed: in this process, and split over two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmsql import backends, sources
from llmsql.backends import base
from llmsql.errors import BackendError, GenerationError, OptionError
from llmsql.types import Completion, Message, ModelSpec, Prompt, Sampling
from tests.installed import SMOLLM2, require

from .conftest import loaded, values

pytestmark = pytest.mark.models

require("deepspeed", *SMOLLM2)

Find = Callable[[str], base.Model]

QUESTIONS = [f"Write one sentence about the number {i}." + " Be brief." * (i % 3) for i in range(5)]
PAIRS = [("What is a cat?", "A cat is a small animal."), ("What is a cat?", "Trains are late.")]
ROOT = Path(__file__).parents[2]


def spec(**options: Any) -> ModelSpec:
    """SmolLM2 as it is deployed on DeepSpeed."""
    said = backends.get("deepspeed").options(**options)
    path = sources.locate("smollm2")
    return ModelSpec("m", "chat", "deepspeed", source="smollm2", path=path, options=said)


def answers(model: base.Model, **sampling: Any) -> list[Any]:
    """Return what *model* answers to `QUESTIONS`, in order."""
    prompts = [Prompt(text, Sampling(**{"max_tokens": 8, **sampling})) for text in QUESTIONS]
    answered = dict(model.generate(prompts))
    return [getattr(answered[index], "text", answered[index]) for index in range(len(prompts))]


def ranked(said: ModelSpec) -> Any:
    """Load *said* split over two processes on the CPU."""
    from llmsql.backends.deepspeed.ranks import Order, Ranked

    return Ranked(Order(said, said.path, None, said.options, 2, "cpu"))


@pytest.fixture(scope="module")
def two() -> Iterator[Any]:
    """SmolLM2 split over two processes: three heads for keys are five and four for queries."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # two processes that share the cores of one
    try:
        model = ranked(spec(dtype="float32"))
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    yield model
    model.unload()


def test_answers_are_those_of_transformers(model: Find) -> None:
    """A greedy answer, and a score, is the same through DeepSpeed's engine and without it."""
    assert answers(model("deepspeed")) == answers(model("transformers"))
    ours, theirs = (
        values(model(name).rerank(PAIRS)) for name in ("deepspeed rerank", "transformers rerank")
    )
    assert ours == pytest.approx(theirs, abs=1e-3)


def test_steps_go_through_the_engine(model: Find) -> None:
    """What runs a step is DeepSpeed's, around the model's own layers."""
    from deepspeed import InferenceEngine

    decoder = model("deepspeed").decoder  # type: ignore[attr-defined]
    assert isinstance(decoder.forward, InferenceEngine)
    assert decoder.forward.module is decoder.model


def test_positions_stay_in_32_bits() -> None:
    """DeepSpeed casts whole models; in 16 bits a position of some thousands is off by several."""
    import torch

    model: Any = backends.get("deepspeed").load(spec(dtype="bfloat16"))
    found = dict(model._ready().model.named_buffers())
    assert found
    assert {b.dtype for b in found.values() if b.is_floating_point()} == {torch.float32}
    model.unload()


def test_two_ranks_answer_as_one(two: Any, model: Find) -> None:
    """A model whose layers are split answers as it does whole, and scores and counts alike."""
    whole = loaded("transformers", "chat", "smollm2", dtype="float32")
    assert answers(two) == answers(whole)
    assert values(two.rerank(PAIRS)) == pytest.approx(values(whole.rerank(PAIRS)), abs=1e-3)
    prompts = [Prompt(text, Sampling()) for text in QUESTIONS]
    assert two.count_tokens(prompts) == whole.count_tokens(prompts)
    assert two.tokenize(["Größe"]) == whole.tokenize(["Größe"])
    turn = [Message("user", "Hi")]
    assert two.apply_chat_template(turn) == whole.apply_chat_template(turn)
    assert two.meta()["dtype"] == "float32"


def test_two_ranks_draw_alike(two: Any) -> None:
    """An answer that is drawn without a seed is drawn once, for all ranks; a seed repeats one."""
    assert len(set(answers(two, temperature=1.5))) > 1
    first = answers(two, temperature=1.5, seed=3)
    assert answers(two, temperature=1.5, seed=3) == first


def test_two_ranks_may_be_closed_half_way(two: Any) -> None:
    """After closing between two results all ranks take the next batch."""
    running = two.generate([Prompt(text, Sampling(max_tokens=9)) for text in QUESTIONS])
    next(running)
    running.close()
    assert len(answers(two)) == len(QUESTIONS)


def test_a_row_fails_alone_in_two_ranks(two: Any) -> None:
    """A prompt that is too long is an error of its row, whose neighbours are answered."""
    prompts = [Prompt(text, Sampling(max_tokens=2)) for text in ("word " * 9000, "Hello")]
    found = dict(two.generate(prompts))
    assert isinstance(found[0], GenerationError)
    assert isinstance(found[1], Completion)


def test_an_error_of_all_ranks_ends_none(two: Any) -> None:
    """What every rank refuses is raised, and the model goes on."""
    with pytest.raises(BackendError, match="TextInputSequence|text input"):
        two.tokenize(["\ud800"])
    assert len(answers(two)) == len(QUESTIONS)


def test_a_rank_that_is_killed_ends_the_model() -> None:
    """Without one of its ranks a model says so, does not hang, and leaves no process behind."""
    model = ranked(spec())
    pids = [rank.pid for rank in model.ranks]
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(BackendError) as error:
        answers(model)
    assert str(error.value) == (
        "a process of DeepSpeed's ended: killed by SIGKILL, as where memory runs out\n"
        "  !llm model reload NAME starts it again"
    )
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    with pytest.raises(BackendError, match="ended: killed by SIGKILL"):
        answers(model)
    model.unload()


def test_a_model_that_a_rank_cannot_load_says_why() -> None:
    """What goes wrong in a rank is said here, and leaves nothing behind."""
    with pytest.raises(BackendError, match='^there is no device "toaster"'):
        ranked(spec(device="toaster"))


_ALONE = """
import os, sys
before = dict(os.environ)
import torch
from llmsql import backends, sources
from llmsql.types import ModelSpec, Prompt, Sampling
torch.set_num_threads(1)
engine = backends.get("deepspeed")
path = sources.locate("smollm2")
spec = ModelSpec("m", "chat", "deepspeed", source="smollm2", path=path, options=engine.options())
model = engine.load(spec)
((_, found),) = model.generate([Prompt("Hi", Sampling(max_tokens=2))])
import deepspeed, logging
logging.getLogger("DeepSpeed").warning("a warning of DeepSpeed")
changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
assert not {name for name in changed if "TORCH" not in name}, changed
assert not torch.distributed.is_initialized()
model.unload()
"""


def test_the_process_stays_as_it_was() -> None:
    """Standard output is empty, the environment as before, and no group of processes is made."""
    done = subprocess.run(
        [sys.executable, "-c", _ALONE], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "a warning of DeepSpeed" in done.stderr


def test_more_gpus_than_there_are_are_refused() -> None:
    """`num_gpus` beyond the machine's is refused with both numbers before anything is loaded."""
    import torch

    count = torch.cuda.device_count()
    with pytest.raises(BackendError) as error:
        backends.get("deepspeed").load(replace(spec(), gpus=max(2, count + 1)))
    assert str(error.value).startswith(
        f"Larger num_gpus ({max(2, count + 1)}) than GPUs ({count})\n"
    )


def test_wrong_numbers_are_refused() -> None:
    """Options that cannot be are refused in our words, those of transformers' own as unknown."""
    options = backends.get("deepspeed").options
    with pytest.raises(OptionError, match="^batch_size must be 0 or more, not -1$"):
        options(batch_size=-1)
    with pytest.raises(OptionError, match="^context must be 2 or more, not 1$"):
        options(context=1)
    with pytest.raises(OptionError, match="^limit must be 1 or more, not 0$"):
        options(limit=0)


def test_the_backend_is_chosen_only_where_it_is_named() -> None:
    """A causal model goes to transformers, which needs one library less."""
    from llmsql.statements import fitting

    assert fitting.best("chat", "chat", None).backend.name != "deepspeed"
    for name in ("deepspeed", "ray/deepspeed", "DeepSpeed"):
        found = fitting.named(name, None)
        assert found and found.backend.name == "deepspeed"
