"""What of an input a model reads, and the most that it may write for it. No model is asked."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from llmsql.runtime.answers import Answers
from llmsql.runtime.deployments import Deployment
from llmsql.types import Prompt, Sampling


class Asked(NamedTuple):
    """The texts of one input, with all that is said before them, and the tokens of an answer."""

    texts: Sequence[str]
    most: int


def of(deployment: Deployment, answers: Answers, key: Hashable) -> Asked:
    """What asking *key* gives the model to read, and how much it may write."""
    said = prompt(deployment, answers, key)
    if said is None:
        return Asked(texts(key), 0)
    turns = [turn.content for turn in said.history]
    return Asked([said.sampling.system or "", *turns, said.text], said.sampling.max_tokens)


def prompt(deployment: Deployment, answers: Answers, key: Any) -> Prompt | None:
    """The prompt that *key* is; None for a text, for a pair, and for a request of these."""
    if deployment.spec.kind == "chat" and isinstance(answers.sampling, Sampling):
        return Prompt(str(key), answers.sampling)
    read = getattr(answers.sampling, "prompt", None)
    return read(deployment, key) if read is not None else None


def inputs(deployment: Deployment, answers: Answers, keys: Sequence[Any]) -> Sequence[Any] | None:
    """What the model is given for *keys*; None where that is not one thing for each of them."""
    if deployment.spec.kind == "chat":
        found = [prompt(deployment, answers, key) for key in keys]
        return None if None in found else found
    return keys if answers.sampling is None else None


def most_written(
    deployment: Deployment, answers: Answers, keys: Sequence[Hashable]
) -> Sequence[int]:
    """The most tokens that the answer to each of *keys* may have."""
    if isinstance(answers.sampling, Sampling):
        return [answers.sampling.max_tokens] * len(keys)
    if answers.sampling is None:
        return [0] * len(keys)
    return [of(deployment, answers, key).most for key in keys]


def most_read(deployment: Deployment, answers: Answers, keys: Sequence[Hashable]) -> Sequence[int]:
    """The most tokens that a server, which alone can count them, may count for each of *keys*."""
    return [deployment.bound.of(of(deployment, answers, key).texts) for key in keys]


def length(key: Any) -> int:
    """How many characters the input *key* has."""
    return sum(map(len, texts(key)))


def texts(key: Any) -> tuple[str, ...]:
    """The texts that the input *key* is."""
    return (key,) if isinstance(key, str) else key
