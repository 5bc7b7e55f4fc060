"""What the files of an encoder say of it, read without the libraries that wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmsql.backends.onnxruntime import heads
from llmsql.backends.sentence_transformers import is_cross_encoder
from llmsql.errors import BackendError
from llmsql.sources.files import read_json

_ENDLESS = 1 << 30


@dataclass(frozen=True)
class Description:
    """
    An encoder in the directory *folder*, its tokenizer and network in *network*.

    *pool* and *heads* make a vector of the states of its tokens; a cross-encoder has none.
    *max_tokens* of a text are read, None where all are.
    """

    folder: Path
    network: Path
    is_cross: bool
    pool: heads.Pool = heads.POOLS["mean"]
    heads: tuple[heads.Head, ...] = ()
    max_tokens: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pad(self) -> int:
        """The token that fills the space behind a text, which some networks look for."""
        return int(self.about.get("pad_token_id") or 0)


def describe(path: str) -> Description:
    """Read what the directory *path* holds; BackendError where that is not known here."""
    folder = Path(path)
    if not folder.is_dir():
        raise BackendError(
            f'"{path}" is a file, and backend "onnxruntime" runs what a directory holds\n'
            "  leave out infer_backend, or name a directory with config.json"
        )
    is_cross = is_cross_encoder(path)
    modules = _modules(folder)
    kind, place = modules[0] if modules else ("Transformer", folder)
    if kind != "Transformer" or (is_cross and len(modules) > 1):
        raise BackendError(
            f'"{path}" begins with the module "{kind}" of {len(modules)}, which backend '
            "\"onnxruntime\" does not know\n  set infer_backend='sentence_transformers'"
        )
    prompts = _optional(folder / "config_sentence_transformers.json")
    about = read_json(place / "config.json")
    return Description(
        folder=folder,
        network=place,
        is_cross=is_cross,
        **_head(modules[1:]),
        max_tokens=_max_tokens(place, about),
        prompts=prompts.get("prompts") or {},
        default_prompt_name=prompts.get("default_prompt_name"),
        about=about,
    )


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """The modules in their order, each with its directory; none where the file is not there."""
    if not (folder / "modules.json").exists():
        return []
    listed = read_json(folder / "modules.json").get("content") or ()
    return [(one["type"].rpartition(".")[2], folder / one.get("path", "")) for one in listed]


def _head(modules: list[tuple[str, Path]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    rest = modules
    if modules and modules[0][0] == "Pooling":
        found["pool"], rest = heads.pool(modules[0][1]), modules[1:]
    made = [heads.head(kind, place) for kind, place in rest]
    return {**found, "heads": tuple(head for head in made if head is not None)}


def _max_tokens(place: Path, about: Mapping[str, Any]) -> int | None:
    """As sentence-transformers finds it: its own file's word, else the least of the others."""
    own = _optional(place / "sentence_bert_config.json").get("max_seq_length")
    if own:
        return int(own)
    limits = [
        _optional(place / "tokenizer_config.json").get("model_max_length"),
        about.get("max_position_embeddings"),
    ]
    least = min((int(limit) for limit in limits if limit and limit > 0), default=_ENDLESS)
    return least if least < _ENDLESS else None


def _optional(file: Path) -> dict[str, Any]:
    return read_json(file) if file.exists() else {}
