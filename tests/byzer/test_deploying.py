"""Deploying as Byzer-LLM's scripts do: keys, model types, adapters, templates, files of keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import llmsql
from llmsql import backends, documentation, templates
from llmsql.config import Settings
from llmsql.errors import BackendError, LlmsqlWarning, OptionError
from llmsql.sources import families
from llmsql.statements.choice import Request
from llmsql.types import ModelSpec, Sampling, read_options
from tests import openai_api
from tests.installed import SMOLLM2, needs, require
from tests.servers import Server

pytestmark = pytest.mark.filterwarnings("ignore:1 of 1 answers were cut")

needs_torch = needs("torch", "transformers")
needs_sentences = needs("torch", "transformers", "sentence_transformers")

FILES = {
    "chat": {"architectures": ["LlamaForCausalLM"]},
    "emb": {"architectures": ["BertModel"], "vocab_size": 9},
    "rerank": {
        "architectures": ["XLMRobertaForSequenceClassification"],
        "id2label": {"0": "LABEL_0"},
    },
    "other": {"architectures": ["ChatGLMModel"], "padded_vocab_size": 9},
}


@pytest.fixture
def held(tmp_path: Path) -> dict[str, str]:
    """A directory for each kind of model, as far as config.json says it; "other" says nothing."""
    for name, config in FILES.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    return {name: str(tmp_path / name) for name in FILES}


def spec(settings: Settings | None = None, **pairs: str) -> ModelSpec:
    """What RUN would deploy for *pairs*, without loading it."""
    given = {"udfName": "m", **pairs}
    found, _ = Request.read(given, "", settings or Settings()).resolved()
    return found


def sampling(found: ModelSpec) -> Sampling:
    """What a call that says nothing has."""
    return read_options(backends.get(found.backend).sampling, found.defaults, owner="the model")


def run(con: Any, **pairs: str) -> list[tuple[Any, ...]]:
    """Deploy a model by the statement."""
    said = " and ".join(f'`{key}`="{value}"' for key, value in {"udfName": "m", **pairs}.items())
    return con.execute(f"run command as LLM.`` where {said};").fetchall()


# R01: the statement's keys


def test_R01_every_key_of_the_documents_is_accepted(con: Any) -> None:
    """
    The keys that only make sense on a cluster are accepted, and one warning names them all.
    """
    with pytest.warns(LlmsqlWarning) as said:
        rows = run(
            con,
            action="infer",
            pretrainedModelType="debug",
            reconnect="false",
            modelTable="command",
            localPathPrefix="/models/infer/jobs",
            devices="-1",
            modelWaitServerReadyTimeout="300",
            dataWaitServerReadyTimeout="300",
            debugMode="true",
            sourceSchema="st(field(content,string))",
            outputSchema="st(field(content,array(string)))",
        )
    assert [str(w.message) for w in said] == [
        'model "m": localPathPrefix, modelWaitServerReadyTimeout, dataWaitServerReadyTimeout, '
        "debugMode, sourceSchema, outputSchema have no effect here"
    ]
    assert rows[0][:3] == ("m", "chat", "echo")
    assert con.execute("SELECT m('hello')").fetchall() == [("hello",)]


def test_R01_keys_are_known_in_any_letter_case(con: Any) -> None:
    """A key's letter case does not matter, nor does `model` for `modelTable`."""
    rows = run(con, ACTION="infer", PRETRAINEDMODELTYPE="debug", MODEL="command")
    assert rows[0][:3] == ("m", "chat", "echo")


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("dealy", 'did you mean "delay"?'),
        ("localModelDirs", 'the statement itself has the key "localModelDir"'),
        ("temperature", 'what every call is to have is written "gen.temperature"'),
        ("max_new_tokens", 'what every call is to have is written "gen.max_new_tokens"'),
    ],
)
def test_R01_an_unknown_key_suggests_the_nearest(key: str, hint: str) -> None:
    """A key that nobody knows is an error that says what was probably meant."""
    with pytest.raises(OptionError) as error:
        spec(pretrainedModelType="debug", **{key: "1"})
    assert f'backend "echo" has no option "{key}"' in str(error.value)
    assert hint in str(error.value)


@needs_torch
def test_R01_devices_choose_the_cuda_device(held: dict[str, str]) -> None:
    """`devices` is the number of the CUDA device, -1 leaves it to the backend, `device` wins."""
    assert spec(localModelDir=held["chat"], devices="1").options.device == "cuda:1"
    assert spec(localModelDir=held["chat"], devices="-1").options.device == "auto"
    both = spec(localModelDir=held["chat"], devices="1", device="cpu")
    assert both.options.device == "cpu"


