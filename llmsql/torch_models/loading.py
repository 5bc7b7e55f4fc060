"""Loading a causal language model and its tokenizer, with what goes wrong in our own words."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from llmsql.errors import BackendError, first_line, warn
from llmsql.torch_models import placement
from llmsql.torch_models.conversion import plain

LONG = 16384
STRETCH = 8


@dataclass(frozen=True)
class Place:
    """Where to load a model, and how; over several *gpus*, where it is on one."""

    device: torch.device
    dtype: torch.dtype
    quantization: Any = None
    trust_remote_code: bool = False
    gpus: float = 1.0
    is_long: bool = False


def load(source: str, path: str, place: Place, adapter: str | None = None) -> tuple[Any, Any]:
    """
    Return the model at *path*, with *adapter* merged into it, and its tokenizer.

    Both were checked already; *source* is for messages.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    _check_peft(source, adapter)
    path = plain(path)
    given: dict[str, Any] = {"dtype": place.dtype, "quantization_config": place.quantization}
    if place.device.type != "cpu":
        given |= _spread(place)
    trust = {"trust_remote_code": place.trust_remote_code}
    try:
        with placement.quiet():
            if place.is_long:
                given["config"] = _stretched(AutoConfig.from_pretrained(path, **trust))
            tokenizer = AutoTokenizer.from_pretrained(_words(path, adapter), **trust)
            model = AutoModelForCausalLM.from_pretrained(path, **given, **trust)
            _check_map(model)
            if adapter:
                model = _merged(model, adapter, place.device)
    except Exception as error:  # whatever a model's files make the library raise, every row fails
        placement.release(error)
        raise _translated(source, place, error) from error
    return model.eval(), tokenizer


def _spread(place: Place) -> dict[str, Any]:
    """How the layers are laid over as many GPUs as are wanted."""
    if place.gpus <= 1:
        return {"device_map": {"": place.device}}
    room = {at: torch.cuda.mem_get_info(at)[0] for at in range(int(place.gpus))}
    return {"device_map": "auto", "max_memory": room}


def _check_map(model: Any) -> None:
    """Raise OutOfMemoryError where layers were put where they would be read anew at each step."""
    places = set(map(str, (getattr(model, "hf_device_map", None) or {}).values()))
    if places & {"disk", "cpu"} and len(places) > 1:
        raise torch.OutOfMemoryError("the layers do not fit on the GPUs")


def _check_peft(source: str, adapter: str | None) -> None:
    if adapter and importlib.util.find_spec("peft") is None:
        raise BackendError(
            f'"{source}" is an adapter, which needs peft, not installed here\n'
            "  pip install 'duckdb-llmsql[transformers]'"
        )


def _merged(model: Any, adapter: str, device: torch.device) -> Any:
    """Add what *adapter* changes to the weights of *model*: it then costs nothing at each step."""
    from peft import PeftModel

    with warnings.catch_warnings():  # peft asks transformers by names that it will drop
        warnings.simplefilter("ignore", FutureWarning)
        found = PeftModel.from_pretrained(model, adapter, torch_device=str(device))
        return found.merge_and_unload()


def _words(path: str, adapter: str | None) -> str:
    """Where the tokenizer is: training may have left one with the adapter."""
    if adapter and (Path(adapter) / "tokenizer_config.json").exists():
        return adapter
    return path


def _stretched(config: Any) -> Any:
    """
    Widen the context of *config* to LONG tokens, by a larger base of its rotary positions.

    The base is fixed for all lengths, so that a row does not depend on its neighbours.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    if "rope_theta" not in rope:
        warn(f"long_context has no effect on {config.model_type}: its positions are not rotary")
    elif config.max_position_embeddings >= LONG:
        warn(f"long_context has no effect: {config.max_position_embeddings} tokens are more")
    else:
        size = getattr(config, "head_dim", None)
        size = size or config.hidden_size // config.num_attention_heads
        rope["rope_theta"] *= STRETCH ** (size / (size - 2))
        config.max_position_embeddings = LONG
    return config


def _translated(source: str, place: Place, error: Exception) -> BackendError:
    if placement.is_out_of_memory(error):
        return BackendError(
            f'there is not enough memory on {place.device} for "{source}"\n'
            "  deploy a smaller model, or set quantization='4' where there is a CUDA device"
        )
    if "trust_remote_code" in str(error):
        return BackendError(
            f'"{source}" runs code of its own, which is off\n'
            "  if you trust it, set trust_remote_code='true'"
        )
    return BackendError(f'cannot load "{source}": {first_line(error)}')
