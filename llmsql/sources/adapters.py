"""Adapters: a fine-tuned model kept as what it changes in another one. Spec R03.

Knows where the other one is. Putting the two together is `llmsql.torch_models`' business.
"""

from __future__ import annotations

from pathlib import Path

from llmsql.errors import BackendError
from llmsql.sources import files
from llmsql.sources.location import locate

CONFIG = "adapter_config.json"
BESIDE = "pretrained_model"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def adapted(path: str, base: str | None = None) -> tuple[str, str | None]:
    """
    Return where the model at *path* is, and the adapter to put on it, if *path* holds one.

    The model is *base* where that is given, else the directory `pretrained_model` beside the
    adapter, as Byzer-LLM's training leaves it, else the one the adapter was made for.
    """
    folder = Path(path)
    beside = folder / BESIDE
    if not (folder / CONFIG).exists():
        if beside.is_dir() and not (folder / "config.json").exists():
            raise BackendError(
                f'directory "{path}" holds a model in {BESIDE}, but no adapter: no {CONFIG}\n'
                f"  name {beside} to deploy the model as it was"
            )
        return path, None
    if base is None and beside.is_dir():
        return str(beside), path
    return _base(folder, base), path


def check(path: str) -> None:
    """Raise BackendError unless the adapter at *path* has its weights."""
    present = [Path(path) / name for name in _WEIGHTS if (Path(path) / name).exists()]
    if not present:
        raise BackendError(
            f'adapter "{path}" has no weights\n  they are in {" or ".join(_WEIGHTS)}'
        )
    if present[0].suffix == ".safetensors":
        files.check_safetensors(present[0])


def _base(folder: Path, given: str | None) -> str:
    named = given or str(files.read_json(folder / CONFIG).get("base_model_name_or_path") or "")
    if not named:
        raise BackendError(
            f'adapter "{folder}" does not say which model it belongs to\n'
            "  give that model: baseModelDir='…'"
        )
    if given is None and (folder / named).exists():
        return locate(str(folder / named))
    try:
        return locate(named)
    except BackendError as error:
        if given is not None:
            raise
        raise BackendError(
            f'adapter "{folder}" belongs to "{named}", which is not here\n'
            "  give that model: baseModelDir='…'"
        ) from error
