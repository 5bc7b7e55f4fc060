"""Ask models after ORDER BY … LIMIT, not before.

DuckDB computes a SELECT list for every row and sorts afterwards. So the rows are chosen first, in a
subquery, with what the order itself asks, and only those that stay are asked about the rest.
"""

from __future__ import annotations

import copy

from llmsql.syntax import sets, tree
from llmsql.syntax.aliases import Binds, are_columns
from llmsql.syntax.conditions import Test, is_inside
from llmsql.syntax.outputs import Outputs, is_sorted_and_limited, orders, sort_keys
from llmsql.syntax.sets import Definitions
from llmsql.syntax.tree import Node

ROWS = "llmsql_rows"


def postpone(
    root: Node,
    is_call: Test,
    is_costly: Test,
    definitions: Definitions,
    binds: Binds = lambda sql: False,
) -> None:
    """Rewrite, in place, every SELECT of *root* that sorts and limits what it then computes.

    *definitions* gives the parsed bodies of a macro, which may hide what needs all rows. *binds*
    tells whether DuckDB can plan a query: only DuckDB knows whether an alias that WHERE or
    another item reads is a column's name, too, and then means the column.
    """
    is_unmovable = sets.is_unmovable(definitions)
    for select in [n for n in tree.nodes(root) if n.get("type") == "SELECT_NODE"]:
        if _fits(select, is_call, is_costly, is_unmovable) and are_columns(
            select, _aliases_read(select), binds
        ):
            _postpone(select, is_call)


def _fits(select: Node, is_call: Test, is_costly: Test, is_unmovable: Test) -> bool:
    if not is_sorted_and_limited(select):
        return False
    outputs, keys = Outputs(select), sort_keys(select)
    sorting = {id(_named(outputs, key)) for key in keys}
    items = [item for item in outputs.items if id(item) not in sorting]
    costly = [item for item in items if is_inside(item, is_costly)]
    return (
        bool(costly)
        and not any(is_inside(part, is_unmovable) for part in (*outputs.items, *keys))
        and all(is_inside(item, is_call) for item in costly)
        and not any(map(_is_literal, (_named(outputs, key) or key for key in keys)))
    )


def _aliases_read(select: Node) -> set[str]:
    """The aliases of its items that WHERE, an item, or a key that is more than one, names."""
    outputs, keys = Outputs(select), sort_keys(select)
    computed = [key for key in keys if not _named(outputs, key)]
    names = {item["alias"].lower() for item in outputs.items if item.get("alias")}
    return names & {
        reference["column_names"][0].lower()
        for part in (select["where_clause"], select["select_list"], computed)
        for reference in tree.column_references(part)
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

    def column(self, expression: Node) -> Node:
        """Compute *expression* among them; returns the reference to it."""
        name = f"{ROWS}_{len(self.items)}"
        self.items.append({**expression, "alias": name})
        return tree.expression(f"{ROWS}.{name}")

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


def _postpone(select: Node, is_call: Test) -> None:
    sorting, chosen, items = _spell_out_keys(select), _Chosen(), []
    for item in select["select_list"]:
        is_known = id(item) in sorting or not is_inside(item, is_call)
        made = chosen.column(item) if is_known else chosen.move_from(item, is_call)
        items.append({**made, "alias": item.get("alias") or tree.own_name(item)})
    if not chosen.items:  # no SELECT is without columns
        chosen.column(tree.expression("1"))
    wrapper = tree.parse(f"SELECT * FROM (SELECT 1) AS {ROWS}")
    assert wrapper
    outer = tree.body(wrapper)
    inner = {**select, "select_list": chosen.items, "cte_map": {"map": []}}
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
