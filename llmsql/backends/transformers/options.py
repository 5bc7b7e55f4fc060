"""What the transformers backend is told: at deployment, and at a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmsql import types
from llmsql.errors import OptionError
from llmsql.torch_models import options

Bits = Literal["4", "8", "true", "false"]


@dataclass(frozen=True)
class Decoded(options.Options):
    """
    What is said of a model that our own loop decodes.

    *batch_size* rows run side by side, 0 chooses. *long_context* stretches a rotary model to 16384
    tokens.
    """

    batch_size: int = 0
    long_context: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 0:
            raise OptionError(f"batch_size must be 0 or more, not {self.batch_size}")
        super().__post_init__()


@dataclass(frozen=True)
class Options(Decoded):
    """
    What RUN command AS LLM accepts for this backend.

    *quantization* is a number of bits ("true" is 4) and needs CUDA; *quatization* is the same, as
    older scripts spell it. With *continuous_batching* "true" the library's own continuous batching
    decodes greedy rows; "auto" leaves that to what is seen to be faster on a GPU, and does without
    on a CPU.
    """

    quantization: Bits = "false"
    quatization: Bits = "false"
    llm_int8_threshold: float = 6.0
    continuous_batching: Literal["auto", "true", "false"] = "auto"

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
        for name in ("min_tokens", "no_repeat_ngram_size"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if self.repetition_penalty <= 0:
            raise OptionError(f"repetition_penalty must be above 0, not {self.repetition_penalty}")
