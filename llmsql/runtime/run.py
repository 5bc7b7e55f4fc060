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
from llmsql.runtime.spent import Told
from llmsql.store import Entry
from llmsql.syntax import tags
from llmsql.token_estimate import estimate
from llmsql.types import Completion, Terms, Usage, bare

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
        self.calls = 0
        self._told, self._aside = Told(), Told()
        self._characters = 0
        self._failed: dict[Any, GenerationError] = {}

    def answered(self, key: Any, result: Any) -> None:
        """Keep the answer *result* of *key*, or its GenerationError, and count what it cost."""
        call = self.group.key(key)
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
        self.calls += 1
        self._spend(key, usage, result)
        if error is not None:
            self._failed[key] = error  # written down when the model can count its tokens
        else:
            self._tell(key, usage, value_of(result))
            self._record(key, usage, result, reason or "stop")
        account.budget.enforce()

    def finish(self, share: float) -> None:
        """Count the *share* of the time it took that was its own."""
        seconds = (time.monotonic() - self._started) * share
        account = self.account
        self._record_failed()
        for spent in (account.spent, account.conditions.spent):
            spent.end(self, share)
        if self.calls:  # else stopped before the first answer: no measure of what a call takes
            self._count(seconds)
        account.records.write()

    def _count(self, seconds: float) -> None:
        """Add what was told, in *seconds*, to what the model has used today."""
        for told in (self._told, self._aside):
            if not told.calls:
                continue
            is_telling = told is self._told
            self.account.count(
                self.deployment,
                self.answers,
                is_telling=is_telling,
                calls=told.calls,
                failed=0 if is_telling else len(self._failed),
                input_chars=self._characters if is_telling else 0,
                input_tokens=told.input_tokens,
                output_tokens=told.output_tokens,
                cached_tokens=told.cached_tokens,
                cost=told.cost,
                seconds=seconds,
            )
            seconds = 0.0

    def _record_failed(self) -> None:
        """Write down what failed, with the tokens that it would have read."""
        keys, counts = list(self._failed), None
        with suppress(Exception):  # the model may be what failed
            counts = keys and expected.tokens_asked(self.deployment, self.answers, keys)
        for key, count in zip(keys, counts or [None] * len(keys), strict=True):
            error, usage = self._failed[key], Usage(input_tokens=count)
            self._tell(key, usage, error)
            self._record(key, usage, error, "error", str(error))

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

    def _spend(self, key: Any, usage: Usage, result: Any) -> None:
        """Count under the caps what asking *key* may have cost."""
        terms = self.deployment.spec.terms
        assumed = _assumed(key, usage, result)
        cost = terms.cost(*assumed)
        for spent in (self.account.spent, self.account.conditions.spent):
            spent.add(*assumed, cost)
        self.gate.reserved.take(key, *assumed, cost)  # after that, lest it seem free meanwhile
        self.gate.learn(key, usage)

    def _tell(self, key: Any, usage: Usage, value: Any) -> None:
        """Count for the records what asking *key* is known to have cost."""
        cost = _cost(self.deployment.spec.terms, usage, value)
        is_telling = _is_telling(usage, value)
        totals = [self.account.told, self._told if is_telling else self._aside]
        if (tallies := self.account.tallies) is not None:
            site = tags.plain(self.sites[key])
            totals.append(tallies.setdefault((self.answers, site), Told()))
        for total in totals:
            total.add(usage, cost)
        if is_telling:
            self._characters += asked.length(key)


@lru_cache(1 << 12)
def _tokens(read: int | None, written: int | None) -> Tokens:
    """The same pair for all answers of so many tokens: there may be millions."""
    return read, written


def value_of(result: Any) -> Any:
    """The text, vector or score in *result*, which may come with what it cost."""
    return result.text if isinstance(result, Completion) else bare(result)


def _cost(terms: Terms, usage: Usage, value: Any) -> float | None:
    """What *usage* cost; a call that failed has written nothing."""
    is_failed = isinstance(value, GenerationError)
    return terms.cost(usage.input_tokens, 0 if is_failed else usage.output_tokens)


def _is_telling(usage: Usage, value: Any) -> bool:
    """True where the tokens of a call say what the next ones will take: all told, and answered."""
    if isinstance(value, GenerationError) or usage.input_tokens is None:
        return False
    return usage.output_tokens is not None or not isinstance(value, str)


def _assumed(key: Any, usage: Usage, result: Any) -> tuple[int, int]:
    """The tokens that a call counts for: estimated where nobody told, or caps would not hold."""
    inputs, outputs = usage.input_tokens, usage.output_tokens
    if inputs is None:
        texts = (key,) if isinstance(key, str) else key
        inputs = round(sum(map(estimate, texts))) + expected.FRAME_TOKENS
    if outputs is None:
        value = value_of(result)
        outputs = round(estimate(value)) if isinstance(value, str) else 0
    return inputs, outputs
