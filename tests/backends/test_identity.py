"""What decides a model's answers: the same for a copy, another where an answer may differ."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from llmsql import backends
from llmsql.errors import OptionError
from llmsql.sources import fingerprint
from llmsql.types import Kind, ModelSpec

MEBIBYTE = 1 << 20
CARD = "<|im_start|>{{ messages[0]['content'] }}"


def weights(file: Path, **changed: bytes) -> None:
    """Write a file of safetensors: a small tensor between two large ones, none where a step is."""
    tensors = {"first": bytes(3 * MEBIBYTE // 2), "norm": bytes(2304), "last": bytes(2 * MEBIBYTE)}
    tensors |= changed
    header, at = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [at, at + len(data)]}
        at += len(data)
    head = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(tensors.values()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory that looks like a causal model's."""
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (made / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')
    (made / "chat_template.jinja").write_text(CARD)
    (made / "README.md").write_text("A model.")
    weights(made / "model.safetensors")
    return made


def identity(backend: str, path: Any = "", kind: Kind = "chat", **given: Any) -> Mapping[str, Any]:
    """The identity of a deployment; what is no part of a spec is an option."""
    engine = backends.get(backend)
    about = {key: given.pop(key) for key in ("name", "source", "model_type") if key in given}
    options = engine.options(**given)
    spec = ModelSpec(
        **{"name": "m", "kind": kind, "backend": backend, **about}, path=str(path), options=options
    )
    found = engine.identity(spec)
    assert json.loads(json.dumps(found)) == found | {
        "options": json.loads(json.dumps(found["options"]))
    }
    return found


CHANGES: dict[str, Callable[[Path], Any]] = {
    "a small tensor": lambda folder: weights(folder / "model.safetensors", norm=b"\1" * 2304),
    "a large tensor": lambda folder: weights(
        folder / "model.safetensors", last=b"\1" * 2 * MEBIBYTE
    ),
    "the tokenizer": lambda folder: (folder / "tokenizer.json").write_text(
        '{"model": {"vocab": {"b": 0}}}'
    ),
    "the chat template": lambda folder: (folder / "chat_template.jinja").write_text(CARD + "!"),
    "the configuration": lambda folder: (folder / "config.json").write_text(
        '{"architectures": ["GPT2LMHeadModel"]}'
    ),
    "a new file": lambda folder: (folder / "modeling_own.py").write_text("x = 1"),
    "a file below": lambda folder: (
        (folder / "1_Pooling").mkdir() or (folder / "1_Pooling" / "config.json").write_text("{}")
    ),
    "a file renamed": lambda folder: (folder / "tokenizer.json").rename(folder / "other.json"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_files_that_matter_decide(folder: Path, change: str) -> None:
    """Whatever a library may read of a directory is part of its fingerprint."""
    before = identity("transformers", folder)
    CHANGES[change](folder)
    assert identity("transformers", folder) != before


def test_what_no_library_reads_does_not_decide(folder: Path) -> None:
    """A card, caches and what training leaves behind change nothing."""
    before = fingerprint(str(folder))
    (folder / "README.md").write_text("A better description.")
    (folder / "optimizer.pt").write_bytes(b"1")
    (folder / "training_args.bin").write_bytes(b"1")
    for name in (".git", "__pycache__"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("1")
    assert fingerprint(str(folder)) == before


def test_a_copy_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    """Neither the place nor the time of the files counts."""
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(folder, copy)
    os.utime(copy / "model.safetensors", (1, 1))
    assert identity("transformers", copy) == identity("transformers", folder)
    assert fingerprint(str(copy / "config.json")) == fingerprint(str(folder / "config.json"))


def test_a_directory_of_links_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    """A snapshot in the cache of Hugging Face is links to files named by their hashes."""
    snapshot = tmp_path / "snapshot"
    (snapshot / "itself").mkdir(parents=True)
    (snapshot / "itself" / "again").symlink_to(snapshot)
    for at, file in enumerate(sorted(folder.iterdir())):
        (tmp_path / f"blob{at}").write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(tmp_path / f"blob{at}")
    assert fingerprint(str(snapshot)) == fingerprint(str(folder))


@pytest.mark.parametrize("path", ["", "nowhere/model", "https://host/v1"])
def test_what_is_not_here_has_no_fingerprint(path: str) -> None:
    """No file, no fingerprint, no error."""
    assert fingerprint(path) == ""


def test_an_adapter_counts_with_its_base(folder: Path, tmp_path: Path) -> None:
    """A change of either changes the model; where the base lies does not."""
    adapter, moved = tmp_path / "adapter", tmp_path / "moved"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "nobody/knows"}')
    (adapter / "adapter_model.safetensors").write_bytes(b"1")
    shutil.copytree(folder, moved)
    before = identity("transformers", adapter, base_model=str(folder))
    assert identity("transformers", adapter, base_model=str(moved)) == before
    weights(moved / "model.safetensors", norm=b"\1" * 2304)
    assert identity("transformers", adapter, base_model=str(moved)) != before
    (adapter / "adapter_model.safetensors").write_bytes(b"2")
    assert identity("transformers", adapter, base_model=str(folder)) != before
    assert identity("transformers", adapter)["options"]["base_model"] is None


@pytest.mark.parametrize(
    ("backend", "kind", "given"),
    [
        ("transformers", "chat", {"dtype": "float32"}),
        ("transformers", "chat", {"device": "cpu"}),
        ("transformers", "chat", {"quantization": "8"}),
        ("transformers", "chat", {"context": 100}),
        ("transformers", "chat", {"system_prompt": "Be brief."}),
        ("transformers", "chat", {"template": "qwen"}),
        ("transformers", "chat", {"chat_template": "{{ 1 }}"}),
        ("transformers", "chat", {"long_context": True}),
        ("transformers", "rerank", {}),
        ("sentence_transformers", "emb", {"dimensions": 8}),
        ("sentence_transformers", "emb", {"normalize": False}),
        ("sentence_transformers", "emb", {"max_length": 8}),
        ("sentence_transformers", "emb", {"prompt": "query: "}),
        ("sentence_transformers", "emb", {"dtype": "float32"}),
        ("onnxruntime", "emb", {"quantization": "int8"}),
        ("onnxruntime", "emb", {"dimensions": 8}),
        ("vllm", "chat", {"quantization": "fp8"}),
        ("vllm", "chat", {"template": "qwen"}),
        ("vllm", "rerank", {}),
        ("openai", "emb", {"dimensions": 8}),
        ("openai", "chat", {"base_url": "http://localhost:1/v1"}),
        ("openai", "chat", {"model": "large"}),
        ("openai", "chat", {"source": "large"}),
        ("echo", "emb", {"dimension": 3}),
        ("echo", "chat", {"model_type": "dummy"}),
    ],
)  # fmt: skip
def test_what_changes_answers_decides(
    folder: Path, backend: str, kind: Kind, given: dict[str, Any]
) -> None:
    """Options that change answers are part of the identity, as are the server and the kind."""
    path = "" if backend in ("echo", "openai") else folder
    plain_kind = "chat" if backend in ("transformers", "vllm") else kind
    assert identity(backend, path, kind, **given) != identity(backend, path, plain_kind)


@pytest.mark.parametrize(
    ("backend", "given", "also"),
    [
        ("transformers", {"batch_size": 3, "name": "n"}, {}),
        ("transformers", {"dtype": "float32", "device": "cuda:1"}, {"dtype": "float32"}),
        ("transformers", {"device": "cuda:1"}, {"device": "cuda"}),
        ("transformers", {"quatization": "true"}, {"quantization": "4"}),
        ("transformers", {"template": "auto", "model_type": "custom/llama2"}, {}),
        ("sentence_transformers", {"batch_tokens": 64}, {}),
        ("onnxruntime", {"batch_tokens": 64, "threads": 1, "quantization": "false"}, {}),
        ("vllm", {"kv_cache_gb": 1.0, "name": "n"}, {}),
        ("openai", {"api_key": "sk-1", "timeout": 3, "max_retries": 1, "batch_texts": 2, "organization": "o",
                    "proxies": "http://u:p@h", "local_address": "127.0.0.1", "name": "n"}, {}),
        ("openai", {"base_url": "https://me:pw@API.openai.com/v1/chat/completions?key=sk-1"}, {}),
        ("openai", {"model": "small", "source": "x"}, {"source": "small", "model_type": "saas/openai"}),
        ("echo", {"delay": 1, "fail_on": "x", "name": "n"}, {}),
    ],
)  # fmt: skip
def test_what_changes_no_answer_does_not_decide(
    folder: Path, backend: str, given: dict[str, Any], also: dict[str, Any]
) -> None:
    """Speed, place, names and spellings are no part of the identity."""
    path = "" if backend in ("echo", "openai") else folder
    assert identity(backend, path, **given) == identity(backend, path, **also)


def test_no_secret_is_in_an_identity() -> None:
    """Neither the key nor the password in an address is written down."""
    found = identity("openai", api_key="sk-1", base_url="https://me:hunter2@host/v1?key=sk-2")
    assert not [secret for secret in ("sk-1", "hunter2", "sk-2", "me:") if secret in repr(found)]


def test_a_template_counts_by_its_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chat format that changes under its name is another one."""
    from llmsql import templates

    before = identity("transformers", folder, template="qwen")
    changed = templates.find("yi")
    monkeypatch.setattr(templates, "find", lambda name: changed)
    assert identity("transformers", folder, template="qwen") != before


def test_a_model_that_moved_is_found_again(folder: Path, tmp_path: Path) -> None:
    """The files are looked for at the source when they left the path."""
    there = identity("transformers", folder)
    assert identity("transformers", tmp_path / "gone", source=str(folder)) == there


def test_models_without_files_differ_by_their_source(tmp_path: Path) -> None:
    """Two models that are both gone are not the same model."""
    gone = tmp_path / "gone"
    one, other = (identity("transformers", gone, source=f"a/{name}") for name in ("one", "other"))
    assert one != other


def test_options_of_the_catalog_are_read_first() -> None:
    """What the database remembers as texts is the identity of what was deployed."""
    engine = backends.get("echo")
    spec = ModelSpec(name="m", kind="emb", backend="echo", options={"dimension": "3", "delay": "1"})
    assert engine.identity(spec) == identity("echo", kind="emb", dimension=3)
    with pytest.raises(OptionError, match='backend "echo" has no option "dimensio"'):
        engine.identity(ModelSpec(name="m", kind="emb", backend="echo", options={"dimensio": 3}))


def test_an_option_that_a_backend_learns_loses_no_answers() -> None:
    """Of what a backend adds to the sampling, only what was asked for decides where answers are."""
    from llmsql.backends.openai.sampling import Sampling as OfServers
    from llmsql.runtime.deployments import _written
    from llmsql.types import Sampling

    assert _written(OfServers(seed=1)) == _written(Sampling(seed=1))
    asked = _written(OfServers(seed=1, reasoning_effort="low"))
    assert asked == _written(Sampling(seed=1)) | {"reasoning_effort": "low"}
