"""Run causal language models through transformers, in this process.

Takes a directory, a GGUF file or a Hugging Face id in the cache. In float32 a greedy or seeded
answer is the same alone and in any batch; in bfloat16 or float16 rounding differs with the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from llmsql import sources
from llmsql.backends import base
from llmsql.backends.transformers.model import JUDGE, Model
from llmsql.backends.transformers.options import Options, Sampling
from llmsql.errors import BackendError
from llmsql.torch_models import numbers
from llmsql.types import Kind, ModelSpec

__all__ = ["JUDGE", "Backend", "Model", "Options", "Sampling"]


class Backend(base.Backend):
    """Causal language models in PyTorch."""

    options = Options
    sampling = Sampling
    kinds = ("chat", "rerank")
    file_kinds = ("chat",)
    file_formats = ("directory", "gguf")
    extra = "transformers"
    modules = ("torch", "transformers")
    paced = frozenset({"batch_size"})

    def kind_of(self, path: str, model_type: str) -> Kind:
        """Read it from the model's files."""
        return sources.kind_of(sources.adapted(path)[0])

    def load(self, spec: ModelSpec) -> base.Model:
        """Load the model onto the GPU where there is one; a GGUF file is converted on first use."""
        self.require()
        options: Options = spec.options or Options()
        path = spec.path or sources.locate(spec.source)
        path, adapter = sources.adapted(path, options.base_model)
        sources.check(path)
        if adapter:
            sources.adapters.check(adapter)
        _check_causal(spec.source or path, path)
        return _loaded(spec, path, adapter, options)

    def identity(self, spec: ModelSpec) -> Mapping[str, Any]:
        """Return what decides an answer: of a judge, what it is asked as well."""
        judge = JUDGE if spec.kind == "rerank" else None
        return {**self.identity_of_adapted(spec), "judge": judge}

    def deciding(self, options: Any) -> dict[str, Any]:
        """Return the options that change answers: a template by its text, and a number of bits."""
        said = super().deciding(options)
        said.pop("quatization")  # the other spelling of what is read below
        return {
            **said,
            "device": numbers.deciding_device(options.dtype, options.device),
            "quantization": options.bits,
            "template": asdict(options.preset) if options.preset else None,
        }


def _check_causal(source: str, path: str) -> None:
    try:
        kind = sources.kind_of(path)
    except BackendError:  # not known from its files; loading tells
        return
    if kind != "chat":
        raise BackendError(
            f'"{source}" does not write text, it is for {kind}; this backend runs causal models\n'
            "  set infer_backend='sentence_transformers'"
        )


def _loaded(spec: ModelSpec, path: str, adapter: str | None, options: Options) -> Model:
    import torch

    from llmsql.torch_models import loading, placement
    from llmsql.torch_models.decoding import Decoder
    from llmsql.torch_models.wording import Wording

    device = placement.device(options.device)
    dtype = placement.dtype(options.dtype, device)
    place = loading.Place(
        device,
        dtype,
        placement.quantization(options.bits, options.llm_int8_threshold, device, dtype),
        trust_remote_code=options.trust_remote_code,
        is_spread=spec.gpus > 1,
        is_long=options.long_context,
    )
    model, tokenizer = loading.load(spec.source or path, path, place, adapter)
    if device.type == "cuda":
        # Half of what the weights left: the other half is for the steps themselves.
        slots, step_tokens, memory = 256, 8192, torch.cuda.mem_get_info(device)[0] // 2
    else:
        slots, step_tokens, memory = 64, 256, 2 << 30
    decoder = Decoder(
        model, slots=options.batch_size or slots, step_tokens=step_tokens, memory=memory
    )
    template = options.chat_format(tokenizer)
    wording = Wording(model, tokenizer, template=template, context=options.context)
    cuts = options.preset.cuts if options.preset else ()
    return Model(decoder, wording, options.system_prompt, cuts)
