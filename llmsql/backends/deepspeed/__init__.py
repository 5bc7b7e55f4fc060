"""Run causal language models through DeepSpeed's inference engine. Spec B03.

A model of transformers whose steps DeepSpeed runs: in this process on one GPU or the CPU, split
over as many processes as there are to be GPUs otherwise. How steps go through it is `engine`'s
business, the processes that of `ranks`; all else is what `transformers` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from llmsql import templates
from llmsql.backends import base
from llmsql.backends.transformers import JUDGE, Sampling, checked_files
from llmsql.errors import BackendError, OptionError
from llmsql.sources import adapted, kind_of
from llmsql.torch_models import numbers
from llmsql.torch_models.room import Truncate, check_limit
from llmsql.types import Kind, ModelSpec

__all__ = ["Backend", "Options", "Sampling"]


@dataclass(frozen=True)
class Options(templates.Formatted):
    """
    What RUN command AS LLM accepts for this backend; the options are those of transformers.

    *num_gpus* of the statement is the number of GPUs that a model's layers are split over.
    """

    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    context: int | None = None
    batch_size: int = 0
    template: str | None = None
    chat_template: str | None = None
    system_prompt: str | None = None
    limit: int | None = None
    truncate: Truncate = "none"
    trust_remote_code: bool = False
    base_model: str | None = None
    long_context: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 0:
            raise OptionError(f"batch_size must be 0 or more, not {self.batch_size}")
        if self.context is not None and self.context < 2:
            raise OptionError(f"context must be 2 or more, not {self.context}")
        check_limit(self.limit)
        self.check_format()


class Backend(base.Backend):
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

    def kind_of(self, path: str, model_type: str) -> Kind:
        """Read it from the model's files."""
        return kind_of(adapted(path)[0])

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

    def identity(self, spec: ModelSpec) -> Mapping[str, Any]:
        """Return what decides an answer: of a judge, what it is asked as well."""
        judge = JUDGE if spec.kind == "rerank" else None
        return {**self.identity_of_adapted(spec), "judge": judge}

    def deciding(self, options: Any) -> dict[str, Any]:
        """Return the options that change answers: a template counts by its text."""
        return {
            **super().deciding(options),
            "device": numbers.deciding_device(options.dtype, options.device),
            "template": asdict(options.preset) if options.preset else None,
        }