def test_R01_devices_are_one_number() -> None:
    """Several devices are refused with the key that means them."""
    with pytest.raises(OptionError) as error:
        spec(pretrainedModelType="debug", devices="0,1")
    assert str(error.value) == (
        'devices takes the number of one CUDA device, or -1, not "0,1"\n'
        "  num_gpus='2' spreads a model over two"
    )


def test_R01_a_device_means_nothing_to_a_backend_without_one() -> None:
    """A device is no error where there is none to choose, and said to do nothing."""
    with pytest.warns(LlmsqlWarning, match='^model "m": devices has no effect here$'):
        spec(pretrainedModelType="debug", devices="0")


@pytest.mark.parametrize("name", ["tensorrt", "ray/tensorrt"])
def test_R01_a_backend_that_is_not_there_is_named(name: str, held: dict[str, str]) -> None:
    """A demanded backend that does not exist is an error that lists those that do."""
    with pytest.raises(BackendError) as error:
        spec(localModelDir=held["chat"], infer_backend=name)
    assert f'there is no backend "{name.removeprefix("ray/")}"' in str(error.value)
    assert f"backends: {', '.join(backends.names())} (" in str(error.value)


@needs_torch
@pytest.mark.parametrize("name", ["transformers", "Transformers", "ray/transformers"])
def test_R01_a_backend_is_found_in_any_spelling(name: str, held: dict[str, str]) -> None:
    """Letter case and `ray/` do not matter for a backend's name."""
    assert spec(localModelDir=held["chat"], infer_backend=name).backend == "transformers"


@needs_sentences
def test_R01_the_sessions_backend_is_a_preference(held: dict[str, str]) -> None:
    """`infer_backend=transformers` for the session breaks no other kind of deployment."""
    session = Settings().changed("infer_backend", "transformers")
    assert spec(session, localModelDir=held["chat"]).backend == "transformers"
    assert spec(session, localModelDir=held["emb"]).backend == "sentence_transformers"
    assert spec(session, localModelDir=held["rerank"]).backend == "sentence_transformers"
    assert spec(session, localModelDir=held["emb"], kind="rerank").kind == "rerank"
    assert spec(session, pretrainedModelType="debug").backend == "echo"


@needs_sentences
def test_R01_a_backend_is_chosen_for_a_reason(held: dict[str, str]) -> None:
    """`!llm model list` shows it."""
    session = Settings().changed("infer_backend", "transformers")
    assert spec(session, localModelDir=held["chat"]).why == "the setting infer_backend"
    found = spec(localModelDir=held["chat"], infer_backend="transformers")
    assert found.why == "infer_backend"
    assert spec(pretrainedModelType="debug").why == "the type debug"
    found = spec(session, localModelDir=held["emb"])
    assert found.why.startswith("the first installed of ")
    assert found.why.endswith("sentence_transformers, vllm")


@needs_sentences
def test_R01_the_statements_backend_is_a_demand(held: dict[str, str]) -> None:
    """A backend that the statement names is used or refused, never replaced by another."""
    with pytest.raises(BackendError) as error:
        spec(
            localModelDir=held["emb"],
            pretrainedModelType="custom/bge",
            infer_backend="transformers",
        )
    assert str(error.value).startswith('backend "transformers" does not run models of kind emb')


@needs_sentences
def test_R01_a_session_backend_that_is_not_there_matters_only_to_chat(
    held: dict[str, str],
) -> None:
    """A script that sets one for the session can still deploy an embedding model."""
    session = Settings().changed("infer_backend", "ray/tensorrt")
    assert spec(session, localModelDir=held["emb"]).backend == "sentence_transformers"
    with pytest.raises(BackendError, match='there is no backend "tensorrt"'):
        spec(session, localModelDir=held["chat"])


# R02: SaaS


def test_R02_saas_keys_reach_the_server(con: Any) -> None:
    """A remote model takes its `saas.` keys whatever the session's backend is."""
    require("aiohttp", "tenacity")
    con.execute('!byzerllm setup "infer_backend=transformers";')
    with Server(openai_api.answer) as server:
        row = run(
            con,
            action="infer",
            pretrainedModelType="saas/openai",
            num_gpus="0",
            maxConcurrency="10",
            **{
                "saas.api_key": "k-0123",
                "saas.base_url": server.url,
                "saas.model": "echo",
                "gen.max_length": "2",
            },
        )
        assert row[0][:3] == ("m", "chat", "openai")
        assert con.execute("SELECT m('a b c')").fetchall() == [("a b",)]
        con.execute("!llm model remove m")
        (body,) = server.asked("/chat/completions")
        keys = {request.headers.get("authorization") for request in server.requests}
    assert body["model"] == "echo"
    assert keys == {"Bearer k-0123"}


