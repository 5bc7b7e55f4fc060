"""Which model call waits for which: conditions guarded, calls ranked, in DuckDB's own order.

Where several conditions ask models, that of the plain query is kept, so that none is asked about
more rows than a function alone would be. It is read off the plan of a copy whose calls are tagged,
and which has the rows above a rung, too; so is what became of it by the guards. Where these turned
it round, the conditions stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

from llmsql.syntax import aliases, conditions, guards, ladder, order, tree
from llmsql.syntax.aliases import Binds
from llmsql.syntax.conditions import Test, is_inside
from llmsql.syntax.headings import Headings
from llmsql.syntax.order import Order
from llmsql.syntax.outputs import Outputs, is_sorted_and_limited, sort_keys
from llmsql.syntax.ranks import Ranks
from llmsql.syntax.sets import Definitions
from llmsql.syntax.tree import Node

Explain = Callable[[str], list[Node] | None]
"""DuckDB's plan of a query, or None."""

_ANY_OF = ("COMPARE_IN", "COMPARE_NOT_IN")
"""To DuckDB an OR."""


def arrange(
    statement: Node,
    models: frozenset[str],
    is_costly: Test,
    explain: Explain,
    *,
    binds: Binds,
    is_ordered: bool,
    may_guard: bool = True,
) -> Ranks:
    """Guard, in place, the conditions of *statement*, and rank its calls.

    *explain* gives DuckDB's plan of a query, or None, *binds* tells whether it has one. Where a
    call that a view or a macro hides may wait for another, *is_ordered* is False: its place in a
    plan is not to be found, and an OR inside would be evaluated as a whole behind a guard. Unless
    it *may_guard*, conditions stay as DuckDB has them.
    """
    query = tree.body(statement)
    is_one = not guards.asks_several(query, is_costly)
    if not is_ordered or (is_one and not may_guard):
        return _unguarded(query, models, is_costly, Order(is_known=False))
    if is_one:
        guards.guard(query, is_costly)
        if not any(_may_compute_late(node, is_costly) for node in tree.nodes(query)):
            return Ranks(query, models)
        aliases.note_unread(query, is_costly, binds)
        return Ranks(query, models, _order(statement, models, explain))
    aliases.note_unread(query, is_costly, binds)
    sketch = copy.deepcopy(statement)
    Headings(tree.body(sketch), is_costly, is_inner=True).write_out()
    plain = _order(ladder.without_rungs(sketch), models, explain)
    contradict = not Ranks(query, models, plain).are_evaluated()
    if contradict or not may_guard:
        return _unguarded(query, models, is_costly, plain)
    if conditions.is_only_where(query) and not _asks_constants(query, is_costly):
        return _guarded(query, models, is_costly, plain, plain)  # one CASE has all, in this order
    _guarded(tree.body(sketch), models, is_costly, plain, plain)
    guarded = _order(sketch, models, explain)
    if not guarded.keeps(plain):
        return _unguarded(query, models, is_costly, plain)
    return _guarded(query, models, is_costly, plain, guarded)


def may_lose_filters(query: Node, is_costly: Test) -> bool:
    """True where DuckDB may ask less by the conditions of *query* as they are.

    From alternatives, bounds and branches it infers filters, by what links a subquery it joins, and
    it asks what reads one table before a join. Which of two conditions on one answer comes first,
    no plan tells. A guard may cost calls there; mostly it saves some.
    """
    asking = [each for each in conditions.filtering(query) if is_inside(each, is_costly)]
    if any(
        node.get("type") in ("CONJUNCTION_OR", "OPERATOR_COALESCE")
        or node.get("class") in ("CASE", "SUBQUERY")
        or (node.get("class") == "BETWEEN" and is_inside(node, is_costly))
        or (node.get("type") in _ANY_OF and _asks_twice(node["children"], is_costly))
        for node in tree.nodes(asking)
    ):
        return True
    is_joined = any(node.get("type") == "JOIN" for node in tree.nodes(query))
    return (is_joined and guards.asks_several(query, is_costly)) or _asks_alike(asking, is_costly)


