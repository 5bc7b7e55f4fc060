"""`(a AND c) OR (b AND c)` as `c AND (a OR b)`, as DuckDB has it before it asks.

It no longer would where guards or the tags of a choice's branches come between. What rows are kept
by is left as it is: there DuckDB has an order of its own for several parts that it takes out.
"""

from __future__ import annotations

from llmsql.syntax import conditions, tree
from llmsql.syntax.conditions import Test, is_inside
from llmsql.syntax.tree import Node


def take_out(root: Node, is_costly: Test) -> bool:
    """Take out, in place, what all alternatives have, of each OR in *root* that keeps no rows.

    Returns True where that changed anything.
    """
    keeping = {
        id(node)
        for condition in conditions.filtering(root)
        for node in conditions.connections(condition)
    }
    is_changed = False
    for node in reversed(list(tree.nodes(root))):  # inner ones first
        is_or = node.get("type") == "CONJUNCTION_OR" and id(node) not in keeping
        if is_or and is_inside(node, is_costly):
            is_changed |= _take_out(node)
    return is_changed


def _take_out(node: Node) -> bool:
    alternatives = [conditions.conjuncts(each) for each in conditions.alternatives(node)]
    keys = [{tree.text_key(part): part for part in parts} for parts in alternatives]
    common = {
        key: part
        for key, part in keys[0].items()
        if all(key in others for others in keys) and not is_inside(part, _is_volatile)
    }
    if not common:
        return False
    rests = [[part for key, part in parts.items() if key not in common] for parts in keys]
    left = list(common.values())
    if all(rests):  # else one alternative is true where these are
        left.append(conditions.conjunction([*map(conditions.conjunction, rests)], "OR"))
    tree.become(node, conditions.boolean(conditions.conjunction(left)))
    return True


def _is_volatile(node: Node) -> bool:
    return tree.is_function(node) and tree.function_name(node) in tree.volatiles()
