"""EXPLAIN of a query that calls models: how many calls, tokens, seconds and how much money.

The query runs once with unknown answers NULL, in a transaction that is rolled back, and no
model is asked. A call that waits for another's answers is counted in a second run, in which no
condition on an answer keeps a row out: its numbers say "at most".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import duckdb

from llmsql.runtime import expected
from llmsql.runtime.account import Account
from llmsql.runtime.answers import Answers
from llmsql.runtime.census import Census, Where
from llmsql.runtime.collector import UNTAGGED, Collector, Mode, Site
from llmsql.runtime.deployments import Deployment
from llmsql.runtime.spent import Told
from llmsql.syntax import tags, tree
from llmsql.syntax.conditions import reads_columns
from llmsql.syntax.on_error import SIBLINGS
from llmsql.syntax.rewrite import Plan
from llmsql.syntax.write import Write

ELSEWHERE = "in a view or macro"
EXACT, AT_MOST, ESTIMATED = "exact", "at most", "estimate"
Claimed = dict[Hashable, set[Any]]
"""Inputs that count for some call, by what shares their answers."""


@dataclass(frozen=True)
class Estimate:
    """
    One call of a statement before it is made: *inputs* are distinct, *known* ones cost nothing.

    Its answers are among *answers*. *is_counted* tells that the model's own tokenizer counted the
    tokens to read. After an ANALYZE *spent* is what happened.
    """

    site: int | None
    call: str
    model: str
    inputs: int
    known: int
    calls: int
    precision: str
    answers: Answers
    input_tokens: float | None = None
    is_counted: bool = False
    output_tokens: float | None = None
    seconds: float | None = None
    cost: float | None = None
    spent: Told | None = None


@dataclass(frozen=True)
class Query:
    """A query to explain, planned with every call tagged, and the same with nothing kept out."""

    original: str
    plan: Plan
    relaxed: Plan | None
    write: Write | None = None
    is_recursive: bool = False

    @property
    def text(self) -> str:
        """The statement as it is planned: with models behind what is cheap."""
        if self.write is None:
            return self.plan.text
        if self.plan.statement is None or self.write.part == "none":
            return self.original
        return self.write.rebuilt(self.plan.statement)


def explain(
    query: Query, collector: Collector, run: Callable[[str], Any], *, may_fail: bool
) -> list[Estimate]:
    """Count what *query* would ask. *run* runs a query and throws its rows away.

    Unless it *may_fail*, no unknown answer has anything but NULL in its place.
    """
    account, plan, loose = collector.account, query.plan, query.relaxed or query.plan
    standing_in = None if query.is_recursive or not may_fail else _standing_in
    try:
        census = _first(plan, collector, run, may_fail=may_fail)
    except duckdb.Error:  # NULL is not what the query expects of an answer
        more = standing_in and standing_in(loose, collector, run)
        if more is None:
            raise
        return [_elsewhere(e, plan) for e in _estimates(loose, more, account, {})]
    doubtful = _doubtful(
        plan, census, account, partial(_first, collector=collector, run=run, may_fail=may_fail)
    )
    found = list(_estimates(plan, census, account, {}, doubtful))
    is_alone = len(found) == len(plan.calls) == 1 and not plan.hides
    is_alone = is_alone and found[0].precision != ESTIMATED
    if is_alone and not query.is_recursive or not any(e.calls for e in found):
        return found
    more = standing_in and standing_in(loose, collector, run)
    if more is None:
        return [replace(e, precision=ESTIMATED) for e in found]
    seen, seen_then = _by_call(plan, census), _by_call(loose, more)
    doubtful |= {call for call, inputs in seen.items() if seen_then.get(call) != inputs}
    claimed: Claimed = {}
    found = list(_estimates(plan, census, account, claimed, doubtful))
    by_call = {e.call: e for e in _estimates(loose, more, account, claimed)}
    found = [_at_most(estimate, by_call.get(estimate.call)) for estimate in found]
    met = {estimate.call for estimate in found}
    found += [_elsewhere(e, plan) for call, e in by_call.items() if call not in met]
    return sorted(found, key=lambda estimate: estimate.site or 0)


def _first(
    plan: Plan, collector: Collector, run: Callable[[str], Any], *, may_fail: bool
) -> Census:
    """What *plan* asks first.

    A call that reads no column stands in for its answer: DuckDB would make NULL of all around it.
    """
    constant = {number for number, call in enumerate(plan.calls) if not _reads(call)}
    if constant and may_fail:
        with suppress(duckdb.Error):
            return _counted(plan, collector, run, lambda s: tags.plain(s.number) in constant)
    return _counted(plan, collector, run, lambda site: False)


def _doubtful(
    plan: Plan, census: Census, account: Account, count: Callable[[Plan], Census]
) -> set[str]:
    """The calls of *plan* that may be asked more, as its plain text may decide.

    What both want first is asked; where that is all of a call, or there is no other, no more is.
    """
    if plan.plain is None:
        return set()
    try:
        wanted = _first_asked(count(plan.plain), account)
    except duckdb.Error:
        return set()  # nor does it decide in a pass
    is_alone = len(plan.calls) == 1

    def of_plain(where: Where) -> set[Any]:
        return set().union(*(found for other, found in wanted.items() if other[1:] == where[1:]))

    return {
        _text(plan, where)
        for where, inputs in _first_asked(census, account).items()
        if not (inputs <= of_plain(where) if is_alone else inputs == of_plain(where))
    }


def _first_asked(census: Census, account: Account) -> dict[Where, set[Any]]:
    """The unknown inputs of those calls that wait for no other."""
    unknown = {
        where: set(_unknown(inputs, where[1], where[2], account))
        for where, inputs in census.inputs.items()
    }
    first = min(
        (site.rank for (site, *_), found in unknown.items() if found and site != UNTAGGED),
        default=0,
    )
    return {
        where: found for where, found in unknown.items() if where[0].rank in (first, UNTAGGED.rank)
    }


def _reads(call: str) -> bool:
    """True when *call* depends on rows, or nobody knows."""
    query = tree.parse(f"SELECT {call}")
    return query is None or reads_columns(query)


def _standing_in(plan: Plan, collector: Collector, run: Callable[[str], Any]) -> Census | None:
    """What *plan* would ask if every unknown text had an answer; None where that is no query."""
    try:
        return _counted(plan, collector, run, lambda site: True)
    except duckdb.Error:  # a stand-in is not what the query expects of an answer
        return None


def _by_call(plan: Plan, census: Census) -> dict[str, set[Any]]:
    """The inputs of each call, wherever it stands: one that other answers decide has others."""
    found: dict[str, set[Any]] = {}
    for where, inputs in census.inputs.items():
        found.setdefault(_text(plan, where), set()).update(inputs)
    return found


def _elsewhere(estimate: Estimate, plan: Plan) -> Estimate:
    """*estimate*, of a call of the relaxed query, as one of *plan*."""
    calls = [_said(call) for call in plan.calls]
    site = calls.index(estimate.call) + 1 if estimate.call in calls else None
    return replace(estimate, site=site, precision=AT_MOST)


def _counted(
    plan: Plan, collector: Collector, run: Callable[[str], Any], stands_in: Callable[[Site], bool]
) -> Census:
    collector.census = census = Census(stands_in)
    collector.begin(Mode.EXPLAIN)
    try:
        run(plan.text)
    finally:
        collector.census = None
        collector.begin(Mode.MUTE)
    return census


def _at_most(estimate: Estimate, other: Estimate | None) -> Estimate:
    """The higher one of two estimates of a call that waits for others."""
    if estimate.precision != ESTIMATED or other is None:
        return estimate
    higher = other if other.calls > estimate.calls else estimate
    return replace(higher, site=estimate.site, precision=AT_MOST)


def _estimates(
    plan: Plan,
    census: Census,
    account: Account,
    claimed: Claimed,
    doubtful: Collection[str] = (),
) -> Iterator[Estimate]:
    """What each call of *plan* needs; an input that two calls share counts for the first.

    *claimed* are inputs that count for other calls; those of exact numbers are added. What the
    *doubtful* calls are asked depends on answers.
    """
    order = sorted(census.inputs, key=lambda where: where[0])
    unknown: dict[Where, list[Any]] = {}
    for where in order:
        _, deployment, answers = where
        asked = _unknown(census.inputs[where], deployment, answers, account)
        group = _shared(where, account)
        taken = {k for w, keys in unknown.items() if _shared(w, account) == group for k in keys}
        taken |= claimed.get(group, set())
        unknown[where] = [key for key in asked if key not in taken]
    for where in order:
        estimate = _estimate(plan, where, census, unknown, account)
        if estimate.call in doubtful:
            estimate = replace(estimate, precision=ESTIMATED)
        if estimate.precision != ESTIMATED:
            claimed.setdefault(_shared(where, account), set()).update(unknown[where])
        yield estimate


def _estimate(
    plan: Plan, where: Where, census: Census, unknown: dict[Where, list[Any]], account: Account
) -> Estimate:
    site, deployment, answers = where
    keys, count = unknown[where], len(census.inputs[where])
    need = expected.of(deployment, answers, keys, account.store)
    return Estimate(
        site=None if site == UNTAGGED else tags.plain(site.number) + 1,
        call=_text(plan, where),
        model=deployment.name,
        inputs=count,
        known=count - len(_unknown(census.inputs[where], deployment, answers, account)),
        calls=len(keys),
        precision=_precision(plan, where, unknown),
        answers=answers,
        input_tokens=need.input_tokens,
        is_counted=need.is_counted,
        output_tokens=need.output_tokens,
        seconds=need.seconds if keys else 0.0,
        cost=need.cost,
    )


def _shared(where: Where, account: Account) -> Hashable:
    """What calls have in common that find each other's answers: on disk, two names of a model."""
    _, deployment, answers = where
    is_shared = account.kept.is_usable and deployment.is_kept
    return deployment.group(answers).digest if is_shared else answers