def is_turned_round(
    plain: Node,
    guarded: Node,
    models: frozenset[str],
    explain: Explain,
    definitions: Definitions,
) -> bool:
    """True where an inner query's conditions come behind the outer one's calls for its guards.

    DuckDB sorts no conditions of which one can fail (`i % 7 = 1`), and 1.5.5 leaves these to a
    scan only beside such as read one column each, as no guard does: so the outer ones come first.
    """
    query = tree.body(plain)
    has_others = any(
        node is not query and any(conditions.standing(node))
        for node in tree.nodes(query)
        if node.get("type") == "SELECT_NODE"
    )
    if not has_others and not any(map(definitions, _tables(query))):
        return False
    return not _order(guarded, models, explain).keeps(_order(plain, models, explain))


def _tables(query: Node) -> set[str]:
    """The names of what *query* reads, in lower case."""
    return {
        node["table_name"].lower() for node in tree.nodes(query) if node.get("type") == "BASE_TABLE"
    }


def _asks_twice(parts: list[Node], is_costly: Test) -> bool:
    return sum(is_inside(part, is_costly) for part in parts) > 1


def _asks_alike(asking: list[Node], is_costly: Test) -> bool:
    """True where two conditions are on the same answers."""
    leaves = [leaf for condition in asking for leaf in conditions.leaves(condition)]
    calls = [
        frozenset(tree.text_key(node) for node in tree.nodes(leaf) if is_costly(node))
        for leaf in leaves
    ]
    found = [each for each in calls if each]
    return len(set(found)) < len(found)


def _may_compute_late(select: Node, is_costly: Test) -> bool:
    """True where a LIMIT chooses rows by what models answer, perhaps before others are asked."""
    if select.get("type") != "SELECT_NODE" or not is_sorted_and_limited(select):
        return False
    outputs, keys = Outputs(select), sort_keys(select)
    sorting = [outputs.named_by(key) or key for key in keys]
    known = {tree.text_key(key) for key in sorting}
    others = [item for item in outputs.items if tree.text_key(item) not in known]
    return all(any(is_inside(each, is_costly) for each in some) for some in (sorting, others))


def _asks_constants(query: Node, is_costly: Test) -> bool:
    """True where a call reads no column: what DuckDB folds then, no CASE may keep."""
    return any(
        is_costly(node) and not conditions.reads_columns(node)
        for node in tree.nodes(query["where_clause"])
    )


def _guarded(
    query: Node, models: frozenset[str], is_costly: Test, plain: Order, guarded: Order
) -> Ranks:
    guards.guard(query, is_costly, Ranks(query, models, plain).places)
    return Ranks(query, models, guarded)


def _unguarded(query: Node, models: frozenset[str], is_costly: Test, plain: Order) -> Ranks:
    guards.guard_values(query, is_costly)
    return Ranks(query, models, plain, is_guarded=False)


def _order(statement: Node, models: frozenset[str], explain: Explain) -> Order:
    """When DuckDB evaluates each call of *statement*; empty where that is not to be known."""
    tagged = copy.deepcopy(statement)
    aliases.drop_unread(tree.body(tagged))
    ranks = Ranks(tree.body(tagged), models)
    calls, columns = list(ranks.by_text), ranks.by_column(tagged)
    ranks.tag()
    found = order.read(explain(tree.show(tagged)), calls, columns)
    for probe in _probes(tree.body(tagged), ranks, found) if found.is_known else ():
        found.places |= order.read(explain(probe), calls, {}).places
    return found


def _probes(tagged: Node, ranks: Ranks, found: Order) -> Iterator[str]:
    """Queries whose plans show items of *tagged* of which that one has but the names.

    They read the same tables. What DuckDB evaluates first in an item the rest does not change, but
    for whether it is grouped.
    """
    for select in (node for node in tree.nodes(tagged) if node.get("type") == "SELECT_NODE"):
        items = [item for item in select["select_list"] if _is_hidden(item, ranks, found)]
        if items:
            probe = tree.parse("SELECT 1" + " GROUP BY ALL" * bool(select["group_expressions"]))
            assert probe
            bare = [{**item, "alias": ""} for item in items]
            query = {"select_list": bare, "from_table": select["from_table"]}
            tree.body(probe).update(query, cte_map=tagged["cte_map"])
            yield tree.show(probe)


def _is_hidden(item: Node, ranks: Ranks, found: Order) -> bool:
    """True where *item*, under its alias, joins calls by AND or OR whose places are not *found*."""
    joints = (node for node in tree.nodes(item) if node.get("class") == "CONJUNCTION")
    joined = (set(ranks.inside(node)) for node in joints if item.get("alias"))
    return any(len(calls) > 1 and not calls <= found.places.keys() for calls in joined)
