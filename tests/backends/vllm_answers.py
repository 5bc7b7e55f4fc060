"""What tests of vLLM share: a few questions, and their answers in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmsql.backends.vllm import Sampling
from llmsql.types import Completion, Prompt

CITIES = [f"Name one thing that people do in {name}." for name in ("Oslo", "Rome", "Lima", "Bern")]


def answers(model: Any, asked: Sequence[str], **sampling: Any) -> list[Completion]:
    """The completion of each of *asked*, in their order."""
    found = dict(model.generate([Prompt(text, Sampling(**sampling)) for text in asked]))
    assert all(isinstance(answer, Completion) for answer in found.values()), found
    return [found[index] for index in range(len(asked))]
