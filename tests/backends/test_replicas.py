"""Replicas of a real model: two processes of SmolLM2 answer as one does, also when one dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from llmsql.backends import base
from llmsql.replicas.replicated import Replicated
from llmsql.types import Prompt, Sampling

from .conftest import twice

pytestmark = pytest.mark.models


def test_two_answer_as_one(model: Callable[[str], base.Model]) -> None:
    """Greedy and seeded answers do not depend on the replica, nor on a death in mid-batch."""
    one = model("transformers")  # which is skipped where its packages are not there
    prompts = [
        Prompt(f"Name {i} towns.", Sampling(temperature, seed=5, max_tokens=6))
        for i in range(8)
        for temperature in (0.0, 1.0)
    ]
    wanted = {index: answer.text for index, answer in one.generate(prompts)}  # type: ignore[union-attr]
    two = twice("transformers", "chat", "smollm2", device="cpu", dtype="float32")
    assert isinstance(two, Replicated)
    running = iter(two.generate(prompts))
    index, first = next(running)
    os.kill(two.pids[0], signal.SIGKILL)
    found = dict(running) | {index: first}
    two.unload()
    assert {index: answer.text for index, answer in found.items()} == wanted  # type: ignore[union-attr]
    assert two.note == ""