# R03: adapters


@needs_torch
def test_R03_an_adapter_needs_its_model(tmp_path: Path) -> None:
    """An adapter whose model is not here says which one that is, and how to give another."""
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "some/base"}')
    with pytest.raises(BackendError) as error:
        spec(localModelDir=str(tmp_path))
    assert str(error.value) == (
        f'adapter "{tmp_path}" belongs to "some/base", which is not here\n'
        "  give that model: baseModelDir='…'"
    )
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(BackendError, match="does not say which model it belongs to"):
        spec(localModelDir=str(tmp_path))


@needs_torch
def test_R03_a_model_without_its_adapter_is_named(held: dict[str, str], tmp_path: Path) -> None:
    """`pretrained_model` beside nothing is no fine-tuned model."""
    Path(held["chat"]).rename(tmp_path / "pretrained_model")
    with pytest.raises(BackendError) as error:
        spec(localModelDir=str(tmp_path))
    assert str(error.value) == (
        f'directory "{tmp_path}" holds a model in pretrained_model, but no adapter: '
        "no adapter_config.json\n"
        f"  name {tmp_path / 'pretrained_model'} to deploy the model as it was"
    )


@needs_sentences
def test_R03_an_adapter_of_an_embedding_model_is_refused(
    held: dict[str, str], tmp_path: Path
) -> None:
    """A backend that cannot put an adapter on a model says so."""
    Path(held["emb"]).rename(tmp_path / "pretrained_model")
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(BackendError) as error:
        spec(localModelDir=str(tmp_path))
    assert str(error.value) == (
        f'"{tmp_path}" is an adapter, which backend "sentence_transformers" does not take\n'
        "  merge it into its model first, or set infer_backend='transformers'"
    )


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A random Llama, and a LoRA adapter for it that changes what it says."""
    require("torch", "transformers", "peft")
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from tests.backends import test_transformers as models

    folder = tmp_path_factory.mktemp("tuned")
    name, values = models.ARCHITECTURES["llama"]
    base = models.tiny(folder / "base", models.config(name, **values))
    plan = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    with warnings.catch_warnings():  # peft asks transformers by an older name
        warnings.simplefilter("ignore", FutureWarning)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), plan)
    torch.manual_seed(5)
    for parameter_name, weight in model.named_parameters():
        if "lora_" in parameter_name:
            weight.data.normal_(std=0.3)
    model.save_pretrained(folder / "adapter")
    return base, folder / "adapter"


def logits(model: Any) -> Any:
    """What *model* expects after a few bytes."""
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([[5, 80, 7, 200, 31]])).logits


@pytest.mark.models
def test_R03_an_adapter_answers_as_peft_does(tuned: tuple[Path, Path], con: Any) -> None:
    """A deployed adapter has the logits of peft's own model, and not those of its base."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base, adapter = tuned
    row = run(con, localModelDir=str(adapter), pretrainedModelType="custom/llama2", dtype="float32")
    assert row[0][:3] == ("m", "chat", "transformers")
    ours = logits(con.engine.deployments.get("m").model.decoder.model)
    plain = AutoModelForCausalLM.from_pretrained(base)
    before = logits(plain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs = logits(PeftModel.from_pretrained(plain, adapter).eval())
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours, before, atol=0.1)
    (said,) = con.execute("SELECT m('hello', {'max_tokens': 8})").fetchone()
    assert said


