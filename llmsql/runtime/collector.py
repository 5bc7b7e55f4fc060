"""What one statement knows of its model calls: its mode, what it could not answer, its counts.

A session has one at a time, under the token that it puts into a session variable; the functions
find it by that token and ask it what to do with inputs that nobody has computed yet.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from llmsql.errors import GenerationError
from llmsql.runtime.account import Account
from llmsql.runtime.answers import MISSING, Answers
from llmsql.runtime.census import Census
from llmsql.runtime.orders import Form, OpenForms, Orders
from llmsql.runtime.reuse import Reuse

if TYPE_CHECKING:
    from llmsql.runtime.deployments import Deployment

    Group = tuple[Deployment, Answers]
    Noted = dict[Group, dict[Hashable, int]]
    """Inputs to compute, by who computes them, each with the number of its call."""

MAX_NOTED = 262_144
FIRST_BUDGET = 16


class Site(NamedTuple):
    """A place in a statement where a model is called, as its tag says: when it comes, and which."""

    rank: int = -1
    number: int = -1


UNTAGGED = Site()
"""Any call that the rewriting did not see: in a view, in a macro."""


class Mode(Enum):
    """What an unknown input gets."""

    COLLECT = auto()  # noted, NULL for now
    LIMIT = auto()  # as COLLECT, but few, and NULL from the first unknown row on
    SPOT = auto()  # computed on the spot
    MUTE = auto()  # NULL; the statement is only bound
    EXPLAIN = auto()  # counted, NULL or a stand-in


@dataclass
class Counts:
    """What happened to the inputs of a statement."""

    computed: int = 0
    failed: int = 0
    first_error: GenerationError | None = None


class Collector:
    """The state of one running statement."""

    def __init__(
        self,
        account: Account,
        *,
        on_error: str = "null",
        max_noted: int = MAX_NOTED,
        is_detached: bool = False,
        is_idle: bool = False,
    ) -> None:
        self.account = account
        self.is_detached = is_detached  # no session's: of a client that we know nothing of
        self.is_idle = is_idle  # of no statement: what is read later may call models
        self.is_signalled = False
        self.mode = Mode.SPOT
        self.on_error = on_error
        self.max_noted = max_noted
        self.counts = Counts()
        self.error: BaseException | None = None
        self.cancelled = threading.Event()
        self.failed: dict[Answers, dict[Hashable, GenerationError]] = {}
        self.is_tracking = True  # until the first answer is computed between passes
        self.unknowns = 0  # how often a function met some, in any pass
        self.has_vectors = False  # some vector is put where one is unknown, and not NULL
        self.refused: GenerationError | None = None
        self._demanded: dict[Answers, set[Hashable]] = {}
        self._excused: dict[Answers, set[Hashable]] = {}
        self._own: dict[tuple[Any, Any], Answers] = {}
        self.census: Census | None = None
        self._reuses: dict[Group, Reuse] = {}
        self._unkept: dict[Group, dict[Hashable, None]] = {}
        self._computed: dict[Answers, set[Hashable]] = {}
        self._lock = threading.Lock()
        self.limit = _LimitPass()
        self.open_forms = OpenForms()
        self.begin(Mode.SPOT)

    def begin(self, mode: Mode) -> None:
        """Start a pass in *mode*: nothing is noted yet.

        Raises InterruptException where the statement was interrupted: DuckDB ended one query by it.
        """
        if self.cancelled.is_set():
            raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")
        self.mode = mode
        self.noted: dict[int, Noted] = {}
        self.notes: Counter[int] = Counter()  # how often a function was called, by rank
        self.count = 0
        self.is_full = False
        self.has_met_unknown = False
        self.refused = None
        self._demanded.clear()
        self.limit.begin()
        self.open_forms.clear()

    def answers(self, deployment: Deployment, sampling: Any) -> Answers:
        """Where answers under *sampling* are kept: beyond this statement only if repeatable."""
        if sampling is None or sampling.is_deterministic:
            return deployment.answers(sampling)
        own = Answers(sampling, self.account.statement)
        return self._own.setdefault((deployment, sampling), own)

    def met(
        self, deployment: Deployment, answers: Answers, keys: Collection[Hashable], site: Site
    ) -> None:
        """Note that *keys* have an answer; those that this statement did not compute are reused."""
        computed = self._computed.get(answers)
        if computed:
            keys = [key for key in keys if key not in computed]
        with self._lock:
            reuse = self._reuses.setdefault((deployment, answers), Reuse())
            reuse.add(keys, site.number)
            if answers.unkept and self.account.is_kept:
                self._unkept.setdefault((deployment, answers), {}).update(dict.fromkeys(keys))

    def computed(self, answers: Answers, keys: Iterable[Hashable]) -> None:
        """Note that *keys* were computed, or found in the store, by this statement."""
        if self.is_tracking:
            with self._lock:
                self._computed.setdefault(answers, set()).update(keys)

    def settle_account(self, state: str, error: BaseException | None = None) -> None:
        """Write down what the statement did, if it reached a model at all."""
        for (deployment, answers), reuse in self._reuses.items():
            self.account.reuse(deployment, answers, reuse.count, reuse.first)
            self.account.cuts.add_reused(answers, reuse)
        for (deployment, answers), keys in self._unkept.items():
            self.account.keep(deployment, answers, list(keys))
        self._reuses.clear()
        self._unkept.clear()
        self.account.finish(state, error)

    def failures(self, answers: Answers) -> dict[Hashable, GenerationError]:
        """The inputs that failed in this statement, which does not ask them again."""
        return self.failed.setdefault(answers, {})

    def unknown(
        self,
        deployment: Deployment,
        answers: Answers,
        keys: list[Hashable],
        values: list[Any],
        site: Site,
        *,
        is_raising: bool,
    ) -> list[Any]:
        """Note what is MISSING in *values* and return them with NULL in its place.

        What failed before has its error there. *is_raising* is the site's policy for what fails.
        """
        failures = self.failed.get(answers)
        if failures:
            values = [
                failures.get(k, v) if v is MISSING else v for k, v in zip(keys, values, strict=True)
            ]
        if self.mode is Mode.LIMIT and site.rank <= self.limit.where_rank:
            return self._unknown_limited(
                deployment, answers, keys, values, site, is_raising=is_raising
            )
        missing = [k for k, v in zip(keys, values, strict=True) if v is MISSING]
        self.unknowns += bool(missing)
        if missing and self.mode is not Mode.MUTE:
            self._note(deployment, answers, missing, site)
            if is_raising:
                self.demand(answers, missing)
        other = deployment.any_vector() if self.has_vectors else None
        return [other if v is MISSING else v for v in values]

    @property
    def can_wait(self) -> bool:
        """True where what is unknown may be NULL in this pass, for any number of rows."""
        return self.mode in (Mode.COLLECT, Mode.LIMIT)

    def defer(self, form: Form, site: Site, fields: Sequence[Any]) -> None:
        """Note rows of *form*, whose order is to be chosen when this pass has ended."""
        self.has_met_unknown = True
        self.open_forms.note(form, site.rank, fields)

    def decide(self, orders: Orders) -> bool:
        """Choose the orders that wait for none of what was noted; False where there was none."""
        ranks = sorted(self.noted)
        if self.mode is Mode.LIMIT:  # rows that have come through WHERE wait for nothing in it
            ranks = [rank for rank in ranks if rank > self.limit.where_rank]
        return self.open_forms.decide(orders, self.account.conditions.kept, ranks)

    def decide_where(self, orders: Orders) -> bool:
        """Choose the orders that WHERE waits for, before a LIMIT; False where there was none."""
        store, ranks = self.account.conditions.kept, sorted(self.noted)
        return self.open_forms.decide_early(orders, store, ranks, self.limit.where_rank)

    def lowest(self) -> Noted:
        """What was noted at the lowest rank, and everything untagged."""
        return self._merged(self._lowest())

    def lowest_rank(self) -> int:
        """The rank of what `lowest` gives; 0 where nothing has one."""
        return min((rank for rank in self.noted if rank != UNTAGGED.rank), default=0)

    def is_of_many(self, *, at_any_rank: bool = False) -> bool:
        """True when the lowest, or all, was noted in several calls of functions for some rows.

        Or not before all others: what was met first may have decided about it.
        """
        ranks = self.noted if at_any_rank else self._lowest()
        is_first = all(rank in ranks for rank in list(self.noted)[:1])
        return sum(self.notes[rank] for rank in ranks) > 1 or not is_first

    def _lowest(self) -> list[int]:
        tagged = sorted(rank for rank in self.noted if rank != UNTAGGED.rank)
        return [rank for rank in self.noted if rank == UNTAGGED.rank] + tagged[:1]

    def in_where(self) -> Noted:
        """What a pass that ends with a LIMIT noted in WHERE."""
        return self._merged(rank for rank in self.noted if rank <= self.limit.where_rank)

    def behind_where(self) -> Noted:
        """What it noted behind WHERE, at the lowest rank there."""
        return self._merged(sorted(r for r in self.noted if r > self.limit.where_rank)[:1])

    def fail(self, answers: Answers, key: Hashable, error: GenerationError) -> None:
        """Record that *key* failed; raises the error where one of the sites that ask wants that."""
        if key in self._demanded.get(answers, ()):
            raise error
        self.failures(answers)[key] = error

    def demand(self, answers: Answers, keys: Iterable[Hashable]) -> None:
        """End the statement if one of *keys* fails, which are about to be computed."""
        self._demanded.setdefault(answers, set()).update(keys)

    def refuse(self, error: GenerationError) -> None:
        """A site that wants no failure has met one that another site excused.

        Raises it, unless this is a pass, which may have come here by a placeholder.
        """
        if self.mode is Mode.SPOT:
            raise error
        self.refused = self.refused or error

    def excuse(self, answers: Answers, failures: Mapping[Hashable, GenerationError]) -> None:
        """Count the inputs whose failure gives NULL: the user is told of each once."""
        with self._lock:
            excused = self._excused.setdefault(answers, set())
            self.counts.failed += len(failures.keys() - excused)
            self.counts.first_error = self.counts.first_error or next(iter(failures.values()))
            excused.update(failures)

    def _merged(self, ranks: Iterable[int]) -> Noted:
        merged: Noted = {}
        for rank in ranks:
            for group, keys in self.noted[rank].items():
                merged.setdefault(group, {}).update(keys)
        return merged

    def _note(
        self, deployment: Deployment, answers: Answers, missing: list[Hashable], site: Site
    ) -> None:
        with self._lock:
            self.has_met_unknown = True
            if self.is_full:
                return
            group = self.noted.setdefault(site.rank, {}).setdefault((deployment, answers), {})
            before = len(group)
            self.notes[site.rank] += 1
            group.update(dict.fromkeys(missing, site.number))
            self.count += len(group) - before
            self.is_full = self.count >= self.max_noted

    def _unknown_limited(
        self,
        deployment: Deployment,
        answers: Answers,
        keys: list[Hashable],
        values: list[Any],
        site: Site,
        *,
        is_raising: bool,
    ) -> list[Any]:
        """Note few, and let nothing through from this site's first unknown row on."""
        missing = [k for k, v in zip(keys, values, strict=True) if v is MISSING]
        with self._lock:
            budget = self.limit
            self.unknowns += bool(missing)
            budget.is_hopeless |= site == UNTAGGED and budget.sees_all
            first = next((i for i, value in enumerate(values) if value is MISSING), len(values))
            if site in budget.poisoned:
                first = 0
            if missing:
                budget.poisoned.add(site)
                self.has_met_unknown = True
                group = self.noted.setdefault(site.rank, {}).setdefault((deployment, answers), {})
                for key in missing:
                    if budget.spent[site] >= budget.allowed:
                        break
                    if key not in group:
                        group[key] = site.number
                        budget.spent[site] += 1
                if is_raising:
                    self.demand(answers, [key for key in missing if key in group])
        return [value if i < first else None for i, value in enumerate(values)]


@dataclass
class _LimitPass:
    """How many unknown inputs each call in WHERE may note, in all: 16, then 32, 64, …

    A row passes WHERE only when every call in it was evaluated and known. So from the first unknown
    row of any one call on, NULL from that call is enough to let none through. Where the plan *sees
    all* calls, one without a tag is somewhere else.
    """

    where_rank: int = -2
    total: int = 0
    allowed: int = 0
    sees_all: bool = False
    is_hopeless: bool = False
    poisoned: set[Site] = field(default_factory=set)
    spent: Counter[Site] = field(default_factory=Counter)

    def begin(self) -> None:
        """Start a pass: every call may let rows through again, until it meets an unknown one."""
        self.poisoned.clear()
        self.spent.clear()

    def double(self) -> None:
        """Allow twice as many in all as before, of which the next pass may note the rest."""
        before, self.total = self.total, max(FIRST_BUDGET, 2 * self.total)
        self.allowed = self.total - before
