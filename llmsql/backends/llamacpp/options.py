"""What the llamacpp backend is told: at deployment, and at a call. Spec B04, K05."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmsql import templates, types
from llmsql.errors import OptionError
from llmsql.torch_models.room import Truncate


@dataclass(frozen=True)
class Options(templates.Formatted):
    """
    What RUN command AS LLM accepts for this backend.

    *context* is in tokens, for prompt and answer of one row; *n_parallel* rows run side by side; 0
    chooses either, as it does for *n_threads*. *n_batch* tokens are read in one step.
    *n_gpu_layers* layers go to the GPU, -1 is as many as fit. *device* is auto, cpu, or cuda:N.
    *template* names a chat format, *chat_template* is one; without them the file's own is used.
    *system_prompt* is used where a call gives none, *limit* is how many tokens a prompt may have
    before what was said first is left out; with *truncate* "oldest" that makes room for the answer
    too. *normalize* gives vectors the length 1. *verbose* lets
    llama.cpp write its log to stderr.
    """

    device: str = "auto"
    context: int = 0
    n_parallel: int = 0
    n_batch: int = 2048
    n_threads: int = 0
    n_gpu_layers: int = -1
    use_mmap: bool = True
    template: str | None = None
    chat_template: str | None = None
    system_prompt: str | None = None
    limit: int | None = None
    truncate: Truncate = "none"
    normalize: bool = True
    verbose: bool = False

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise OptionError(f"{name} must be {least} or more, not {value}")
        self.check_format()
        number = self.device.removeprefix("cuda:")
        if self.device not in ("auto", "cpu", "cuda") and not number.isdecimal():
            raise OptionError(f'device must be auto, cpu or cuda:N, not "{self.device}"')

    @property
    def generation(self) -> Mapping[str, Any]:
        """What every call has where neither it nor the deployment says otherwise."""
        taken = Sampling.__dataclass_fields__
        return {name: value for name, value in super().generation.items() if name in taken}


_LEAST = {
    "context": 0,
    "n_parallel": 0,
    "n_batch": 32,
    "n_threads": 0,
    "n_gpu_layers": -1,
    "limit": 1,
}


@dataclass(frozen=True)
class Sampling(types.Sampling):
    """How an answer is drawn, with what llama.cpp adds: *grammar* is GBNF, *json_schema* JSON."""

    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    repeat_last_n: int = 64
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    mirostat_mode: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    grammar: str | None = None
    json_schema: types.JsonObject | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("min_p", "typical_p"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} must be between 0 and 1, not {getattr(self, name)}")
        if self.repetition_penalty <= 0:
            raise OptionError(f"repetition_penalty must be above 0, not {self.repetition_penalty}")
        if self.repeat_last_n < -1:
            raise OptionError(f"repeat_last_n must be -1 or more, not {self.repeat_last_n}")
        if self.mirostat_mode not in (0, 1, 2):
            raise OptionError(f"mirostat_mode must be 0, 1 or 2, not {self.mirostat_mode}")
        if self.grammar and self.json_schema:
            raise OptionError("give grammar or json_schema, not both")
        types.json_object("json_schema", self.json_schema)