@pytest.mark.models
def test_R03_peft_is_asked_for_where_it_is_not_installed(
    tuned: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without peft an adapter is an error that says what to install."""
    found = spec(localModelDir=str(tuned[1]))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(BackendError) as error:
        backends.get(found.backend).load(found)
    assert str(error.value) == (
        f'"{tuned[1]}" is an adapter, which needs peft, not installed here\n'
        "  pip install 'duckdb-llmsql[transformers]'"
    )


@pytest.mark.models
@pytest.mark.parametrize("place", ["beside", "relative", "given"])
def test_R03_the_base_is_found(tuned: tuple[Path, Path], tmp_path: Path, place: str) -> None:
    """The model of an adapter is beside it, named relative to it, or given by the statement."""
    base, adapter = tuned
    final = tmp_path / "final"
    final.mkdir()
    for file in adapter.iterdir():
        if file.is_file():
            (final / file.name).write_bytes(file.read_bytes())
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "../base" if place == "relative" else "nobody/knows"
    (final / "adapter_config.json").write_text(json.dumps(config))
    where = {"beside": final / "pretrained_model", "relative": tmp_path / "base"}
    if place in where:
        where[place].symlink_to(base)
    given = {"baseModelDir": str(base)} if place == "given" else {}
    found = spec(localModelDir=str(final), **given)
    assert (found.kind, found.backend, found.path) == ("chat", "transformers", str(final))
    model = backends.get(found.backend).load(found)
    assert model.decoder.model.config.model_type == "llama"
    model.unload()


@pytest.mark.models
def test_R03_an_adapter_without_weights_is_named(tuned: tuple[Path, Path], tmp_path: Path) -> None:
    """An adapter is checked before anything heavy starts."""
    (tmp_path / "adapter_config.json").write_bytes((tuned[1] / "adapter_config.json").read_bytes())
    found = spec(localModelDir=str(tmp_path))
    with pytest.raises(BackendError) as error:
        backends.get(found.backend).load(found)
    assert str(error.value) == (
        f'adapter "{tmp_path}" has no weights\n'
        "  they are in adapter_model.safetensors or adapter_model.bin"
    )


# B01: generation parameters, and options of older scripts


@needs_torch
def test_B01_defaults_are_given_in_the_names_of_older_engines(held: dict[str, str]) -> None:
    """Each parameter of a generation is known under the name that scripts give it."""
    found = spec(
        localModelDir=held["chat"],
        **{
            "generation.max_new_tokens": "7",
            "gen.stopping_sequences": "a, b",
            "gen.repetition_penalty": "1.2",
            "gen.stop_token_ids": "1,2",
            "GEN.Temperature": "0.5",
        },
    )
    drawn: Any = sampling(found)
    assert (drawn.max_tokens, drawn.stop, drawn.temperature) == (7, ("a", "b"), 0.5)
    assert (drawn.repetition_penalty, drawn.stop_token_ids) == (1.2, (1, 2))


def test_B01_our_own_name_counts_before_another() -> None:
    """Where a parameter is given under two names, ours counts."""
    found = spec(pretrainedModelType="debug", **{"gen.max_tokens": "3", "gen.max_length": "4096"})
    assert sampling(found).max_tokens == 3


def test_B01_parameters_without_effect_are_named_once() -> None:
    """What has no meaning here is accepted, so that scripts run, and said."""
    with pytest.warns(LlmsqlWarning) as said:
        found = spec(
            pretrainedModelType="debug",
            use_cache="true",
            **{
                "backend.message_format": "true",
                "gen.early_stopping": "false",
                "generation.timeout_s": "300",
            },
        )
    assert [str(w.message) for w in said] == [
        'model "m": use_cache, backend.message_format, gen.early_stopping, gen.timeout_s '
        "have no effect here"
    ]
    assert found.defaults == {}


def test_B01_an_unknown_parameter_is_refused() -> None:
    """A default that no call could have is an error when the model is deployed."""
    with pytest.raises(OptionError) as error:
        spec(pretrainedModelType="debug", **{"gen.temprature": "1"})
    assert str(error.value).startswith(
        'model "m" has no option "gen.temprature"; did you mean "temperature"?'
    )


@needs_torch
def test_B01_quantization_is_read_in_both_spellings(held: dict[str, str]) -> None:
    """`quatization`, as the documents write it, means `quantization`."""
    given = ({"quatization": "4"}, {"quantization": "4"}, {"backend.quantization": "4"})
    assert [spec(localModelDir=held["chat"], **pair).options.bits for pair in given] == [4, 4, 4]


@needs_torch
def test_B01_foreign_code_stays_off_unless_asked_for(held: dict[str, str]) -> None:
    """A model's own code runs only where the statement says so."""
    trusted = spec(localModelDir=held["chat"], trust_remote_code="true")
    assert not spec(localModelDir=held["chat"]).options.trust_remote_code
    assert trusted.options.trust_remote_code


@pytest.mark.models
def test_B01_a_long_context_stretches_the_positions(tuned: tuple[Path, Path]) -> None:
    """`longContextMode` widens a rotary model to 16384 tokens by a larger base."""
    found = spec(localModelDir=str(tuned[0]), pretrainedModelType="llama", longContextMode="true")
    model = backends.get("transformers").load(found)
    config = model.decoder.model.config
    assert model.wording.context == config.max_position_embeddings == 16384
    size = config.hidden_size // config.num_attention_heads
    assert config.rope_parameters["rope_theta"] == pytest.approx(10000 * 8 ** (size / (size - 2)))
    model.unload()


# B05: model types


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [
        *[(f"custom/{n}", "chat") for n in "llama2 chatglm2 alpha_moss starcode zephyr".split()],
        *[(n, "chat") for n in "chatglm6b moss dolly falcon llama qwen".split()],
        ("custom/baichuan", "chat"),
        ("custom/baichuan2", "chat"),
        ("custom/qwen", "chat"),
        ("custom/m3e", "emb"),
        ("m3e", "emb"),
        ("custom/bge", "emb"),
        ("custom/bge_rerank", "rerank"),
    ],
)
def test_B05_a_type_says_the_kind(model_type: str, kind: str) -> None:
    """Each listed type deploys a model of its kind, by any backend that runs that kind."""
    assert spec(pretrainedModelType=model_type, infer_backend="echo").kind == kind


