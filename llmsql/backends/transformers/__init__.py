"""Run causal language models through transformers, in this process.

Takes a directory, a GGUF file or a Hugging Face id in the cache. In float32 a greedy or seeded
answer is the same alone and in any batch; in bfloat16 or float16 rounding differs with the batch.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from llmsql import sources
from llmsql.backends import base
from llmsql.backends.transformers.causal import Causal, located
from llmsql.backends.transformers.model import Model
from llmsql.backends.transformers.options import Options, Sampling
from llmsql.errors import BackendError
from llmsql.types import ModelSpec

__all__ = ["Backend", "Model", "Options", "Sampling"]


class Backend(Causal):
    """Causal language models in PyTorch."""

    options = Options
    sampling = Sampling
    kinds = ("chat", "rerank")
    file_kinds = ("chat",)
    file_formats = ("directory", "gguf")
    extra = "transformers"
    modules = ("torch", "transformers")
    paced = frozenset({"batch_size", "continuous_batching"})

    def load(self, spec: ModelSpec) -> base.Model:
        """Load the model onto the GPU where there is one; a GGUF file is converted on first use."""
        self.require()
        options: Options = spec.options or Options()
        path, adapter = checked_files(spec, options.base_model)
        from llmsql.backends.transformers import assembly
        from llmsql.torch_models.library_batching import LibraryBatching

        bits, threshold = options.bits, options.llm_int8_threshold
        return assembly.assembled(
            spec, path, adapter, options, assembly.place(spec, options, bits, threshold),
            make_decoder=partial(LibraryBatching, wanted=options.continuous_batching),
        )  # fmt: skip

    def deciding(self, options: Any) -> dict[str, Any]:
        """Return the options that change answers, with a number of bits for both spellings."""
        said = super().deciding(options)
        said.pop("quatization")
        return {**said, "quantization": options.bits}


def checked_files(spec: ModelSpec, base_model: str | None) -> tuple[str, str | None]:
    """Return where the model of *spec* is, and its adapter; BackendError where it cannot be run."""
    path, adapter = located(spec, base_model)
    _check_causal(spec.source or path, path)
    return path, adapter


def _check_causal(source: str, path: str) -> None:
    try:
        kind = sources.kind_of(path)
    except BackendError:  # not known from its files; loading tells
        return
    if kind != "chat":
        raise BackendError(
            f'"{source}" does not write text, it is for {kind}; this backend runs causal models\n'
            f"  leave out kind and infer_backend, or say kind='{kind}'"
        )
