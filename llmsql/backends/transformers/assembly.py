"""A causal model put together: its weights, the loop that decodes, and how it is asked.

Imports torch, so it is imported where a model is loaded. What may be loaded was checked before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from llmsql.backends.transformers.model import Model
from llmsql.torch_models import loading, placement
from llmsql.torch_models.decoding import Decoder
from llmsql.torch_models.loading import Place
from llmsql.torch_models.wording import Wording
from llmsql.types import ModelSpec


def place(spec: ModelSpec, options: Any, bits: int = 0, threshold: float = 6.0) -> Place:
    """Return where and how *spec* is loaded, its weights in *bits* bits where that is not 0."""
    device = placement.device(options.device)
    placement.check_gpus(spec.gpus)
    dtype = placement.dtype(options.dtype, device)
    return Place(
        device,
        dtype,
        placement.quantization(bits, threshold, device, dtype),
        trust_remote_code=options.trust_remote_code,
        gpus=spec.gpus,
        is_long=options.long_context,
    )


def assembled(
    spec: ModelSpec,
    path: str,
    adapter: str | None,
    options: Any,
    where: Place,
    *,
    engine: Callable[[Any], Callable[..., Any]] | None = None,
    make_decoder: Callable[..., Decoder] = Decoder,
) -> Model:
    """
    Return the model at *path*, with its *adapter*, loaded to *where*.

    *engine* makes what runs a step of the loaded model, where that is not the model itself.
    """
    model, tokenizer = loading.load(spec.source or path, path, where, adapter)
    forward = engine(model) if engine else None
    slots, step_tokens, memory = _room(model.device, where.gpus)
    decoder = make_decoder(
        model,
        slots=options.batch_size or slots,
        step_tokens=step_tokens,
        memory=memory,
        forward=forward,
    )
    wording = Wording(
        model,
        tokenizer,
        template=options.chat_format(tokenizer),
        context=options.context,
        limit=options.limit,
        truncate=options.truncate,
    )
    return Model(decoder, wording, options.system_prompt, options.cuts)


def _room(device: torch.device, gpus: float) -> tuple[int, int, int]:
    """The rows side by side, the tokens of a step, and the bytes for what was read."""
    if device.type != "cuda":
        return 64, 256, 2 << 30
    # Half of what the weights left: the other half is for the steps themselves.
    return 256, 8192, placement.free_memory(device, gpus) // 2
