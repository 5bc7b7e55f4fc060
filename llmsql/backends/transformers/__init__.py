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
        path, adapter = checked_files(spec, options.base_model)
        from llmsql.backends.transformers import assembly

        bits, threshold = options.bits, options.llm_int8_threshold
        return assembly.assembled(
            spec, path, adapter, options, assembly.place(spec, options, bits, threshold)
        )

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


def checked_files(spec: ModelSpec, base_model: str | None) -> tuple[str, str | None]:
    """Return where the model of *spec* is, and its adapter; BackendError where it cannot be run."""
    path = spec.path or sources.locate(spec.source)
    path, adapter = sources.adapted(path, base_model)
    sources.check(path)
    if adapter:
        sources.adapters.check(adapter)
    _check_causal(spec.source or path, path)
    return path, adapter or None


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
