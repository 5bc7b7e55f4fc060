"""What every backend lets one say about a causal language model."""

from __future__ import annotations

from dataclasses import dataclass

from llmsql import templates
from llmsql.errors import OptionError
from llmsql.torch_models.numbers import Dtype
from llmsql.torch_models.room import Truncate


@dataclass(frozen=True)
class Options(templates.Formatted):
    """
    What RUN command AS LLM accepts for a causal language model.

    *context* is the most tokens of prompt and answer. *template* names a chat format,
    *chat_template* is one; without them the model's own is used, as with "auto". *system_prompt* is
    used where a call gives none. *limit* is how many tokens a prompt may have before what was said
    first is left out; with *truncate* "oldest" that makes room for the answer too. *base_model* is
    the model that an adapter belongs to. *trust_remote_code* runs code that comes with the model.
    """

    device: str = "auto"
    dtype: Dtype = "auto"
    context: int | None = None
    template: str | None = None
    chat_template: str | None = None
    system_prompt: str | None = None
    limit: int | None = None
    truncate: Truncate = "none"
    trust_remote_code: bool = False
    base_model: str | None = None

    def __post_init__(self) -> None:
        if self.context is not None and self.context < 2:
            raise OptionError(f"context must be 2 or more, not {self.context}")
        if self.limit is not None and self.limit < 1:
            raise OptionError(f"limit must be 1 or more, not {self.limit}")
        self.check_format()
