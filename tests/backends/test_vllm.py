"""SmolLM2 on vLLM, as the contract's tests use it: its answers, and what else it is asked.

`make test-engines` runs these and the other files of vLLM, in an environment that has it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from llmsql import sources
from llmsql.backends.vllm import Sampling
from llmsql.errors import BackendError, GenerationError
from llmsql.types import Completion, Message, Prompt
from tests.installed import require

from .conftest import VLLM, Models
from .vllm_answers import CITIES, answers

require(*VLLM)
import psutil  # noqa: E402  # comes with vLLM

pytestmark = [pytest.mark.models, pytest.mark.xdist_group("vllm")]

GREEDY = """
import json, os, sys
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
path, dtype, asked = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
import vllm
llm = vllm.LLM(path, dtype=dtype, enforce_eager=True, kv_cache_memory_bytes=1 << 29, max_model_len=2048)
taken = vllm.SamplingParams(temperature=0, max_tokens=16)
answered = llm.chat(asked, taken, use_tqdm=False)
found = [(a.outputs[0].text, a.outputs[0].finish_reason, len(a.prompt_token_ids)) for a in answered]
print("FOUND" + json.dumps(found))
"""


@pytest.fixture
def chat(model: Models) -> Any:
    """SmolLM2 on vLLM."""
    return model("vllm")


def test_greedy_answers_are_those_of_vllm(chat: Any) -> None:
    """Text, end and tokens are those of vllm.LLM.chat, with a system prompt and with a history."""
    from llmsql.torch_models import conversion

    turns = [("user", "I live in Oslo."), ("assistant", "A fine town.")]
    prompts = [Prompt(text, Sampling(max_tokens=16)) for text in CITIES]
    prompts.append(Prompt("Where do I live?", Sampling(max_tokens=16, system="Say one word.")))
    prompts.append(
        Prompt("And?", Sampling(max_tokens=16), history=tuple(Message(*turn) for turn in turns))
    )
    asked = [
        [("system", prompt.sampling.system)] * bool(prompt.sampling.system)
        + [(message.role, message.content) for message in prompt.history]
        + [("user", prompt.text)]
        for prompt in prompts
    ]
    said = json.dumps([[{"role": r, "content": c} for r, c in messages] for messages in asked])
    path = conversion.plain(sources.locate("smollm2"))
    done = subprocess.run(
        [sys.executable, "-c", GREEDY, path, chat.meta()["dtype"], said],
        capture_output=True,
        text=True,
    )
    assert "FOUND" in done.stdout, done.stderr[-3000:]
    bare_found = json.loads(done.stdout.partition("FOUND")[2])
    found = dict(chat.generate(prompts))
    ours = [found[index] for index in range(len(prompts))]
    assert [[o.text, o.finish_reason, o.usage.input_tokens] for o in ours] == bare_found
    assert chat.count_tokens(prompts) == [count for _, _, count in bare_found]


def test_a_stop_ends_an_answer(chat: Any) -> None:
    """A text, and a special token, given as stops end the answer and are no part of it."""
    (free,) = answers(chat, CITIES[:1], max_tokens=16)
    stop = free.text[5:8]
    (cut,) = answers(chat, CITIES[:1], max_tokens=16, stop=(stop,))
    assert (cut.text, cut.finish_reason) == (free.text.split(stop)[0], "stop")


def test_max_tokens_cuts(chat: Any) -> None:
    """An answer that is cut says so, and counts its tokens."""
    (cut,) = answers(chat, CITIES[:1], max_tokens=3)
    assert (cut.finish_reason, cut.usage.output_tokens) == ("length", 3)


def test_a_seed_repeats_a_draw(chat: Any) -> None:
    """The same seed draws the same answer, and another one another."""
    sampled = [
        answers(chat, CITIES[:1], temperature=1.5, seed=seed, max_tokens=12)[0].text
        for seed in (1, 1, 2)
    ]
    assert sampled[0] == sampled[1] != sampled[2]


def test_a_prompt_beyond_the_context_fails_alone(chat: Any) -> None:
    """A prompt that is too long is an error of its row, and counts no tokens."""
    prompts = [Prompt(text, Sampling(max_tokens=2)) for text in ("word " * 3000, "Hello")]
    found = dict(chat.generate(prompts))
    assert isinstance(found[0], GenerationError)
    assert str(found[0]).startswith("the prompt has ")
    assert ", the model takes fewer than 2048\n" in str(found[0])
    assert isinstance(found[1], Completion)
    assert chat.count_tokens(prompts)[0] == 0


def test_the_first_to_end_comes_first(chat: Any) -> None:
    """An answer is handed out when it ends, not when the last one does."""
    prompts = [Prompt(CITIES[0], Sampling(max_tokens=n, ignore_eos=True)) for n in (40, 1, 20)]
    assert [index for index, _ in chat.generate(prompts)] == [1, 2, 0]


def test_closing_gives_the_rest_up(chat: Any) -> None:
    """What is left of a closed batch runs no longer: its process does nothing."""
    sampling = Sampling(max_tokens=1900, ignore_eos=True)
    short = Prompt(CITIES[0], Sampling(max_tokens=1))
    running = chat.generate([short, *(Prompt(text, sampling) for text in CITIES)])
    next(running)
    running.close()
    assert chat.process.ask("count_tokens", []) == []  # it has taken the call before this one
    process = psutil.Process(chat.process.pid)
    before = sum(process.cpu_times()[:2])
    answers(chat, CITIES[:1], max_tokens=1)
    # 1,900 tokens of four prompts would take a hundred times as long.
    assert sum(process.cpu_times()[:2]) - before < 10


def test_two_threads_may_ask(chat: Any) -> None:
    """Tokens are counted while a batch runs."""
    running = chat.generate([Prompt(text, Sampling(max_tokens=30)) for text in CITIES])
    next(running)
    assert chat.count_tokens([Prompt("a", Sampling())])[0] > 1
    assert len(list(running)) == len(CITIES) - 1


def test_a_form_binds_the_answer(chat: Any) -> None:
    """One of a choice, and JSON of a schema, whatever the model would have said."""
    (one,) = answers(chat, CITIES[:1], choice=("blue", "green"), max_tokens=8)
    assert one.text in ("blue", "green")
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}
    (made,) = answers(chat, CITIES[:1], json_schema=json.dumps(schema), max_tokens=40)
    assert json.loads(made.text)["n"] in (1, 2)


def test_log_probabilities_are_told_on_request(chat: Any) -> None:
    """With logprobs an answer has the sum of its tokens'; without, None."""
    free, told = (answers(chat, CITIES[:1], max_tokens=4, logprobs=n)[0] for n in (None, 0))
    assert free.prob is None
    assert told.prob is not None
    assert told.prob < 0


def test_tokens_and_template_are_the_models(chat: Any) -> None:
    """The model shows its tokens, and how it reads a conversation."""
    assert chat.apply_chat_template([Message("user", "Hi")]).endswith("<|im_start|>assistant\n")
    assert chat.tokenize(["a b"]) == [chat.tokenize(["a"])[0] + chat.tokenize([" b"])[0]]
    assert chat.meta()["max_model_len"] == 2048
    with pytest.raises(BackendError, match="^this model was deployed for chat, not for emb$"):
        chat.embed(["a"])
