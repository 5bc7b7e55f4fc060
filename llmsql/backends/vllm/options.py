"""What the vLLM backend is told: at deployment, and at a call.

Its own options are here; `arguments` knows those of the installed vLLM's engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmsql import types
from llmsql.backends.vllm import arguments
from llmsql.errors import OptionError
from llmsql.torch_models import options


@dataclass(frozen=True)
class Options(options.Options):
    """
    What RUN command AS LLM accepts for this backend, beside every engine argument of vLLM.

    *quantization* is a method of vLLM: awq, gptq, fp8, bitsandbytes. *normalize*, *dimensions* and
    *prompt*, which is put before each text, are for embeddings. *kv_cache_gb* is the room for what
    was read on a CPU.
    """

    quantization: str | None = None
    normalize: bool = True
    dimensions: int | None = None
    prompt: str | None = None
    kv_cache_gb: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dimensions is not None and self.dimensions < 1:
            raise OptionError(f"dimensions must be 1 or more, not {self.dimensions}")
        if not 0 < self.kv_cache_gb < float("inf"):
            raise OptionError(f"kv_cache_gb must be above 0, not {self.kv_cache_gb:g}")

    @classmethod
    def opened(cls, given: Mapping[str, Any]) -> type[Options]:
        """Return these options with the engine arguments that *given* names, or nearly names."""
        return arguments.opened(Options, given)

    @property
    def engine(self) -> dict[str, Any]:
        """The engine arguments that were given, by their names in vLLM."""
        return arguments.given(self, Options)


@dataclass(frozen=True)
class Sampling(types.Sampling):
    """
    How an answer is drawn, with what vLLM adds.

    *json_schema*, *regex*, *grammar* and *choice* bind the answer to a form, one of them at most.
    With *logprobs* an answer tells the sum of its tokens' log-probabilities.
    """

    min_p: float = 0.0
    min_tokens: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    json_schema: types.JsonObject | None = None
    regex: str | None = None
    grammar: str | None = None
    choice: tuple[str, ...] = ()
    best_of: int = 1
    use_beam_search: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.min_p <= 1:
            raise OptionError(f"min_p must be between 0 and 1, not {self.min_p}")
        if not 0 <= self.min_tokens <= self.max_tokens:
            raise OptionError(f"min_tokens must be 0 to max_tokens, not {self.min_tokens}")
        for name in ("presence_penalty", "frequency_penalty"):
            if not -2 <= getattr(self, name) <= 2:
                raise OptionError(f"{name} must be between -2 and 2, not {getattr(self, name)}")
        if not 0 < self.repetition_penalty <= 2:
            raise OptionError(
                f"repetition_penalty must be above 0 and at most 2, not {self.repetition_penalty}"
            )
        if self.logprobs is not None and self.logprobs < 0:
            raise OptionError(f"logprobs must be 0 or more, not {self.logprobs}")
        if self.best_of != 1 or self.use_beam_search:
            raise OptionError(
                "vLLM draws one answer for a prompt\n  leave out best_of and use_beam_search"
            )
        self._check_form()

    @property
    def form(self) -> dict[str, Any]:
        """The form that binds the answer, by its name in vLLM; empty for none."""
        said = {"json": self.json_schema, "regex": self.regex, "grammar": self.grammar}
        return {name: value for name, value in said.items() if value is not None} | (
            {"choice": list(self.choice)} if self.choice else {}
        )

    def _check_form(self) -> None:
        if len(self.form) > 1:
            raise OptionError(
                "an answer has one form: give one of json_schema, regex, grammar, choice"
            )
        types.json_object("json_schema", self.json_schema)