def _text(plan: Plan, where: Where) -> str:
    """A call as the user wrote it, where it stands in the statement."""
    number = tags.plain(where[0].number)
    is_named = 0 <= number < len(plan.calls)
    return _said(plan.calls[number]) if is_named else ELSEWHERE


def _said(call: str) -> str:
    """*call* as the user wrote it: what becomes of failed rows is in the name of a sibling."""
    for prefix in SIBLINGS.values():
        call = call.replace(prefix, "")
    return call


def _precision(plan: Plan, where: Where, unknown: dict[Where, list[Any]]) -> str:
    """How sure the number of a call is: not, where unknown answers decide what it is asked."""
    site = where[0]
    others = [other[0] for other, keys in unknown.items() if keys and other != where]
    is_free = all(other != UNTAGGED and other.rank >= site.rank for other in others)
    if others and (site == UNTAGGED or not is_free):
        return ESTIMATED
    is_limited = plan.limit is not None and site.rank <= plan.where_rank or plan.ladder is not None
    may_be_less = is_limited or _text(plan, where) in map(_said, plan.divided)
    return AT_MOST if may_be_less and unknown[where] else EXACT


def _unknown(
    inputs: Sequence[Any] | dict[Any, None],
    deployment: Deployment,
    answers: Answers,
    account: Account,
) -> list[Any]:
    """Those of *inputs* that neither memory nor the store knows."""
    unknown = [key for key in inputs if key not in answers.known]
    if not unknown or not deployment.is_kept:
        return unknown
    group = deployment.group(answers)
    ids = dict(zip(unknown, group.keys(unknown), strict=True))
    kept = account.kept.known(group, list(ids.values()))
    return [key for key, call in ids.items() if call not in kept]
