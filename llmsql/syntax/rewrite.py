"""From a query that calls models to the one that is run.

Puts the steps together, in this order: `aliases`, `inlining`, `factors`, `branches`, `ladder`,
`late`, and `waiting` over `guards` and `ranks`; `shape` proves what may be. A query that needs none
keeps its bytes. Never needed for a right answer: where the result does not bind, the original runs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

from llmsql.syntax import (
    aliases,
    branches,
    conditions,
    factors,
    folded,
    guards,
    hints,
    inlining,
    ladder,
    late,
    order,
    tree,
    waiting,
    weights,
)
from llmsql.syntax.conditions import Test, is_inside
from llmsql.syntax.headings import Headings
from llmsql.syntax.inlining import Macro
from llmsql.syntax.ladder import Ladder
from llmsql.syntax.ranks import TAGGED, Ranks, is_call, number_scopes, reaches
from llmsql.syntax.sets import Definitions
from llmsql.syntax.shape import Shape
from llmsql.syntax.tree import Node

Explain = Callable[[str, bool], list[Node] | None]
"""The plan DuckDB makes of a query, by its text and whether nothing in it can raise; or None."""

ROW_NUMBER = "row_number() OVER () AS llmsql_row_number"


@dataclass(frozen=True)
class Plan:
    """How a query is run: its *text*, and what its shape allows.

    *statement* is its tree, or None where the text is the user's own, unchanged. *is_tagged* tells
    that calls carry their ranks. *limit* is the number of rows that end it, with *limited_text* to
    run until then, *where_rank* the highest rank asked for by WHERE and *last_rank* of all; None
    where a condition may wait for an inner query's column unseen. *sites*
    counts the model calls that stand in the text; *calls* are their texts by number, where they
    were asked for.
    One that *hides* calls has them in views or macros, where they have no tag.
    *is_ordered* tells that no call waits for one that a view or a macro hides, which has no rank,
    *is_guarded* that what is cheap stands before all calls of a condition, *asks_several* that
    several keep rows, *is_shared* that one of its tables, which asks, is read in several places.
    One that is *is_at_once* has no passes: DuckDB may make one of calls that must be told apart.
    Of the *calls*, those *divided* stand in several branches, and are told apart when it runs.
    *is_costly* holds for what reaches a model in any of these texts, and *definitions* gives what
    their views are made of.
    With a *ladder* rows may be asked about from its foot on, by the plans that *below* makes, if
    these have no more joins *turned* round: DuckDB filters less where they are.
    Where guards may take from DuckDB what it filters by, *plain* is the plan without them.
    """

    text: str
    statement: Node | None
    sites: int
    never_raises: bool
    is_tagged: bool = False
    limit: int | None = None
    limited_text: str = ""
    where_rank: int = -1
    calls: tuple[str, ...] = ()
    hides: bool = False
    is_ordered: bool = True
    last_rank: int | None = None
    is_guarded: bool = True
    asks_several: bool = False
    is_shared: bool = False
    is_at_once: bool = False
    divided: frozenset[str] = frozenset()
    is_costly: Test = lambda node: False
    definitions: Definitions = lambda name: []
    ladder: Ladder | None = None
    turned: int = 0
    plain: Plan | None = None
    below: Callable[[str], Plan | None] = lambda sql: None


def plan(
    sql: str,
    models: frozenset[str],
    costly: frozenset[str],
    definitions: Definitions = lambda name: [],
    explain: Explain = lambda sql, never_raises: None,
    *,
    macros: Callable[[str], Macro | None] = lambda name: None,
    tags_all: bool = False,
    sorting: Callable[[], tuple[str, str]] | None = None,
    bound: dict[str, bool] | None = None,
) -> Plan | None:
    """Plan the query *sql*; None where it does not parse as one, or would be printed as another.

    With *tags_all* each call tells which it is, even where nothing depends on that.

    *models* are the functions that call models, *costly* those, the macros and the views that reach
    them: names in lower case. *definitions* gives the parsed bodies of a macro, *explain* the plan
    that DuckDB makes of a query that asks models in several conditions, *macros* what may be
    inlined, *sorting* what an ORDER BY means that does not say it; without it there is no ladder.
    Where DuckDB must not be asked what it can bind, as that may fail, *bound* has what it said.
    """
    statement = tree.parse(sql)
    if statement is None or not hints.restore(statement, sql):
        return None
    binds = _Binds(explain) if bound is None else _Binds(lambda sql, never_raises: None, bound)
    rewriting = _Rewriting(sql, statement, models, costly, binds)
    if bound is None:  # a query below a rung has been spelled out
        rewriting.spell_out()
    rewriting.inline(macros, definitions, is_wanted=tags_all)
    rewriting.take_out_factors(definitions)
    is_torn = not tags_all and rewriting.number()
    steps = rewriting.ladder(definitions, sorting) if sorting else None
    if is_torn and not steps and rewriting.asks_all(definitions):
        return rewriting.at_once(definitions)
    found = rewriting.plan(definitions, explain, tags_all=tags_all)
    below = partial(
        plan, models=models, costly=costly, definitions=definitions, explain=explain,
        macros=macros, tags_all=tags_all, bound=binds.known,
    )  # fmt: skip
    is_sure = found.is_guarded and not found.plain
    may_climb = steps and (is_sure or not found.asks_several)
    if not may_climb:
        return found
    whole = explain((found.plain or found).text, found.never_raises)
    if order.is_cut(whole):
        return found  # DuckDB knows that there are no rows, and would not beside a rung
    return replace(found, ladder=steps, below=below, turned=order.turned(whole))


@dataclass
class _Binds:
    """Whether DuckDB can plan a query, asked once by *explain*."""

    explain: Explain
    known: dict[str, bool] = field(default_factory=dict)

    def __call__(self, sql: str) -> bool:
        if sql not in self.known:
            self.known[sql] = bool(self.explain(sql, False))
        return self.known[sql]


class _Rewriting:
    """One statement on its way from what was typed to what is run."""

    def __init__(
        self,
        sql: str,
        statement: Node,
        models: frozenset[str],
        costly: frozenset[str],
        binds: aliases.Binds,
    ) -> None:
        self.sql = sql
        self.statement = statement
        self.query = tree.body(statement)
        self.models = models
        self.costly = costly
        self.binds = binds
        self._find_costly_tables()

    def calls(self, node: Node) -> bool:
        """True for a model's call."""
        return is_call(node, self.models)

    def costs(self, node: Node) -> bool:
        """True for anything that reaches a model."""
        return reaches(node, self.costly)

    def costs_also_tagged(self, node: Node) -> bool:
        """True for anything that reaches a model, in what has been rewritten, too."""
        return self.costs(node) or (
            tree.is_function(node) and tree.function_name(node).startswith(TAGGED)
        )

    def _find_costly_tables(self) -> None:
        """Count those common tables as costly too that reach a model, perhaps through others."""
        tables = list(tree.common_tables(self.query))
        while found := {
            name
            for name, table in tables
            if name not in self.costly and is_inside(table, self.costs)
        }:
            self.costly |= found

    def _is_shared(self) -> bool:
        """True where a table that reaches a model is read in several places."""
        tables = (node for node in tree.nodes(self.query) if node.get("type") == "BASE_TABLE")
        names = [node["table_name"].lower() for node in tables if self.costs(node)]
        return len(set(names)) < len(names)

    def hides(self, node: Node) -> bool:
        """True for a call of a macro that reaches a model, or of DuckDB's `if` around one."""
        is_hidden = is_call(node, self.costly) and not self.calls(node)
        return is_hidden or self._decides(node)

    def spell_out(self) -> None:
        """Write what models answer where only its alias stands."""
        aliases.spell_out(self.query, self.costs, self.binds)

    def inline(
        self,
        macros: Callable[[str], Macro | None],
        definitions: Definitions,
        *,
        is_wanted: bool,
    ) -> None:
        """Take macros apart where that *is_wanted*, or one call of a model may wait for another.

        DuckDB's own `if` always, where a model decides it: a condition is more than a value.
        """
        is_needed = is_wanted or Shape(self.calls, self.costs, definitions).sites(self.query) > 1
        if not is_needed and not is_inside(self.query, self._decides):
            return

        def find(name: str) -> Macro | None:
            if not definitions(name):
                return inlining.own(name)
            return macros(name) if is_needed else None

        Headings(self.query, self.hides).write_out()
        inlining.inline(self.query, self.hides, find)

    def _decides(self, node: Node) -> bool:
        """True for DuckDB's `if` around anything that reaches a model."""
        return is_call(node, frozenset((inlining.IF,))) and is_inside(node, self.costs)

    def take_out_factors(self, definitions: Definitions) -> None:
        """Fold what a literal decides, and take out what all alternatives of an OR have."""
        headings = Headings(self.query, self.costs)

        def is_harmless(function: Node) -> bool:
            name = tree.function_name(function)
            is_duckdbs = name in tree.scalars() and not definitions(name)
            return is_duckdbs or self.calls(function)

        is_folded = folded.fold(self.query, self.costs, is_harmless)
        if factors.take_out(self.query, self.costs) or is_folded:
            headings.write_out()

    def number(self) -> bool:
        """Number SELECTs and branches; true where DuckDB may yet make calls of several one.

        Who reads of calls wants each text once, and so no numbers.
        """
        number_scopes(self.query, self.costs)
        return branches.number(self.query, self.costs) and weights.ARE_COUNTED

    def asks_all(self, definitions: Definitions) -> bool:
        """True unless a LIMIT may keep rows from being asked about."""
        if Shape(self.calls, self.costs, definitions).limit(self.query) is not None:
            return False
        query = copy.deepcopy(self.query)
        late.postpone(query, self.calls, self.costs, definitions, self.binds)
        return tree.text_key(query) == tree.text_key(self.query)

    def at_once(self, definitions: Definitions) -> Plan:
        """The plan of the statement as it was typed, for which there are no passes."""
        statement = tree.parse(self.sql)
        assert statement is not None, "it was parsed before"
        hints.restore(statement, self.sql)
        query = tree.body(statement)
        headings, ranks = Headings(query, self.costs), Ranks(query, self.models)
        headings.write_out()
        ranks.tag()
        never_raises = Shape(self.calls, self.costs, definitions).never_raises(query)
        text = tree.show(statement)
        return Plan(text, statement, len(ranks), never_raises, is_tagged=True, is_at_once=True)

    def ladder(
        self,
        definitions: Definitions,
        sorting: Callable[[], tuple[str, str]],
    ) -> Ladder | None:
        """What leads from the rows that the statement sorts first to the others, if it does."""
        found = ladder.read(self.statement, self.costs, definitions, sorting)
        is_harmless = Shape(self.calls, self.costs, definitions).is_harmless
        return found and replace(
            found, is_harmless=all(is_harmless(key.expression) for key in found.keys)
        )

    def plan(
        self,
        definitions: Definitions,
        explain: Explain,
        *,
        tags_all: bool,
    ) -> Plan:
        """Rewrite the statement as far as it needs it, and say what its shape allows."""
        original = tree.text_key(self.statement)
        shape = Shape(self.calls, self.costs, definitions)
        limit, never_raises = shape.limit(self.query), shape.never_raises(self.query)
        is_ordered = shape.is_ordered(self.query)
        if not (is_ordered or tags_all) and order.is_cut(explain(self.sql, never_raises)):
            # Tagged, a call would be another than the hidden one that it contradicts.
            sites = shape.sites(self.query)
            return Plan(self.sql, None, sites, never_raises, is_ordered=False, is_costly=self.costs)
        hides = any(self.costs(node) and not self.calls(node) for node in tree.nodes(self.query))
        as_read = copy.deepcopy(self.statement)
        late.postpone(self.query, self.calls, self.costs, definitions, self.binds)
        is_later = tree.text_key(self.statement) != tree.text_key(as_read)
        planned = cache(lambda text: explain(text, never_raises))  # with guards and without
        arrange = self._arranging(planned, is_ordered=is_ordered)
        before = copy.deepcopy(self.statement)
        headings = Headings(self.query, self.costs)
        ranks = arrange(self.statement)
        where_rank = ranks.highest(self.query.get("where_clause"))
        guarded = tree.text_key(self.statement)
        is_turned = guarded != original and waiting.is_turned_round(
            before, self.statement, self.models, planned, definitions
        )
        may_cost = is_turned or (guarded != original and self._may_cost(before))
        filters_later = (
            weights.ARE_COUNTED and is_later and self._filters_by_columns(tree.body(as_read))
        )
        found = Plan(
            **self._printed(ranks, headings, original, tags_all=tags_all, limit=limit),
            never_raises=never_raises,
            hides=hides,
            is_ordered=is_ordered,
            divided=frozenset(branches.divided(before, self.costs) if tags_all else ()),
            is_costly=self.costs_also_tagged,
            definitions=definitions,
        )
        found = self._with_order(found, ranks, tree.body(before), shape, is_turned=is_turned)
        if may_cost or filters_later:
            plain = as_read if filters_later else before
            found = self._with_plain(found, plain, guarded, partial(arrange, may_guard=False))
        return found if limit is None else self._limited(found, limit, where_rank)

    def _printed(
        self, ranks: Ranks, headings: Headings, original: str, *, tags_all: bool, limit: int | None
    ) -> dict[str, Any]:
        """The statement as text with its calls tagged, and what a Plan says of that.

        It was *original*, under *headings*, which it keeps.
        """
        texts = ranks.texts() if tags_all else ()
        # A LIMIT's passes must tell calls apart, also from those of WHERE that macros hide.
        is_tagged = not ranks.are_all_equal or bool(ranks and (tags_all or limit is not None))
        is_changed = is_tagged or tree.text_key(self.statement) != original
        if is_changed:
            headings.write_out()
        if is_tagged:
            ranks.tag(apart=self.query["select_list"] if limit is not None else ())
        return {
            "text": tree.show(self.statement) if is_changed else self.sql,
            "statement": copy.deepcopy(self.statement) if is_changed else None,
            "sites": len(ranks),
            "is_tagged": is_tagged,
            "calls": tuple(texts),
        }

    def _arranging(self, explain: waiting.Explain, *, is_ordered: bool) -> Callable[..., Ranks]:
        """What arranges conditions and ranks calls, by the plans that *explain* gives."""
        return partial(
            waiting.arrange, models=self.models, is_costly=self.costs, explain=explain,
            binds=self.binds, is_ordered=is_ordered,
        )  # fmt: skip

    def _may_cost(self, before: Node) -> bool:
        """True where the guards of the statement, without which it was *before*, may cost calls."""
        query = tree.body(before)
        may_lose = waiting.may_lose_filters(query, self.costs)
        return may_lose or (weights.ARE_COUNTED and self._filters_by_columns(query))

    def _filters_by_columns(self, query: Node) -> bool:
        """True where conditions of *query* read a column that models answer.

        DuckDB 1.5 sorts them by what it costs to compute that, too, where it is computed.
        """
        return conditions.filters_by_columns(query, self.costs)

    def _with_order(
        self, found: Plan, ranks: Ranks, query: Node, shape: Shape, *, is_turned: bool
    ) -> Plan:
        """*found* with what is known of the order in which *query*, as it was, asks by *ranks*.

        One that *is_turned* has conditions behind calls that stood before them.
        """
        has_columns = guards.has_costly_columns(self.query, self.costs_also_tagged)
        is_open = ranks.is_left_open and (has_columns or shape.lets_null_through(query))
        last_rank = ranks.last if found.is_tagged else -1
        return replace(
            found,
            is_ordered=found.is_ordered and not (is_open or ranks.order.is_torn),
            last_rank=None if has_columns else last_rank,
            is_guarded=ranks.is_guarded and not (is_turned or self._filters_by_columns(query)),
            asks_several=guards.asks_several(query, self.costs),
            is_shared=self._is_shared(),
        )

    def _with_plain(
        self, found: Plan, statement: Node, guarded: str, arrange: Callable[[Node], Ranks]
    ) -> Plan:
        """*found* with the plan of *statement*, its conditions as they are, if not *guarded*."""
        headings = Headings(tree.body(statement), self.costs)
        ranks = arrange(statement)
        if tree.text_key(statement) == guarded:
            return found
        texts = ranks.texts() if found.calls else ()
        headings.write_out()
        ranks.tag()
        text = tree.show(statement)
        return replace(
            found, plain=replace(found, text=text, statement=statement, calls=tuple(texts))
        )

    def _limited(self, found: Plan, limit: int, where_rank: int) -> Plan:
        """*found* with the text that a LIMIT's passes run, which changes the statement."""
        self.query["select_list"].append(tree.expression(ROW_NUMBER))
        text = tree.show(self.statement)
        return replace(found, limit=limit, limited_text=text, where_rank=where_rank)
