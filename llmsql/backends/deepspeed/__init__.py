"""Run causal language models through DeepSpeed's inference engine. Spec B03.

A model of transformers whose steps DeepSpeed runs: in this process on one GPU or the CPU, split
over as many processes as there are to be GPUs otherwise. How steps go through it is `engine`'s
business, the processes that of `ranks`; all else is what `transformers` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmsql.backends import base
from llmsql.backends.transformers import Sampling, checked_files
from llmsql.backends.transformers.causal import Causal
from llmsql.backends.transformers.options import Decoded
from llmsql.errors import BackendError
from llmsql.types import ModelSpec

__all__ = ["Backend", "Options", "Sampling"]


@dataclass(frozen=True)
class Options(Decoded):
    """
    What RUN command AS LLM accepts for this backend.

    *num_gpus* of the statement is the number of GPUs that a model's layers are split over.
    """


class Backend(Causal):
    """Causal language models in DeepSpeed, split over several GPUs where that is wanted."""

    options = Options
    sampling = Sampling
    kinds = ("chat", "rerank")
    file_kinds = ("chat",)
    file_formats = ("directory", "gguf")
    preference = 2
    extra = "deepspeed"
    modules = ("deepspeed", "torch", "transformers")
    paced = frozenset({"batch_size"})

    def volunteers(self, path: str, said: Mapping[str, Any]) -> bool:
        """Return False: on one GPU it runs the same steps as transformers."""
        return False

    def load(self, spec: ModelSpec) -> base.Model:
        """Load the model; on several GPUs, into a process for each."""
        self.require()
        options: Options = spec.options or Options()
        path, adapter = checked_files(spec, options.base_model)
        from llmsql.backends.deepspeed import engine
        from llmsql.backends.deepspeed.ranks import Order, Ranked
        from llmsql.backends.transformers import assembly

        place = assembly.place(spec, options)
        if place.gpus < 2:
            return engine.loaded(spec, path, adapter, options, place)
        if options.device not in ("auto", "cuda"):
            raise BackendError(
                f'num_gpus is {place.gpus:g}, but device "{options.device}" is one\n'
                "  leave out devices: the model is split over the first num_gpus GPUs"
            )
        return Ranked(Order(spec, path, adapter, options, int(place.gpus)))