@pytest.mark.parametrize(
    ("model_type", "purpose"),
    [
        ("bark", "speech from text"),
        ("whisper", "text from speech"),
        ("custom/visualglm", "answers about images"),
        ("custom/qwen_vl_chat", "answers about images"),
        ("custom/stable_diffusion", "images"),
        ("qa", "answers from an index of documents"),
    ],
)
def test_B05_what_is_not_supported_is_said(model_type: str, purpose: str) -> None:
    """A type of another modality is an error that lists the types there are."""
    with pytest.raises(BackendError) as error:
        spec(pretrainedModelType=model_type, localModelDir="m")
    assert str(error.value).startswith(
        f'model type "{model_type}" is for {purpose}, which is not supported yet\n'
        "  supported types: custom/auto, custom/llama, "
    )


@needs_torch
def test_B05_an_unknown_custom_type_is_found_from_the_files(held: dict[str, str]) -> None:
    """`custom/x` that nobody knows is custom/auto, with a warning."""
    with pytest.warns(LlmsqlWarning) as said:
        found = spec(pretrainedModelType="custom/llama3", localModelDir=held["chat"])
    assert (found.kind, found.backend) == ("chat", "transformers")
    assert [str(w.message) for w in said] == [
        'model "m": there is no model type "custom/llama3"; did you mean "custom/llama"?\n'
        "  its files decide, as for custom/auto"
    ]


def test_B05_a_type_that_is_none_is_refused() -> None:
    """A type without `custom/` that nobody knows is a mistake."""
    with pytest.raises(BackendError) as error:
        spec(pretrainedModelType="lama", localModelDir="m")
    assert str(error.value).startswith(
        'there is no model type "lama"; did you mean "llama"?\n  types: custom/auto, '
    )


@needs_sentences
def test_B05_files_decide_where_the_type_says_nothing(held: dict[str, str]) -> None:
    """custom/auto, the type of a statement that names none, takes whatever the files are."""
    for kind in ("chat", "emb", "rerank"):
        assert spec(localModelDir=held[kind]).kind == kind
        assert spec(localModelDir=held[kind], pretrainedModelType="custom/auto").kind == kind


@needs_torch
def test_B05_the_type_decides_where_the_files_say_nothing(held: dict[str, str]) -> None:
    """An architecture of a model's own code is what its type says it is."""
    found = spec(localModelDir=held["other"], pretrainedModelType="custom/chatglm2")
    assert (found.kind, found.backend) == ("chat", "transformers")
    with pytest.raises(BackendError, match="holds ChatGLMModel"):
        spec(localModelDir=held["other"])


