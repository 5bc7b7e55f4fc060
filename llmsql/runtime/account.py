"""The account of one statement: what it reused, what it may still ask, what every call cost.

Stands between the scheduler and the store. What is computed, and in what order, is the scheduler's
business.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import threading
import time
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

from llmsql.errors import LimitError, warn
from llmsql.runtime import caps, expected, history
from llmsql.runtime.answers import Answers
from llmsql.runtime.caps import Reserved, Spent
from llmsql.runtime.conditions import Conditions
from llmsql.runtime.cuts import Cuts
from llmsql.runtime.deployments import Deployment
from llmsql.runtime.progress import Reporter
from llmsql.runtime.reuse import RECORDED
from llmsql.runtime.run import UNKNOWN, Run, Sites
from llmsql.store import Entry, Store
from llmsql.syntax.mask import masked
from llmsql.syntax.ranks import plain_number
from llmsql.types import Usage

log = logging.getLogger("llmsql")

SLICE = 65_536
SHOWN_CHARACTERS = 10_000
LONG = 16  # bytes of a prompt that an error does not hold by chance
BATCH_CALLS, BATCH_SECONDS = 4_096, 5.0
_numbers = itertools.count(time.time_ns() // 1000)  # in order of time, whoever opens the database


class Account:
    """What one statement asks of models, checked beforehand and written down afterwards."""

    def __init__(self, conditions: Conditions, kind: str = "", text: str = "") -> None:
        self.conditions = conditions
        self.number = next(_numbers)
        self.kind = kind
        self.text = text
        self.spent = Spent()
        self.reused = 0
        self.failed = 0
        self.cuts = Cuts()
        self.is_empty = True
        self.reporter = Reporter(self.number, conditions.on_progress)
        self.caps = [
            *caps.of(conditions.caps, self.spent, "max_"),
            *caps.of(conditions.total_caps, conditions.spent, "total_max_"),
        ]
        self._at = datetime.now(UTC).replace(tzinfo=None)
        self._started = time.monotonic()
        self._calls: list[tuple[Any, ...]] = []
        self._written = time.monotonic()
        self.tallies: dict[tuple[str, int], Spent] | None = None
        self._lock = threading.Lock()
        self._claimed: bytes | None = None
        self.has_put = False
        self._has_drawn = False
        self._is_confirmed = False
        self._recordable = RECORDED

    @cached_property
    def store(self) -> Store:
        """Where this statement's answers and records are kept."""
        return self.conditions.store

    @cached_property
    def statement(self) -> bytes:
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
        """Store those of *keys* that a statement which stores none has answered before this one."""
        if not self.keeps(deployment, answers):
            return
        group = deployment.group(answers)
        calls = {group.key(key): key for key in keys if key in answers.known and key is not None}
        for call in calls.keys() - self.store.known(group, list(calls)):
            key = calls[call]
            reason = "length" if hash(key) in answers.cut else "stop"
            entry = Entry(answers.known[key], reason, None, None, answers.statement)
            self.store.put(group, call, entry)
            self.has_put = True

    def recall(
        self, deployment: Deployment, answers: Answers, keys: list[Any], sites: Sites
    ) -> list[Any]:
        """Fill *answers* with what the store knows of *keys*; returns the others."""
        if not self.keeps(deployment, answers):
            return keys
        self._has_drawn |= answers.statement is not None
        unknown: list[Any] = []
        for start in range(0, len(keys), SLICE):
            unknown += self._recalled(deployment, answers, keys[start : start + SLICE], sites)
        return unknown

    def _recalled(
        self, deployment: Deployment, answers: Answers, keys: list[Any], sites: Sites
    ) -> list[Any]:
        group = deployment.group(answers)
        calls = [group.key(key) for key in keys]
        found = self.store.get(group, calls)
        if not found:
            return keys
        pairs = zip(keys, calls, strict=True)
        entries = {key: found[call] for key, call in pairs if call in found}
        for key, entry in entries.items():
            answers.known[key] = entry.value
            self.cuts.add(answers, key, entry.finish_reason, entry.output_tokens)
        known = dict(itertools.islice(entries.items(), self._recordable))
        first = {key: sites[key] for key in known}
        self.reuse(deployment, answers, len(entries), first, known)
        return [key for key in keys if key not in entries]

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
            self.record(
                deployment, key, site, group.key(key), usage, finish_reason=reason, is_reused=True
            )

    def allow(self, deployment: Deployment, answers: Answers, keys: Sequence[Hashable]) -> Reserved:
        """Reserve what asking *keys* will cost, to be released when they have been asked.

        Raises LimitError where that is more than it may; nothing is asked then.
        """
        self.is_empty = False
        need = self.check([(deployment, answers, keys)])
        terms, most = deployment.spec.terms, self.conditions.confirm_calls
        is_priced = terms.price_input is not None or terms.price_output is not None
        is_many = bool(most) and is_priced and len(keys) > most and not self._is_confirmed
        if is_many:
            need = need or expected.of(deployment, answers, keys, self.store)
            self._ask(deployment, need)
        return self._reserve(need.need if need else caps.Need(len(keys)))

    def _reserve(self, need: caps.Need) -> Reserved:
        """Reserve *need*, unless others that share a cap have been faster."""
        reserved = Reserved(need)
        with self.conditions.spent.admission:
            for cap in self.caps:
                cap.check(need)
            for spent in (self.spent, self.conditions.spent):
                spent.reserved.append(reserved)
        return reserved

    def release(self, reserved: Reserved) -> None:
        """Give back what is left of what was *reserved*: it is not going to be asked."""
        for spent in (self.spent, self.conditions.spent):
            spent.reserved.remove(reserved)

    def check(
        self, needs: Sequence[tuple[Deployment, Answers, Sequence[Hashable]]]
    ) -> expected.Expected | None:
        """Raise LimitError where all of *needs* would cost too much; returns what they need.

        None where no cap had to know it. A cap on what is read has every text counted.
        """
        calls = caps.Need(sum(len(keys) for _, _, keys in needs))
        others = [cap for cap in self.caps if cap.name != "calls"]
        for cap in self.caps:
            if cap.name == "calls":
                cap.check(calls)
        if not others:
            return None
        is_exact = any(cap.name == "input_tokens" for cap in others)
        found = [expected.of(*need, self.store, is_exact=is_exact) for need in needs]
        for cap in others:
            cap.check(expected.together([one.need for one in found]))
        return found[0]

    def begin(
        self,
        deployment: Deployment,
        answers: Answers,
        count: int,
        sites: Sites,
        reserved: Reserved,
    ) -> Run:
        """Begin to ask *count* inputs, which are among those of *sites* and are *reserved*."""
        run = Run(self, deployment, answers, sites, reserved)
        for spent in (self.spent, self.conditions.spent):
            spent.begin(run)
        self.reporter.expect(deployment.name, count, self.reused)
        return run

    def tick(self) -> None:
        """Look up while a model works: tell how far it is, and stop what takes too long."""
        self.measure()
        with self.conditions.telling():
            self.reporter.tell()
        for cap in self.caps:
            if cap.name == "seconds":
                cap.enforce()

    @property
    def is_kept(self) -> bool:
        """True where answers outlive the process."""
        return self.store.path is not None and self.store.is_usable

    @property
    def is_running(self) -> bool:
        """True while the statement waits for models, or has waited and goes on."""
        return self.reporter.state.total > 0 and not self.reporter.state.is_finished

    def measure(self) -> None:
        """Bring the numbers of its progress up to date."""
        self.reporter.measure(
            done=self.spent.calls,
            failed=self.failed,
            reused=self.reused,
            input_tokens=self.spent.input_tokens,
            output_tokens=self.spent.output_tokens,
        )

    def finish(self, state: str, error: BaseException | None = None) -> None:
        """Write the statement down; *state* is done, failed or interrupted."""
        self.conditions.stores.release(self._claimed)
        if self.is_empty:
            return
        self.write_calls()
        spent = self.spent
        row = (
            self.number, self._at, self.kind, self.shown, state, time.monotonic() - self._started,
            spent.calls, self.reused, self.failed, self.cuts.count, spent.input_tokens,
            spent.output_tokens, spent.cached_tokens, spent.cost,
            None if error is None else self._told(error),
        )  # fmt: skip
        history.write(self.store, "statements", [row])
        if state == "done" and self._has_drawn:
            self.store.finish(self.statement)
        if self.has_put or self._has_drawn:
            self.store.flush()
        self.measure()
        with self.conditions.telling():
            self.reporter.finish()
        log.info(
            "statement %d %s: %d calls, %d reused, %d failed",
            self.number, state, spent.calls, self.reused, self.failed,
            extra={"statement": self.number, "state": state, "calls": spent.calls,
                   "reused": self.reused, "failed": self.failed, "seconds": row[5]},
        )  # fmt: skip

    def write_calls(self) -> None:
        """Write down the calls that are not yet."""
        with self._lock:
            calls, self._calls = self._calls, []
            self._written = time.monotonic()
        if calls:
            history.write(self.store, "calls", calls)

    @property
    def shown(self) -> str:
        """The statement's text as it may be shown: without what is quoted in it."""
        text = self.text if self.conditions.keeps_prompts else masked(self.text)
        return text[:SHOWN_CHARACTERS]

    def _told(self, error: BaseException) -> str:
        """What *error* says, without the statement's text that DuckDB shows, and what is quoted."""
        text = _clean(str(error))
        if self.conditions.keeps_prompts:
            return text[:SHOWN_CHARACTERS]
        return masked(text.partition("\n\nLINE ")[0])[:SHOWN_CHARACTERS]

    def _ask(self, deployment: Deployment, need: expected.Expected) -> None:
        """Let somebody confirm a statement of many priced calls, or warn of it."""
        self._is_confirmed = True
        cost = "" if need.cost is None else f", for about {need.cost:.2f}"
        said = f'this statement makes {need.calls} calls of the priced model "{deployment.name}"'
        if self.conditions.confirm is None:
            warn(f"{said}{cost}; max_calls or max_cost would stop it")
            return
        with self.conditions.telling():
            is_meant = self.conditions.confirm(f"{said}{cost}.")
        if not is_meant:
            raise LimitError(f"{said}{cost}, and that was declined\n  nothing was asked")

    def count(self, deployment: Deployment, answers: Answers, **sums: Any) -> None:
        """Add *sums* to what the model has used today."""
        day, family = date.today().isoformat(), deployment.family(answers)
        self.store.count(day, deployment.name, family.digest, **sums)

    def record(
        self,
        deployment: Deployment,
        key: Any,
        site: int,
        call: bytes,
        usage: Usage,
        *,
        seconds: float | None = None,
        retries: int | None = None,
        replica: int = 0,
        finish_reason: str | None = None,
        error: str | None = None,
        is_reused: bool = False,
    ) -> None:
        """Remember one call until enough are there to be written."""
        self.is_empty = False
        data = (key if isinstance(key, str) else "\n".join(key)).encode("utf-8", "replace")
        prompt = data.decode() if self.conditions.keeps_prompts else None
        if error is not None:
            error = _clean(error)
            if prompt is None and len(data) >= LONG:
                error = error.replace(data.decode(), "…")  # servers repeat what they were asked
        row = (
            self.number, plain_number(site) + 1 if site >= 0 else None, deployment.name, call.hex(),
            hashlib.blake2b(data, digest_size=8).hexdigest(),
            prompt, is_reused, None if is_reused else replica,
            usage.input_tokens, usage.output_tokens, usage.cached_tokens, seconds, retries,
            finish_reason, error, datetime.now(UTC).replace(tzinfo=None),
        )  # fmt: skip
        with self._lock:
            self._calls.append(row)
        is_late = time.monotonic() - self._written > BATCH_SECONDS
        if len(self._calls) >= BATCH_CALLS or is_late:
            self.write_calls()


def _clean(text: str) -> str:
    """*text* as UTF-8 can be written: a server's message may hold half a character."""
    return text.encode("utf-8", "replace").decode()
