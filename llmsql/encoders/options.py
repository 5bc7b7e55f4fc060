"""What every backend lets one say about an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from llmsql.errors import OptionError


@dataclass(frozen=True)
class Options:
    """What RUN command AS LLM accepts for an encoder; *prompt* is put before each text."""

    normalize: bool = True
    dimensions: int | None = None
    max_length: int | None = None
    prompt: str | None = None
    prompt_name: str | None = None
    batch_tokens: int | None = None

    POSITIVE: ClassVar[tuple[str, ...]] = ("dimensions", "max_length", "batch_tokens")

    def __post_init__(self) -> None:
        for name in self.POSITIVE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} must be 1 or more, not {value}")