@needs_torch
@pytest.mark.parametrize("way", ["AutoModelForCausalLM", "AutoModelForSeq2SeqLM"])
def test_B05_a_chatglm_is_no_text_encoder(tmp_path: Path, way: str) -> None:
    """A model that writes text by code of its own is for chat, though its class is a *Model."""
    config = {"architectures": ["ChatGLMModel"], "vocab_size": 9, "auto_map": {way: "code.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert spec(localModelDir=str(tmp_path), pretrainedModelType="chatglm6b").kind == "chat"


@needs_sentences
def test_B05_a_type_that_contradicts_the_files_is_refused(held: dict[str, str]) -> None:
    """A chat model is no embedding model because a type says so; `kind` may say it."""
    with pytest.raises(BackendError) as error:
        spec(localModelDir=held["chat"], pretrainedModelType="custom/bge")
    assert str(error.value) == (
        f'model type "custom/bge" is for emb, but "{held["chat"]}" is a model for chat\n'
        "  leave out the type, or set kind='emb' to use it so"
    )
    ranked = spec(localModelDir=held["emb"], pretrainedModelType="custom/bge", kind="rerank")
    assert (ranked.kind, ranked.backend) == ("rerank", "sentence_transformers")


def test_B05_the_types_are_documented() -> None:
    """The generated table holds every type."""
    table = documentation.model_types()
    for name in families.FAMILIES:
        assert f"`custom/{name}`" in table
    assert "| `saas/openai`, `saas/official_openai` | backend `openai` |" in table
    assert "`custom/bark`" in next(x for x in table.split("\n") if "not supported yet" in x)


# B06: embedding models


@needs_sentences
def test_B06_m3e_is_not_normalised_unless_asked(held: dict[str, str]) -> None:
    """custom/m3e leaves vectors as long as they are, custom/bge makes them of length 1."""

    def is_normalised(model_type: str, **given: str) -> bool:
        found = spec(localModelDir=held["emb"], pretrainedModelType=model_type, **given)
        assert found.backend == "sentence_transformers"
        return bool(found.options.normalize)

    assert not is_normalised("custom/m3e")
    assert is_normalised("custom/bge")
    assert is_normalised("custom/auto")
    assert is_normalised("custom/m3e", normalize="true")
    assert not is_normalised("custom/bge", normalize_embeddings="false")
    assert not is_normalised("custom/bge", **{"gen.normalize_embeddings": "false"})


# P10: templates

TURNS = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"},
]
SYSTEM = {"role": "system", "content": 'Be <brief> & "kind" {now}.'}
S = SYSTEM["content"]
IM = ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n")
CHATML = (
    f"{IM[0]}one\n{IM[1]}",
    f"{IM[0]}one\n{IM[1]}two",
    f"{IM[0]}one\n{IM[1]}two\n{IM[0]}three\n{IM[1]}",
    f"<|im_start|>system\n{S}<|im_end|>\n{IM[0]}one\n{IM[1]}",
)
PROMPTS: dict[str, tuple[str, str, str, str]] = {
    "qwen": CHATML,
    "yi": CHATML,
    "llama": (
        "<s>[INST] one [/INST]\n",
        "<s>[INST] one [/INST]\n two </s>",
        "<s>[INST] one [/INST]\n two </s>\n<s>[INST] three [/INST]\n",
        f"<s>[INST] <<SYS>>\n{S}\n<</SYS>>\n[/INST]</s>\n<s>[INST] one [/INST]\n",
    ),
    "deepseek_code_chat": (
        "### Instruction:\none\n### Response:\n",
        "### Instruction:\none\n### Response:\ntwo\n<|EOT|>",
        "### Instruction:\none\n### Response:\ntwo\n<|EOT|>\n### Instruction:\nthree\n"
        "### Response:\n",
        f"{S}\n### Instruction:\none\n### Response:\n",
    ),
    "default": (
        "User:one\nAssistant:",
        "User:one\nAssistant:two",
        "User:one\nAssistant:two\nUser:three\nAssistant:",
        f"{S}\nUser:one\nAssistant:",
    ),
    "empty": ("one\n", "one\ntwo", "one\ntwo\nthree\n", f"{S}\none\n"),
}


def rendered(name: str, messages: list[dict[str, str]]) -> str:
    """The prompt that template *name* makes of *messages*, as tokenizers render templates."""
    jinja2 = pytest.importorskip("jinja2")

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    template = templates.find(name)
    assert template is not None
    text: str = environment.from_string(template.jinja).render(
        messages=messages, add_generation_prompt=True
    )
    return text


@pytest.mark.parametrize("name", PROMPTS)
def test_P10_a_template_makes_the_prompt_of_the_documents(name: str) -> None:
    """One, two and three messages, and a system message, become exactly these prompts."""
    asked = [TURNS[:1], TURNS[:2], TURNS, [SYSTEM, *TURNS[:1]]]
    assert tuple(rendered(name, messages) for messages in asked) == PROMPTS[name]


@pytest.mark.parametrize(
    ("name", "code", "prompt"),
    [
        ("deepseek_code_completion", "#sort", "#sort\n\n"),
        (
            "deepseek_code_insertion",
            "f(<｜fim▁hole｜>)",
            "<｜fim▁begin｜>f(<｜fim▁hole｜>)<｜fim▁end｜>\n\n",
        ),
    ],
)
def test_P10_code_goes_into_the_system_message(name: str, code: str, prompt: str) -> None:
    """The templates for code take it from the system message, and refuse to lose it."""
    jinja2 = pytest.importorskip("jinja2")
    assert rendered(name, [{"role": "system", "content": code}, *TURNS[:1]]) == prompt
    with pytest.raises(jinja2.TemplateError, match="the text goes into a system message"):
        rendered(name, TURNS)


def test_P10_a_hole_is_required() -> None:
    """Code to be filled in must say where."""
    jinja2 = pytest.importorskip("jinja2")
    with pytest.raises(jinja2.TemplateError, match="which must hold <｜fim▁hole｜>"):
        rendered("deepseek_code_insertion", [SYSTEM, *TURNS[:1]])


def test_P10_a_role_that_a_template_has_not_is_refused() -> None:
    """A message is never left out because of its role."""
    jinja2 = pytest.importorskip("jinja2")
    with pytest.raises(jinja2.TemplateError, match="this template has no role tool"):
        rendered("qwen", [*TURNS, {"role": "tool", "content": "4"}])


def test_P10_templates_bring_their_parameters() -> None:
    """A template has the generation parameters and the ends of answers of the documents."""
    found = {name: templates.find(name) for name in templates.names()}
    assert list(found) == [
        "auto", "deepseek_code_chat", "deepseek_code_completion", "deepseek_code_insertion",
        "default", "empty", "llama", "qwen", "yi",
    ]  # fmt: skip
    given = {name: template.generation for name, template in found.items() if template}
    assert {name: values for name, values in given.items() if values} == {
        "deepseek_code_chat": {"stop_token_ids": [32021]},
        "qwen": {"repetition_penalty": 1.1, "stop_token_ids": [151643, 151645]},
        "yi": {"stop_token_ids": [7]},
    }
    qwen = found["qwen"]
    assert qwen and qwen.cuts == ("<|im_end|>", "<|endoftext|>", "<|im_start|>")


@needs_torch
def test_P10_a_templates_parameters_are_the_lowest(held: dict[str, str]) -> None:
    """A parameter of the deployment counts before the template's."""
    own = spec(localModelDir=held["chat"], template="qwen")
    over = spec(localModelDir=held["chat"], template="Qwen", **{"gen.repetition_penalty": "1.3"})
    first: Any = sampling(own)
    second: Any = sampling(over)
    assert (first.repetition_penalty, first.stop_token_ids) == (1.1, (151643, 151645))
    assert (second.repetition_penalty, second.stop_token_ids) == (1.3, (151643, 151645))


@needs_torch
def test_P10_an_unknown_template_is_refused(held: dict[str, str]) -> None:
    """A template that there is not is an error that lists those there are."""
    with pytest.raises(OptionError) as error:
        spec(localModelDir=held["chat"], template="qwne")
    assert str(error.value).startswith(
        'there is no template "qwne"; did you mean "qwen"?\n  templates: auto, deepseek_code_chat'
    )
    with pytest.raises(OptionError, match="give template or chat_template, not both"):
        spec(localModelDir=held["chat"], template="qwen", chat_template="{{ 1 }}")


def test_P10_auto_is_nothing_to_a_model_behind_an_api() -> None:
    """template='auto' is accepted everywhere; a named one only where prompts are written."""
    assert spec(pretrainedModelType="debug", template="auto").backend == "echo"
    with pytest.raises(OptionError, match='backend "echo" has no option "template"'):
        spec(pretrainedModelType="debug", template="qwen")


@pytest.mark.models
def test_P10_a_template_is_used_by_the_model(tuned: tuple[Path, Path]) -> None:
    """A model without a chat template gets one only if asked, and its tokens are the template's."""
    for given, prompt in (({}, "hi"), ({"template": "default"}, "User:hi\nAssistant:")):
        found = spec(localModelDir=str(tuned[0]), **given)
        model = backends.get("transformers").load(found)
        (tokens,) = model.wording.tokens([(None, "hi")])
        assert model.wording.text(tokens) == prompt
        model.unload()


@pytest.mark.models
def test_P10_an_answer_is_cut_where_the_template_says(
    tuned: tuple[Path, Path], con: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template's ends count as well as the stops of a call, and a token may be an end."""
    import torch

    run(con, localModelDir=str(tuned[0]), dtype="float32", **{"gen.max_tokens": "24"})
    model = con.engine.deployments.get("m").model
    (whole,) = con.execute("SELECT m('hello')").fetchone()
    end = next(letter for letter in whole[3:] if letter.isascii() and letter.isprintable())
    monkeypatch.setattr(model, "cuts", (end,))
    (cut,) = con.execute("SELECT m('hello', {'stop': 'never'})").fetchone()
    assert cut == whole[: whole.index(end)]
    monkeypatch.setattr(model, "cuts", ())
    (asked,) = model.wording.tokens([(None, "hello")])
    ids = torch.tensor([asked])
    written = model.decoder.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=24,
        do_sample=False,
        pad_token_id=0,
    )[0, len(asked) :].tolist()
    (ended,) = con.execute(f"SELECT m('hello', {{'stop_token_ids': [{written[9]}]}})").fetchone()
    assert ended == model.wording.text(written[: written.index(written[9])])


@pytest.mark.models
def test_P10_auto_is_the_models_own_template() -> None:
    """template='auto' asks SmolLM2 as no template does, and "qwen" does not."""
    require(*SMOLLM2)
    asked = {}
    for name in ("", "auto", "qwen"):
        given = {"template": name} if name else {}
        model = backends.get("transformers").load(spec(localModelDir="smollm2", **given))
        (tokens,) = model.wording.tokens([("Be brief.", "Hi")])
        asked[name] = model.wording.text(tokens), tokens, model.cuts
        model.unload()
    assert asked["auto"] == asked[""]
    assert asked["qwen"] != asked[""]
    assert asked["qwen"][2] == ("<|im_end|>", "<|endoftext|>", "<|im_start|>")


# K08: precedence


def count(con: Any, call: str = "m('a b c d e f g h i')") -> int:
    """How many words come back: max_tokens, for an echo."""
    return len(con.execute(f"SELECT {call}").fetchone()[0].split())


@pytest.mark.parametrize("suffix", ["json", "yaml", "yml"])
def test_K08_built_in_file_statement_call(con: Any, tmp_path: Path, suffix: str) -> None:
    """A parameter is the built-in one, below the file's, below the statement's, below the call's."""
    if suffix != "json":
        require("yaml")
    file = tmp_path / f"keys.{suffix}"
    content = {"pretrainedModelType": "debug", "gen": {"max_tokens": 5}}
    file.write_text(
        json.dumps(content)
        if suffix == "json"
        else "# as a person writes it\npretrainedModelType: debug\ngen:\n  max_tokens: 5\n"
    )
    run(con, pretrainedModelType="debug")
    assert count(con) == 9
    run(con, config=str(file))
    assert count(con) == 5
    run(con, config=str(file), **{"generation.max_length": "3"})
    assert count(con) == 3
    assert count(con, "m('a b c d e f g h i', {'max_tokens': 1})") == 1


def test_K08_options_and_keys_come_from_the_file_too(tmp_path: Path) -> None:
    """A file holds any key, typed or as text, flat or nested; the statement's counts first."""
    file = tmp_path / "keys.json"
    file.write_text(
        json.dumps(
            {
                "pretrainedModelType": "debug",
                "kind": "emb",
                "num_gpus": 0,
                "backend": {"dimension": 3},
                "delay": 0.5,
                "gen.seed": None,
            }
        )
    )
    found = spec(config=str(file))
    assert (found.kind, found.gpus, found.options.dimension) == ("emb", 0.0, 3)
    over = spec(config=str(file), dimension="5", kind="chat")
    assert (over.kind, over.options.dimension, over.options.delay) == ("chat", 5, 0.5)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("keys.toml", "a = 1", 'config "{file}" is neither YAML nor JSON by its name'),
        ("keys.json", None, 'config "{file}" cannot be read: No such file or directory'),
        ("keys.json", '{\n"a": 1\n"b": 2}', 'config "{file}" is not JSON: line 3, column 1: '),
        ("keys.yaml", "a: 1\nb: [1\n", 'config "{file}" is not YAML: line 3, column 1: '),
        ("keys.yaml", "- a\n", 'config "{file}" holds no keys'),
        ("keys.json", '{"gen.seed": 1, "gen": {"seed": 2}}', 'gives the key "gen.seed" twice'),
        (
            "keys.json",
            '{"dealy": 1}',
            'backend "echo" has no option "dealy"; did you mean "delay"?',
        ),
        ("keys.json", '{"gen": {"sed": 1}}', 'has no option "gen.sed"; did you mean "seed"?'),
        ("keys.json", '{"config": "b.json"}', "a config file cannot name another"),
    ],
)
def test_K08_a_file_that_is_wrong_says_where(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    """A file that cannot be read, or says what nobody knows, is an error that names the place."""
    if name.endswith("yaml"):
        require("yaml")
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    with pytest.raises(OptionError) as error:
        spec(pretrainedModelType="debug", config=str(file))
    assert message.replace("{file}", str(file)) in str(error.value)


def test_K08_yaml_is_asked_for_where_it_is_not_installed(tmp_path: Path) -> None:
    """Without PyYAML a YAML file is an error that says what to install."""
    file = tmp_path / "keys.yaml"
    file.write_text("a: 1")
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "from llmsql.statements import config_file\n"
        f"config_file.read({str(file)!r})"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(llmsql.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert f'config "{file}" needs PyYAML, not installed here' in done.stderr
    assert "pip install 'duckdb-llmsql[yaml]', or write the file in JSON" in done.stderr


def test_K08_reading_keys_warns_of_nothing() -> None:
    """A deployment that says nothing unusual is silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec(pretrainedModelType="debug", delay="0", **{"gen.temperature": "0.5"})


@pytest.mark.parametrize("statement", ["inputTable='t'", "action='convert'", "action='merge'"])
def test_R04_training_is_said_to_be_missing(statement: str) -> None:
    """A statement that trains says that this is not here, whatever else it lacks."""
    with (
        llmsql.connect() as con,
        pytest.raises(llmsql.errors.StatementError, match="is not here yet"),
    ):
        con.execute(f"run command as LLM where pretrainedModelType='sft/llama2' and {statement}")
