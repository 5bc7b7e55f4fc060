"""The account of one statement: what it reused, what it asks, and what that has cost.

Stands between the scheduler and the store. What is computed, and in what order, is the scheduler's
business; whether it may be is the budget's, and how a call is written down that of `records`.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from llmsql.runtime import expected, history
from llmsql.runtime.answers import Answers
from llmsql.runtime.budget import Budget
from llmsql.runtime.conditions import Conditions
from llmsql.runtime.cuts import Cuts
from llmsql.runtime.deployments import Deployment
from llmsql.runtime.gate import Gate
from llmsql.runtime.progress import Reporter
from llmsql.runtime.records import Records
from llmsql.runtime.reuse import RECORDED
from llmsql.runtime.run import UNKNOWN, Run, Sites
from llmsql.runtime.spent import Spent, Told
from llmsql.runtime.watched import Watched
from llmsql.store import Entry, Found, Store
from llmsql.types import Usage

log = logging.getLogger("llmsql")

SLICE = 131_072


def _numbers() -> Iterator[int]:
    """Numbers for statements, from when this process began; processes tell theirs apart."""
    return itertools.count(time.time_ns() // 1_000_000 * 1_000 + os.getpid() % 1_000, 1_000)


def _renew() -> None:
    global numbers
    numbers = _numbers()


numbers = _numbers()
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew)


class Account:
    """What one statement asks of models, checked beforehand and written down afterwards."""

    def __init__(self, conditions: Conditions, kind: str = "", text: str = "") -> None:
        self.conditions = conditions
        self.number = next(numbers)
        self.kind = kind
        self.text = text
        self.spent = Spent()
        self.told = Told()
        self.reused = 0
        self.failed = 0
        self.cuts = Cuts()
        self.budget = Budget(conditions, self.spent)
        self.records = Records(
            self.number, lambda: self.store, keeps_prompts=conditions.keeps_prompts
        )
        self.reporter = Reporter(self.number, conditions.on_progress)
        self._asked: set[Deployment] = set()
        self._at = datetime.now(UTC).replace(tzinfo=None)
        self._started = time.monotonic()
        self._watched = Watched(self.number, lambda: self.store)
        self.tallies: dict[tuple[Answers, int], Told] | None = None
        self._claimed: bytes | None = None
        self.statement = self._claim()
        self.has_put = False
        self._has_drawn = False
        self._recordable = RECORDED

    @cached_property
    def kept(self) -> Store:
        """Where this statement's answers are kept."""
        return self.conditions.kept

    @cached_property
    def store(self) -> Store:
        """Where its records are kept."""
        return self.conditions.store

    def _claim(self) -> bytes:
        """What names this statement's text, so that running it again finds what it had drawn.

        One that runs beside another of the same text, or has none, draws for itself alone.
        """
        text = self.text.encode("utf-8", "replace")
        digest = hashlib.blake2b(text, digest_size=16).digest()
        if text and self.conditions.stores.claim(digest):
            self._claimed = digest
            return digest
        return hashlib.blake2b(text, digest_size=16, salt=self.number.to_bytes(16)).digest()

    def keeps(self, deployment: Deployment, answers: Answers) -> bool:
        """True where *answers* are kept on disk: what is drawn, for who can find it again."""
        is_findable = answers.statement is None or answers.statement == self._claimed
        return is_findable and deployment.is_kept

    def keep(self, deployment: Deployment, answers: Answers, keys: Sequence[Hashable]) -> None:
        """Store those of *keys* that memory knows and the file does not.

        An earlier statement ran with the cache off.
        """
        if not self.keeps(deployment, answers):
            return
        group = deployment.group(answers)
        # Read once: another connection may clear them meanwhile.
        given = {k: answers.known[k] for k in keys if k in answers.known and k is not None}
        calls = dict(zip(group.keys(list(given)), given, strict=True))
        known = self.kept.known(group, list(calls))
        for call, key in calls.items():
            read, written = answers.unkept.pop(key, (None, None))
            if call in known:
                continue
            reason = "length" if hash(key) in answers.cut else "stop"
            entry = Entry(given[key], reason, read, written, answers.statement)
            self.kept.put(group, call, entry)
            self.has_put = True

    def recall(
        self, deployment: Deployment, answers: Answers, keys: list[Any], sites: Sites
    ) -> list[Any]:
        """Fill *answers* with what the store knows of *keys*; returns the others."""
        if not self.keeps(deployment, answers):
            return keys
        self._has_drawn |= answers.statement is not None
        group = deployment.group(answers)
        slices = [keys[start : start + SLICE] for start in range(0, len(keys), SLICE)]
        unknown: list[Any] = []
        with closing(self.kept.found(group, map(group.keys, slices))) as each:
            for some, found in zip(slices, each, strict=True):
                unknown += self._recalled(deployment, answers, some, found, sites)
        return unknown

    def _recalled(
        self,
        deployment: Deployment,
        answers: Answers,
        keys: list[Any],
        found: Found,
        sites: Sites,
    ) -> list[Any]:
        known, unknown = found.split(keys)
        answers.known.update(zip(known, found.values, strict=True))
        for number in found.ended("length"):
            self.cuts.add(answers, known[number], "length", found.written(number))
        entries = dict(zip(known[: self._recordable], found.entries(), strict=False))
        first = {key: sites[key] for key in entries}
        self.reuse(deployment, answers, len(known), first, entries)
        return unknown

    def reuse(
        self,
        deployment: Deployment,
        answers: Answers,
        count: int,
        first: Sites,
        known: Mapping[Hashable, Entry] | None = None,
    ) -> None:
        """Write down that *count* inputs were answered before, and the *first* of them one by one.

        *known* is what the store had of them.
        """
        if not count:
            return
        self.reused += count
        self.count(deployment, answers, reused=count)
        group = deployment.group(answers)
        for key, site in itertools.islice(first.items(), self._recordable):
            self._recordable -= 1
            entry = (known or {}).get(key)
            usage = Usage(entry.input_tokens, entry.output_tokens) if entry else UNKNOWN
            reason = entry.finish_reason if entry else None
            call = group.key(key)
            self.records.add(
                deployment.name, key, site, call, usage, finish_reason=reason, is_reused=True
            )

    @contextmanager
    def allowed(
        self, deployment: Deployment, answers: Answers, keys: Sequence[Hashable]
    ) -> Iterator[Gate]:
        """While *keys* are asked: what they will cost is reserved, and they go through this gate.

        Raises LimitError where it is more than it may cost.
        """
        self.records.is_empty = False
        reserved, is_counted = self.budget.allow(deployment, answers, keys)
        try:
            yield Gate(self.budget, deployment, answers, reserved, is_counted=is_counted)
        finally:
            self.budget.release(reserved)

    def begin(
        self,
        deployment: Deployment,
        answers: Answers,
        count: int,
        sites: Sites,
        gate: Gate,
    ) -> Run:
        """Begin to ask *count* inputs, which are among those of *sites*, through *gate*."""
        run = Run(self, deployment, answers, sites, gate)
        self._asked.add(deployment)
        for spent in (self.spent, self.conditions.spent):
            spent.begin(run)
        self.reporter.expect(deployment.name, count, self.reused)
        return run

    def tick(self) -> None:
        """Look up while a model works: tell how far it is, and stop what takes too long."""
        self.measure()
        with self.conditions.telling():
            self.reporter.tell()
        if self.text:  # else nobody says when it has ended
            self._watched.show(lambda: self.progress)
        self.budget.enforce("seconds")

    @property
    def progress(self) -> dict[str, Any]:
        """How far it is, as a row of `llm_progress()`."""
        self.measure()
        shown = {"kind": self.kind, "text": self.records.shown(self.text)}
        return shown | self.reporter.state.row

    @property
    def is_kept(self) -> bool:
        """True where answers outlive the process."""
        return self.kept.path is not None and self.kept.is_usable

    @property
    def is_running(self) -> bool:
        """True while the statement waits for models, or has waited and goes on."""
        return self.reporter.state.total > 0 and not self.reporter.state.is_finished

    def measure(self) -> None:
        """Bring the numbers of its progress up to date."""
        models = [deployment.model for deployment in list(self._asked)]
        being_written = sum(model.being_written for model in models)
        self.reporter.measure(
            done=self.spent.calls,
            failed=self.failed,
            reused=self.reused,
            retrying=sum(model.retrying for model in models),
            input_tokens=self.spent.input_tokens,
            output_tokens=self.spent.output_tokens + being_written,
        )

    def finish(self, state: str, error: BaseException | None = None) -> None:
        """Write the statement down; *state* is done, failed or interrupted."""
        self.conditions.stores.release(self._claimed)
        self._watched.end()
        if self.records.is_empty:
            return
        self.records.write()
        spent, told, seconds = self.spent, self.told, time.monotonic() - self._started
        row = (
            self.number, self._at, self.kind, self.records.shown(self.text), state, seconds,
            spent.calls, self.reused, self.failed, self.cuts.count, told.input_tokens,
            told.output_tokens, told.cached_tokens, told.cost,
            None if error is None else self.records.told(error),
        )  # fmt: skip
        history.write(self.store, "statements", [row])
        if state == "done" and self._has_drawn:
            self.kept.finish(self.statement)
        if self.has_put or self._has_drawn:
            self.kept.flush()
        self.measure()
        with self.conditions.telling():
            self.reporter.finish()
        log.info(
            "statement %d %s: %d calls, %d reused, %d failed",
            self.number, state, spent.calls, self.reused, self.failed,
            extra={"statement": self.number, "state": state, "calls": spent.calls,
                   "reused": self.reused, "failed": self.failed, "seconds": seconds},
        )  # fmt: skip

    def count(
        self, deployment: Deployment, answers: Answers, *, is_telling: bool = True, **sums: Any
    ) -> None:
        """Add *sums* to what the model has used today.

        Unless it *is_telling*, what calls are expected to take does not go by their tokens.
        """
        day, group = datetime.now(UTC).date().isoformat(), deployment.family(answers).digest
        self.store.count(
            day, deployment.name, group if is_telling else expected.aside(group), **sums
        )
