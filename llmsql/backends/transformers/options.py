"""What the transformers backend is told: at deployment, and at a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmsql import templates, types
from llmsql.errors import OptionError
from llmsql.torch_models.room import Truncate, check_limit

Bits = Literal["4", "8", "true", "false"]


@dataclass(frozen=True)
class Options(templates.Formatted):
    """
    What RUN command AS LLM accepts for this backend.

    *quantization* is a number of bits ("true" is 4) and needs CUDA; *quatization* is the same, as
    older scripts spell it. *batch_size* rows run side by side, 0 chooses. *template* names a chat
    format, *chat_template* is one; without them the model's own is used, as with "auto".
    *system_prompt* is used where a call gives none. *limit* is how many tokens a prompt may have
    before what was said first is left out; with *truncate* "oldest" that makes room for the answer
    too. *base_model* is the model that an adapter belongs to, *long_context* stretches a rotary
    model to 16384 tokens. *trust_remote_code* runs code that comes with the model.
    """

    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantization: Bits = "false"
    quatization: Bits = "false"
    llm_int8_threshold: float = 6.0
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

    @property
    def bits(self) -> int:
        """How many bits a weight is stored in, 0 for all of them."""
        given = self.quatization if self.quantization == "false" else self.quantization
        return {"4": 4, "8": 8, "true": 4}.get(given, 0)


@dataclass(frozen=True)
class Sampling(types.Sampling):
    """How an answer is drawn, with what transformers adds."""

    min_p: float = 0.0
    min_tokens: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    stop_token_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.min_p <= 1:
            raise OptionError(f"min_p must be between 0 and 1, not {self.min_p}")
        if self.repetition_penalty <= 0:
            raise OptionError(f"repetition_penalty must be above 0, not {self.repetition_penalty}")
