"""What a model directory or file holds, and whether it is whole.

Reads names, config.json and the heads of weight files, so that what is wrong is said in one
sentence before anything heavy starts.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from llmsql.errors import BackendError
from llmsql.sources import gguf
from llmsql.types import Kind

_EMBEDDING_FILES = ("modules.json", "config_sentence_transformers.json")
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
_SET_KIND = "  if it is a language model all the same, set kind='chat', 'emb' or 'rerank'"


def kind_of(path: str) -> Kind:
    """Tell whether the model at *path* answers, embeds or ranks; BackendError where none."""
    if Path(path).is_file():
        return gguf.kind_of(path)
    if any((Path(path) / name).exists() for name in _EMBEDDING_FILES):
        return "rerank" if _says_cross_encoder(Path(path)) else "emb"
    config = read_json(Path(path) / "config.json")
    listed = config.get("architectures")
    named = listed if isinstance(listed, list) else []
    architectures = [name for name in named if isinstance(name, str)]
    for architecture in architectures:
        kind = _kind(architecture, config)
        if kind:
            return kind
    found = ", ".join(architectures) or "no architecture named in config.json"
    raise BackendError(
        f'"{path}" holds {found}\n  known are *ForCausalLM (chat), text encoders (emb) and '
        f"*ForSequenceClassification with one label (rerank)\n{_SET_KIND}"
    )


def _kind(architecture: str, config: dict[str, Any]) -> Kind | None:
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return "chat"
    if architecture.endswith("ForSequenceClassification"):
        # config.json counts labels by naming them, and names none where there are the usual two.
        return "rerank" if len(config.get("id2label") or "ab") == 1 else None
    own_code = config.get("auto_map") or {}
    if architecture.endswith("Model") and "AutoModelForCausalLM" in own_code:
        return "chat"
    # A vision or speech encoder is a *Model too, but has no vocabulary.
    if architecture.endswith(("Model", "ForMaskedLM")) and "vocab_size" in config:
        writes = config.get("is_encoder_decoder") or "AutoModelForSeq2SeqLM" in own_code
        return None if writes else "emb"
    return None


def check(path: str) -> None:
    """Raise BackendError saying what is missing or broken at *path*."""
    place = Path(path)
    if not place.exists():
        raise BackendError(f'there is no file or directory "{path}"')
    if place.is_file():
        gguf.check(path)
        return
    if not any(place.iterdir()):
        raise BackendError(
            f'directory "{path}" is empty\n  a model has config.json and its weights'
        )
    if not (place / "config.json").exists() and not (place / "modules.json").exists():
        raise BackendError(_no_config(place))
    for name in ("config.json", "modules.json"):
        if (place / name).exists():
            read_json(place / name)
    _check_weights(place)


def _no_config(place: Path) -> str:
    if (place / "adapter_config.json").exists():
        return (
            f'directory "{place}" holds an adapter, not a model\n'
            "  name the model it belongs to, which holds config.json: baseModelDir='…'"
        )
    names = sorted(entry.name for entry in place.iterdir())
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (
        f'directory "{place}" has no config.json\n  it holds {shown}\n'
        "  name the directory that holds config.json, or a single .gguf file"
    )


def _check_weights(place: Path) -> None:
    index = place / "model.safetensors.index.json"
    if index.exists():
        named = set((read_json(index).get("weight_map") or {}).values())
        missing = sorted(name for name in named if not (place / name).exists())
        if missing:
            raise BackendError(
                f'directory "{place}" lacks {len(missing)} of {len(named)} weight files: '
                f"{', '.join(missing[:3])}\n  {gguf.AGAIN}"
            )
    if not any(next(place.rglob(pattern), None) for pattern in _WEIGHTS):
        raise BackendError(
            f'directory "{place}" has no weights\n  weights are *.safetensors, *.bin or *.gguf'
        )
    for file in sorted(place.glob("*.safetensors")):
        check_safetensors(file)


def tensor_starts(file: Path) -> list[int]:
    """Return where each tensor of *file*, a whole one of safetensors, begins, in bytes."""
    with file.open("rb") as stream:
        length = struct.unpack("<Q", stream.read(8))[0]
        header = json.loads(stream.read(length))
    tensors = [value for name, value in header.items() if name != "__metadata__"]
    return [8 + length + int(tensor["data_offsets"][0]) for tensor in tensors]


def check_safetensors(file: Path) -> None:
    """Raise BackendError unless *file* is as long as its header says."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if head.startswith(b"version "):
            raise BackendError(
                f'weight file "{file}" is a Git LFS pointer, not the weights\n  run: git lfs pull'
            )
        if not 0 < length <= size - 8:
            raise BackendError(_cut_off(file, size, 8 + length))
        try:
            header = json.loads(stream.read(length))
            tensors = [value for name, value in header.items() if name != "__metadata__"]
            wanted = 8 + length + max((int(t["data_offsets"][1]) for t in tensors), default=0)
        except (ValueError, AttributeError, TypeError, LookupError, RecursionError) as error:
            raise BackendError(
                f'weight file "{file}" has a broken header: {error}\n  {gguf.AGAIN}'
            ) from error
    if size < wanted:
        raise BackendError(_cut_off(file, size, wanted))


def _cut_off(file: Path, size: int, wanted: int) -> str:
    return f'weight file "{file}" is cut off: {size} bytes of {wanted}\n  {gguf.AGAIN}'


def read_json(file: Path) -> dict[str, Any]:
    """Return what *file* says; BackendError with line and column where it is not JSON."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BackendError(_no_config(file.parent)) from error
    except UnicodeDecodeError as error:
        raise BackendError(f'"{file}" is not JSON: byte {error.start} is not UTF-8') from error
    except json.JSONDecodeError as error:
        raise BackendError(
            f'"{file}" is not JSON: line {error.lineno}, column {error.colno}: {error.msg}\n'
            "  repair the file, or copy it again from where the model came"
        ) from error
    return content if isinstance(content, dict) else {"content": content}


def _says_cross_encoder(folder: Path) -> bool:
    """True when sentence-transformers wrote the folder for one of its CrossEncoders."""
    file = folder / _EMBEDDING_FILES[1]
    try:
        return bool(json.loads(file.read_text("utf-8")).get("model_type") == "CrossEncoder")
    except (OSError, ValueError, AttributeError):
        return False
