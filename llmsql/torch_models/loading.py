"""Loading a causal language model and its tokenizer, with what goes wrong in our own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from llmsql.errors import BackendError
from llmsql.torch_models import placement
from llmsql.torch_models.conversion import plain


@dataclass(frozen=True)
class Place:
    """Where to load a model, and how."""

    device: torch.device
    dtype: torch.dtype
    quantization: Any = None
    trust_remote_code: bool = False
    is_spread: bool = False


def load(source: str, path: str, place: Place) -> tuple[Any, Any]:
    """Return the model at *path*, already checked, and its tokenizer; *source* is for messages."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = plain(path)
    given: dict[str, Any] = {"dtype": place.dtype, "quantization_config": place.quantization}
    if place.device.type != "cpu":
        given["device_map"] = "auto" if place.is_spread else {"": place.device}
    trust = {"trust_remote_code": place.trust_remote_code}
    try:
        with placement.quiet():
            tokenizer = AutoTokenizer.from_pretrained(path, **trust)
            model = AutoModelForCausalLM.from_pretrained(path, **given, **trust)
    except Exception as error:  # whatever a model's files make the library raise, every row fails
        placement.release()
        raise _translated(source, place, error) from error
    return model.eval(), tokenizer


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
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return BackendError(f'cannot load "{source}": {reason[0]}')
