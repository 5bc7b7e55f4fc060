"""A set of inputs that a model is asked: each answer counted, kept and written down as it comes.

Owns what is done with one answer. Whether the set may be asked at all is the account's business.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llmsql.errors import GenerationError
from llmsql.runtime import asked, expected
from llmsql.runtime.answers import Answers, Tokens
from llmsql.runtime.deployments import Deployment
from llmsql.runtime.spent import Spent
from llmsql.store import Entry
from llmsql.syntax import tags
from llmsql.token_estimate import estimate
from llmsql.types import Completion, Usage, bare

if TYPE_CHECKING:
    from llmsql.runtime.account import Account
    from llmsql.runtime.gate import Gate

UNKNOWN = Usage()
"""Not 0: nobody has said."""

Sites = Mapping[Any, int]
"""Distinct inputs, each with the number of the call in the statement that wants it."""


class Run:
    """A set of inputs that a model is asked: every answer is counted, kept and written down."""

    def __init__(
        self,
        account: Account,
        deployment: Deployment,
        answers: Answers,
        sites: Sites,
        gate: Gate,
    ) -> None:
        self.account = account
        self.gate = gate
        self.sites = sites
        self.deployment = deployment
        self.group = deployment.group(answers)
        self.answers = answers
        self.is_kept = account.keeps(deployment, answers)
        self._started = time.monotonic()
        self._sums = {"calls": 0, "failed": 0, "input_chars": 0, "input_tokens": 0}
        self._sums |= {"output_tokens": 0, "cached_tokens": 0}
        self._cost: float | None = None
        self._failed: dict[Any, GenerationError] = {}

    def answered(self, key: Any, result: Any) -> None:
        """Keep the answer *result* of *key*, or its GenerationError, and count what it cost."""
        site, call = self.sites[key], self.group.key(key)
        account, error = self.account, result if isinstance(result, GenerationError) else None
        usage = getattr(result, "usage", None) or UNKNOWN
        reason = getattr(result, "finish_reason", None)
        account.cuts.add(self.answers, key, reason, usage.output_tokens)
        if error is not None:
            account.failed += 1
        elif self.is_kept:
            entry = Entry(
                value_of(result),
                reason or "stop",
                usage.input_tokens,
                usage.output_tokens,
                self.answers.statement,
            )
            account.kept.put(self.group, call, entry)
            account.has_put = True
            if not account.is_kept:
                self.answers.unkept[key] = _tokens(usage.input_tokens, usage.output_tokens)
        self._add(key, site, usage, None if error is not None else value_of(result), error)
        if error is not None:
            self._failed[key] = error  # written down when the model can count its tokens
        else:
            self._record(key, usage, result, reason or "stop")
        account.budget.enforce()

    @property
    def calls(self) -> int:
        """How many of its inputs were asked."""
        return self._sums["calls"]

    def finish(self, share: float) -> None:
        """Count the *share* of the time it took that was its own."""
        seconds = (time.monotonic() - self._started) * share
        account = self.account
        self._record_failed()
        for spent in (account.spent, account.conditions.spent):
            spent.end(self, share)
        if not self.calls:
            seconds = 0.0  # stopped before the first answer: no measure of what a call takes
        account.count(self.deployment, self.answers, **self._sums, seconds=seconds, cost=self._cost)
        account.records.write()

    def _record_failed(self) -> None:
        """Write down what failed, with the tokens that it would have read."""
        keys, counts = list(self._failed), None
        with suppress(Exception):  # the model may be what failed
            counts = keys and expected.tokens_asked(self.deployment, self.answers, keys)
        for key, count in zip(keys, counts or [None] * len(keys), strict=True):
            error = self._failed[key]
            self._record(key, Usage(input_tokens=count), error, "error", str(error))

    def _record(
        self, key: Any, usage: Usage, result: Any, reason: str, error: str | None = None
    ) -> None:
        self.account.records.add(
            self.deployment.name,
            key,
            self.sites[key],
            self.group.key(key),
            usage,
            seconds=getattr(result, "seconds", None),
            retries=getattr(result, "retries", None),
            replica=getattr(result, "replica", 0),
            finish_reason=reason,
            error=error,
        )

    def _add(
        self, key: Any, site: int, usage: Usage, value: Any, error: GenerationError | None
    ) -> None:
        inputs, outputs = usage.input_tokens or 0, usage.output_tokens or 0
        cached = usage.cached_tokens or 0
        terms = self.deployment.spec.terms
        cost = terms.cost(usage.input_tokens, usage.output_tokens)
        assumed = _assumed(key, usage, value)
        counted = cost if cost is not None else terms.cost(*assumed)
        for spent in (self.account.spent, self.account.conditions.spent):
            spent.add(*assumed, cached, counted)
        self.gate.reserved.take(key, *assumed, counted)  # after that, lest it seem free meanwhile
        self.gate.learn(key, usage)
        if self.account.tallies is not None:
            tally = self.account.tallies.setdefault((self.answers, tags.plain(site)), Spent())
            tally.add(inputs, outputs, cached, cost)
        sums = self._sums
        sums["calls"] += 1
        sums["failed"] += error is not None
        sums["input_chars"] += asked.length(key)
        sums["input_tokens"] += inputs
        sums["output_tokens"] += outputs
        sums["cached_tokens"] += cached
        if cost is not None:
            self._cost = (self._cost or 0.0) + cost


@lru_cache(1 << 12)
def _tokens(read: int | None, written: int | None) -> Tokens:
    """The same pair for all answers of so many tokens: there may be millions."""
    return read, written


def value_of(result: Any) -> Any:
    """The text, vector or score in *result*, which may come with what it cost."""
    return result.text if isinstance(result, Completion) else bare(result)


def _assumed(key: Any, usage: Usage, value: Any) -> tuple[int, int]:
    """The tokens that a call counts for: estimated where nobody told, or caps would not hold."""
    inputs, outputs = usage.input_tokens, usage.output_tokens
    if inputs is None:
        texts = (key,) if isinstance(key, str) else key
        inputs = round(sum(map(estimate, texts))) + expected.FRAME_TOKENS
    if outputs is None:
        outputs = round(estimate(value)) if isinstance(value, str) else 0
    return inputs, outputs
