"""Ask models after ORDER BY … LIMIT, not before.

DuckDB computes a SELECT list for every row and sorts afterwards. So the rows are chosen first, in a
subquery, with what the order itself asks, and only those that stay are asked about the rest. So are
those that DuckDB chooses in another way, where it asks no model for that: they can then be kept.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Collection, Iterator

from llmsql.syntax import quote, sets, tree, undecided
from llmsql.syntax.aliases import Binds, are_columns, no_columns
from llmsql.syntax.conditions import Test, is_inside
from llmsql.syntax.outputs import Outputs, alias_of, is_sorted_and_limited, orders, sort_keys
from llmsql.syntax.sets import Definitions
from llmsql.syntax.tree import Node

ROWS = f"llmsql_rows_{secrets.token_hex(4)}"  # with a number, what no column is called


def postpone(
    root: Node,
    is_call: Test,
    is_costly: Test,
    definitions: Definitions,
    binds: Binds,
) -> None:
    """Rewrite, in place, every SELECT of *root* that sorts and limits what it then computes.

    *definitions* gives the parsed bodies of a macro, which may hide what needs all rows. *binds*
    tells whether DuckDB can plan a query: only DuckDB knows whether an alias that WHERE or
    another item reads is a column's name, too, and then means the column.
    """
    is_unmovable = sets.is_unmovable(definitions)
    for select in [n for n in tree.nodes(root) if n.get("type") == "SELECT_NODE"]:
        if not _fits(select, is_call, is_costly, is_unmovable):
            continue
        read = _aliases_read(select)
        aliases = no_columns(select, read, binds)
        named = [item for item in select["select_list"] if alias_of(item) in aliases]
        is_told_apart = len(named) == len(aliases) and not any(is_inside(i, is_call) for i in named)
        if is_told_apart and are_columns(select, read - aliases, binds):
            _postpone(select, is_call, aliases)


def _fits(select: Node, is_call: Test, is_costly: Test, is_unmovable: Test) -> bool:
    if not (is_sorted_and_limited(select) or _chooses_alone(select, is_costly)):
        return False
    outputs, keys = Outputs(select), sort_keys(select)
    sorting = {id(_named(outputs, key)) for key in keys}
    items = [item for item in outputs.items if id(item) not in sorting]
    costly = [item for item in items if is_inside(item, is_costly)]
    meant = [_named(outputs, key) or key for key in keys]
    return (
        bool(costly)
        and all(is_inside(item, is_call) for item in costly)
        and not any(is_inside(item, is_unmovable) for item in costly)
        and not any(is_inside(key, is_unmovable) for key in map(_without_aggregates, meant))
        and not any(map(_is_literal, meant))
        and sum(map(_has_star, outputs.items)) == sum(map(_is_plain_star, outputs.items)) < 2
        and _are_of_groups(select, costly, is_call)
    )


def _are_of_groups(select: Node, items: list[Node], is_call: Test) -> bool:
    """True unless *items* of a SELECT that groups read, around their calls, more than its keys."""
    keys = {tree.text_key(key) for key in select["group_expressions"]}
    loose = (each for item in items for each in _around_calls(item, is_call))
    return not keys or all(tree.text_key(reference) in keys for reference in loose)


def _around_calls(item: Node, is_call: Test) -> Iterator[Node]:
    """The column references in *item* that no call computes something of."""
    if item.get("class") == "COLUMN_REF":
        yield item
    for part in tree.inner(item):
        if not is_call(item) or is_inside(part, is_call):
            yield from _around_calls(part, is_call)


def _chooses_alone(select: Node, is_costly: Test) -> bool:
    """True where DuckDB chooses the rows of *select*, and models only make columns of them."""
    parts = {key: value for key, value in select.items() if key not in ("select_list", "cte_map")}
    return (
        select.get("aggregate_handling") == "STANDARD_HANDLING"  # no GROUP BY ALL
        and all(m.get("distinct_on_targets", True) for m in select["modifiers"])
        and not any(key.get("class") == "CONSTANT" for key in _choosing(select))  # a position
        and not _may_be_named(select)
        and undecided.chooses(select)
        and not is_inside(parts, is_costly)
    )


def _may_be_named(select: Node) -> bool:
    """True where what rows are told apart by may be an item, by the name it has."""
    names = set(map(alias_of, select["select_list"])) - {""}
    read = tree.column_references(_targets(select))
    return not names.isdisjoint(reference["column_names"][-1].lower() for reference in read)


def _targets(select: Node) -> list[Node]:
    return [key for m in select["modifiers"] for key in m.get("distinct_on_targets", ())]


def _choosing(select: Node) -> list[Node]:
    """What rows of *select* are grouped and told apart by."""
    return [*select["group_expressions"], *_targets(select)]


def _without_aggregates(key: Node) -> Node:
    """*key* with the arguments of its aggregates in their place: they are computed where it is."""
    if tree.is_function(key) and tree.function_name(key) in tree.aggregates():
        return {"": [_without_aggregates(each) for each in tree.arguments(key)]}
    return key


def _has_star(item: Node) -> bool:
    return is_inside(item, lambda node: node.get("class") == "STAR")


def _is_plain_star(item: Node) -> bool:
    return item.get("class") == "STAR" and not item["columns"]


def _aliases_read(select: Node) -> set[str]:
    """The aliases of its items that clauses, items, or keys that are more than one, name."""
    outputs, keys = Outputs(select), sort_keys(select)
    computed = [key for key in keys if not _named(outputs, key)]
    names = set(map(alias_of, outputs.items)) - {""}
    clauses = [select[name] for name in ("where_clause", "having", "qualify", "select_list")]
    return names & {
        reference["column_names"][0].lower()
        for reference in tree.column_references([*clauses, *_choosing(select), *computed])
        if len(reference["column_names"]) == 1
    }


def _named(outputs: Outputs, key: Node) -> Node | None:
    """The one of *outputs* that *key* stands for: by position, alias, or the same words."""
    same = (item for item in outputs.items if tree.text_key(item) == tree.text_key(key))
    return outputs.named_by(key) or next(same, None)


def _is_literal(node: Node) -> bool:
    """True for a constant, also with a collation: as a key DuckDB may take it for a position."""
    return not any(tree.column_references(node)) and not is_inside(node, tree.is_function)


class _Chosen:
    """What is computed of the rows that are chosen first."""

    def __init__(self) -> None:
        self.items: list[Node] = []
        self.stars: list[Node] = []
        self._names: dict[str, str] = {}

    @property
    def everything(self) -> list[Node]:
        """All that is computed; no SELECT is without columns."""
        return [*self.stars, *self.items] or [tree.expression("1")]

    def column(self, expression: Node, name: str = "") -> Node:
        """Compute *expression* among them, as *name* if it has one; returns the reference to it.

        Once, so that calls of one text stay equal to DuckDB.
        """
        key = tree.text_key(expression)
        known = self._names.get(key)
        if known is None or name not in ("", known):
            known = self._names[key] = name or f"{ROWS}_{len(self.items)}"
            self.items.append({**expression, "alias": known})
        return tree.expression(f"{ROWS}.{quote.identifier(known)}")

    def star(self, star: Node) -> Node:
        """Compute all that *star* stands for among them; returns what stands for the same then."""
        self.stars.append(star)
        return tree.expression(f"{ROWS}.*")

    def move_from(self, item: Node, is_call: Test) -> Node:
        """*item* with all that its calls, and what is around them, read computed among them."""
        moved = copy.deepcopy(item)
        for call in [node for node in tree.nodes(moved) if is_call(node)]:
            tree.note_text(call)
            for index, argument in enumerate(tree.arguments(call)):
                if tree.column_references(argument) and not is_inside(argument, is_call):
                    tree.set_argument(call, index, self.column(argument))
        for reference in tree.column_references(moved):
            if reference["column_names"][0] != ROWS:
                reference["column_names"] = self.column({**reference})["column_names"]
        return moved


def _postpone(select: Node, is_call: Test, aliases: Collection[str]) -> None:
    """Ask after the rows are chosen, by what *aliases* stand for, too, and so called there."""
    sorting, chosen, items = _spell_out_keys(select), _Chosen(), []
    for item in select["select_list"]:
        if _is_plain_star(item):
            items.append(chosen.star(item))
            continue
        is_known = id(item) in sorting or not is_inside(item, is_call)
        name = item["alias"] if alias_of(item) in aliases else ""
        made = chosen.column(item, name) if is_known else chosen.move_from(item, is_call)
        items.append({**made, "alias": item.get("alias") or tree.own_name(item)})
    for star in filter(_is_plain_star, items):
        star["exclude_list"] = [item["alias"] for item in chosen.items]
    wrapper = tree.parse(f"SELECT * FROM (SELECT 1) AS {ROWS}")
    assert wrapper
    outer = tree.body(wrapper)
    inner = {**select, "select_list": chosen.everything, "cte_map": {"map": []}}
    outer["from_table"]["subquery"]["node"] = inner
    outer.update(select_list=items, cte_map=select["cte_map"])
    content = dict(outer)
    select.clear()
    select.update(content)


def _spell_out_keys(select: Node) -> set[int]:
    """Put the items that keys stand for in their place: among the rows no alias is in sight.

    Returns which items these are, by identity.
    """
    outputs, sorting = Outputs(select), set[int]()
    for order in orders(select):
        if item := _named(outputs, order["expression"]):
            order["expression"] = {**copy.deepcopy(item), "alias": ""}
            sorting.add(id(item))
    return sorting
