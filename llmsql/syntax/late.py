"""Ask models after ORDER BY … LIMIT, not before.

DuckDB computes a SELECT list for every row and sorts afterwards. So the rows are chosen first, in a
subquery, with what the order itself asks, and only those that stay are asked about the rest.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from llmsql.syntax import sets, tree
from llmsql.syntax.aliases import Binds, are_columns
from llmsql.syntax.conditions import Test, is_inside
from llmsql.syntax.sets import Definitions
from llmsql.syntax.tree import Node

ROWS = "llmsql_rows"
_DEPENDING = ("STAR", "WINDOW", "SUBQUERY", "LAMBDA", "POSITIONAL_REFERENCE")


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
    is_scalar = _scalars(definitions)
    for select in [n for n in tree.nodes(root) if n.get("type") == "SELECT_NODE"]:
        if _fits(select, is_call, is_costly, is_scalar) and are_columns(
            select, _aliases_read(select), binds
        ):
            _postpone(select, is_call)


def is_sorted_and_limited(query: Node) -> bool:
    """True for a SELECT that does not group, and ends in ORDER BY and LIMIT alone."""
    if query["type"] != "SELECT_NODE":
        return False
    kinds = [modifier["type"] for modifier in query["modifiers"]]
    return (
        sorted(kinds) == ["LIMIT_MODIFIER", "ORDER_MODIFIER"]
        and not any(query[part] for part in ("group_expressions", "having", "qualify", "sample"))
        and query.get("aggregate_handling") == "STANDARD_HANDLING"  # no GROUP BY ALL
    )


def _fits(select: Node, is_call: Test, is_costly: Test, is_scalar: Test) -> bool:
    if not is_sorted_and_limited(select):
        return False
    items, keys = select["select_list"], _keys(select)
    sorting = {id(item) for key in keys for item in _named(items, key)}
    costly = [item for item in items if is_inside(item, is_costly) and id(item) not in sorting]
    return (
        bool(costly)
        and all(map(is_scalar, items))
        and all(is_inside(item, is_call) for item in costly)
        and all(_is_plain_key(key, items) and is_scalar(key) for key in keys)
    )


def _aliases_read(select: Node) -> set[str]:
    """The aliases of its items that WHERE, or an item, names."""
    names = {item["alias"].lower() for item in select["select_list"] if item.get("alias")}
    return names & {
        reference["column_names"][0].lower()
        for part in (select["where_clause"], select["select_list"])
        for reference in tree.column_references(part)
        if len(reference["column_names"]) == 1
    }


def _keys(select: Node) -> list[Node]:
    orders = next(m for m in select["modifiers"] if m["type"] == "ORDER_MODIFIER")["orders"]
    return [order["expression"] for order in orders]


def _is_plain_key(key: Node, items: list[Node]) -> bool:
    """True for a key that is one of *items*, or that each row decides, with no alias inside."""
    if named := _named(items, key):
        return len(named) == 1 and not _is_literal(named[0])  # among the rows it is a position
    if key.get("class") == "STAR" or _is_literal(key):
        return False
    names = {item["alias"].lower() for item in items if item.get("alias")}
    return not any(r["column_names"][0].lower() in names for r in tree.column_references(key))


def _named(items: list[Node], key: Node) -> list[Node]:
    """Those of *items* that *key* stands for: by alias, position, or the same words."""
    position = tree.position(key)
    if position is not None:
        return items[position - 1 : position] if position > 0 else []
    if by_alias := [item for item in items if _is_alias(key, item)]:
        return by_alias
    return [item for item in items if tree.text_key(item) == tree.text_key(key)][:1]


def _is_alias(key: Node, item: Node) -> bool:
    return (
        key.get("class") == "COLUMN_REF"
        and len(key["column_names"]) == 1
        and bool(item.get("alias"))
        and key["column_names"][0].lower() == item["alias"].lower()
    )


def _is_literal(node: Node) -> bool:
    """True for a constant, also with a collation: DuckDB may take it for a position."""
    return not any(tree.column_references(node)) and not is_inside(node, tree.is_function)


def _scalars(definitions: Definitions) -> Test:
    """The test for what means the same of a row wherever it stands."""
    is_of_set = sets.is_of_set(definitions)

    def depends(node: Node) -> bool:
        if node.get("class") in _DEPENDING or is_of_set(node):
            return True
        return tree.is_function(node) and tree.function_name(node) == "alias"

    return lambda node: not is_inside(node, depends)


def _postpone(select: Node, is_call: Test) -> None:
    inner_items: list[Node] = []

    def column(expression: Node) -> Node:
        """Compute *expression* among the chosen rows; returns the reference to it."""
        name = f"{ROWS}_{len(inner_items)}"
        reference = tree.expression(f"{ROWS}.{name}")
        inner_items.append({**expression, "alias": name})
        return reference

    sorting: set[int] = set()
    for modifier in select["modifiers"]:
        for order in modifier.get("orders", ()):  # an alias is out of sight among the rows
            for item in _named(select["select_list"], order["expression"]):
                order["expression"] = {**copy.deepcopy(item), "alias": ""}
                sorting.add(id(item))
    outer_items = []
    for item in select["select_list"]:
        if id(item) in sorting or not is_inside(item, is_call):
            named = item.get("alias") or tree.own_name(item)
            outer_items.append({**column(item), "alias": named})
            continue
        moved = copy.deepcopy(item)
        moved["alias"] = item.get("alias") or tree.own_name(item)
        for call in [node for node in tree.nodes(moved) if is_call(node)]:
            for index, argument in enumerate(tree.arguments(call)):
                if tree.column_references(argument) and not is_inside(argument, is_call):
                    tree.set_argument(call, index, column(argument))
        _move_columns(moved, column)
        outer_items.append(moved)
    inner = {**select, "select_list": inner_items, "cte_map": {"map": []}}
    wrapper = tree.parse(f"SELECT * FROM (SELECT 1) AS {ROWS}")
    assert wrapper
    outer = tree.body(wrapper)
    outer["from_table"]["subquery"]["node"] = inner
    outer["select_list"] = outer_items
    outer["cte_map"] = select["cte_map"]
    content = dict(outer)
    select.clear()
    select.update(content)


def _move_columns(item: Node, column: Callable[[Node], Node]) -> None:
    """Compute the columns that *item* still reads itself among the chosen rows."""
    for reference in tree.column_references(item):
        if reference["column_names"][0] != ROWS:
            moved = column({**reference})
            reference["column_names"] = moved["column_names"]
