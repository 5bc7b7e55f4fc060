"""What a set of inputs is going to need: tokens, seconds, money. No model is asked.

Tokens to read are counted by the model's own tokenizer where there is one, of a sample where the
set is large; tokens to write and seconds are what this model took so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
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


ASIDE = b" aside"
"""Ends the name of a group of calls whose tokens say nothing of the next ones."""


def aside(group: bytes) -> bytes:
    """What the calls of *group* stand under that failed, or whose tokens nobody told."""
    return group + ASIDE


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

    calls: int = 0  # whose tokens were told
    tokens_out: int = 0
    tokens_in: int = 0
    characters: int = 0
    answered: int = 0  # these, and those of which nobody told
    seconds: float = 0.0

    @classmethod
    def of(cls, deployment: Deployment, answers: Answers, store: Store) -> _Past:
        group = deployment.family(answers).digest
        telling = [store.usage_of(group)]
        others = [store.usage_of(aside(group))]
        if not any(telling + others):
            rows = [row for row in store.usage() if row["model"] == deployment.name]
            telling = [row for row in rows if not row["group"].endswith(ASIDE)]
            others = [row for row in rows if row["group"].endswith(ASIDE)]
        told, untold = _sums(telling), _sums(others)
        return cls(
            calls=told["calls"] - told["failed"],
            tokens_out=told["output_tokens"],
            tokens_in=told["input_tokens"],
            characters=told["input_chars"],
            answered=sum(sums["calls"] - sums["failed"] for sums in (told, untold)),
            seconds=told["seconds"] + untold["seconds"],
        )

    def output_tokens(self, calls: int, most: float) -> float:
        """How many tokens so many answers have: *most* where none has been counted."""
        is_told = self.calls and self.tokens_out
        return min(self.tokens_out / self.calls * calls, most) if is_told else most

    @property
    def seconds_per_call(self) -> float | None:
        return self.seconds / self.answered if self.answered and self.seconds else None

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


def _sums(rows: Iterable[Mapping[str, Any] | None]) -> Counter[str]:
    """The sums of *rows* of usage, 0 of what none of them has."""
    sums: Counter[str] = Counter()
    for row in filter(None, rows):
        sums.update({name: n for name, n in row.items() if isinstance(n, (int, float))})
    return sums


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
