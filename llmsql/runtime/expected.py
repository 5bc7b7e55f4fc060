"""What a set of inputs is going to need: tokens, seconds, money. No model is asked.

Tokens to read are counted by the model's own tokenizer where there is one, of a sample where the
set is large; tokens to write and seconds are what this model took so far.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from llmsql.runtime import asked
from llmsql.runtime.answers import Answers
from llmsql.runtime.deployments import Deployment
from llmsql.runtime.spent import Need
from llmsql.store import Store
from llmsql.token_estimate import estimate

SAMPLE = 2_000
TURN_SECONDS = 1.0
FRAME_TOKENS = 8
"""What a chat format puts around a prompt, about, where only the server knows."""


@dataclass(frozen=True)
class Expected:
    """What so many calls need. Numbers are None where nobody can tell."""

    calls: int
    input_tokens: float
    is_counted: bool  # all of them by the model's tokenizer, and not estimated
    output_tokens: float
    seconds: float | None
    cost: float | None

    @property
    def need(self) -> Need:
        """The same as a need, for the caps."""
        return Need(self.calls, self.input_tokens, self.output_tokens, self.cost, self.seconds)


def of(
    deployment: Deployment,
    answers: Answers,
    keys: Sequence[Hashable],
    store: Store,
    *,
    is_exact: bool = False,
) -> Expected:
    """What asking *keys*, which are distinct, will need; *is_exact* counts all of many."""
    past = _Past.of(deployment, answers, store)
    inputs, is_counted = _input_tokens(deployment, answers, keys, past, is_exact=is_exact)
    sample, _ = _sampled(keys)
    written = asked.most_written(deployment, answers, sample)
    most = sum(written) * len(keys) / max(1, len(sample))
    outputs = past.output_tokens(len(keys), most)
    return Expected(
        calls=len(keys),
        input_tokens=inputs,
        is_counted=is_counted,
        output_tokens=outputs,
        seconds=past.seconds_per_call and past.seconds_per_call * len(keys),
        cost=deployment.spec.terms.cost(inputs, outputs),
    )


def at_most(deployment: Deployment, answers: Answers, keys: Sequence[Hashable]) -> Need:
    """What asking *keys* may turn out to need: answers as long as they may be, texts as dense."""
    read = _counted(deployment, answers, keys)
    inputs = sum(asked.most_read(deployment, answers, keys) if read is None else read)
    outputs = sum(asked.most_written(deployment, answers, keys))
    return Need(len(keys), inputs, outputs, deployment.spec.terms.cost(inputs, outputs))


def tokens_asked(
    deployment: Deployment, answers: Answers, keys: Sequence[Hashable]
) -> list[int] | None:
    """The tokens of each of *keys* by the model's own tokenizer; None where nobody can tell.

    For the thread in which the model works, as that waits for nothing.
    """
    given = asked.inputs(deployment, answers, keys)
    return None if given is None else deployment.model.count_tokens(given)


def together(needs: Sequence[Need]) -> Need:
    """The sum of *needs*; None where one of them is unknown."""

    def total(name: str) -> float | None:
        values = [getattr(need, name) for need in needs if need.calls]
        return None if None in values else sum(values)

    calls = sum(need.calls for need in needs)
    names = ("input_tokens", "output_tokens", "cost", "seconds")
    return Need(calls, *(total(name) for name in names))


@dataclass(frozen=True)
class _Past:
    """What this model did so far under this sampling; under any, where it has not been used."""

    calls: int = 0
    tokens_out: int = 0
    tokens_in: int = 0
    characters: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, deployment: Deployment, answers: Answers, store: Store) -> _Past:
        rows = [store.usage_of(deployment.family(answers).digest)]
        if not any(rows):
            rows = [row for row in store.usage() if row["model"] == deployment.name]
        sums: dict[str, Any] = {}
        for row in filter(None, rows):
            for name, value in row.items():
                if isinstance(value, (int, float)):
                    sums[name] = sums.get(name, 0) + value
        return cls(
            calls=sums.get("calls", 0) - sums.get("failed", 0),
            tokens_out=sums.get("output_tokens", 0),
            tokens_in=sums.get("input_tokens", 0),
            characters=sums.get("input_chars", 0),
            seconds=sums.get("seconds", 0.0),
        )

    def output_tokens(self, calls: int, most: float) -> float:
        """How many tokens so many answers have: *most* where none has been seen."""
        return min(self.tokens_out / self.calls * calls, most) if self.calls else most

    @property
    def seconds_per_call(self) -> float | None:
        return self.seconds / self.calls if self.calls and self.seconds else None

    def input_tokens(self, calls: int, characters: float, estimated: float) -> float | None:
        """How many tokens so many calls read, whose texts alone are *estimated* to be so many.

        None where nothing is known. What the calls before had beyond such an estimate stood around
        their texts, as a chat format does: of one short prompt it is nearly all.
        """
        if not (self.calls and self.tokens_in and self.characters and characters):
            return None
        density = estimated / characters
        around = max(0.0, self.tokens_in - density * self.characters) / self.calls
        within = min(density, self.tokens_in / self.characters)
        return around * calls + within * characters


def _input_tokens(
    deployment: Deployment,
    answers: Answers,
    keys: Sequence[Hashable],
    past: _Past,
    *,
    is_exact: bool,
) -> tuple[float, bool]:
    """How many tokens *keys* are, and whether the model's own tokenizer has counted them all."""
    sample, factor = (keys, 1.0) if is_exact else _sampled(keys)
    counts = _counted(deployment, answers, sample)
    if counts is not None:
        return round(sum(counts) * factor), len(sample) == len(keys)
    tokens = sum(estimate(text) for key in sample for text in asked.texts(key)) * factor
    known = past.input_tokens(len(keys), sum(map(asked.length, keys)), tokens)
    if known is not None:
        return known, False
    frame = FRAME_TOKENS if deployment.spec.kind == "chat" else 0
    system = getattr(answers.sampling, "system", None) or ""
    around = frame + (estimate(system) + FRAME_TOKENS / 2 if system else 0)
    return tokens + around * len(keys), False


def _counted(
    deployment: Deployment, answers: Answers, keys: Sequence[Hashable]
) -> list[int] | None:
    """The tokens of each of *keys*; None where only a server knows, or the model is at work."""
    if not deployment.turn.acquire(timeout=TURN_SECONDS):
        return None
    try:
        return tokens_asked(deployment, answers, keys)
    finally:
        deployment.turn.release()


def _sampled(keys: Sequence[Hashable]) -> tuple[Sequence[Hashable], float]:
    """Some of *keys*, of every length alike, and how much more text all of them are."""
    if len(keys) <= SAMPLE:
        return keys, 1.0
    ordered = sorted(keys, key=asked.length)
    sample = ordered[:: len(keys) // SAMPLE]
    total, part = sum(map(asked.length, keys)), sum(map(asked.length, sample))
    return sample, total / part if part else len(keys) / len(sample)
