"""What calls cost DuckDB besides what a plain function's would: the same in each condition.

DuckDB 1.5 sorts conditions by a cost of its own, in which a constant counts 1, a DOUBLE 2 and a
VARCHAR 5. Tags are such constants: of two conditions that cost the same, the one with fewer calls
came first. So each call gets another one beside its tag, of a type by which conditions of one, two
and three calls come to 6. DuckDB 2.0 leaves the order of what calls Python alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import duckdb

from llmsql.syntax import conditions, tree
from llmsql.syntax.tree import Node

ARE_COUNTED = int(duckdb.__version__.split(".")[0]) < 2
"""Whether calls need a weight at all: a constant more takes a tenth of what known answers take."""

ALONE = "''"
"""The weight of a call that stands alone in its condition."""

_AMONG_TWO = "CAST(0 AS DOUBLE)"
_AMONG_MORE = "0"


def weigh(root: Node, calls: Collection[int]) -> dict[int, str]:
    """The weights of the *calls* in *root*, all by identity, as SQL; those in conditions come last.

    Where conditions of one call and of several would give one text two weights, all are the same:
    it matters more that DuckDB sees what the conditions on a call have to do with one another.
    """
    found: dict[int, str] = {}
    compared: dict[int, str] = {}
    outermost = _columns_alone(root)
    for part in _parts(root):
        inside = {id(node): node for node in tree.nodes(part) if id(node) in calls}
        weight = {1: ALONE, 2: _AMONG_TWO}.get(len(inside), _AMONG_MORE)
        for at in inside:
            found.pop(at, None)
        found |= dict.fromkeys(inside, weight)
        nested = {
            id(inner)
            for node in inside.values()
            for argument in tree.arguments(node)
            for inner in tree.nodes(argument)
        }
        if id(part) not in outermost:
            compared |= {at: tree.text_key(node) for at, node in inside.items() if at not in nested}
    pairs = {(text, found[at]) for at, text in compared.items()}
    is_torn = len(pairs) > len({text for text, _ in pairs})
    return dict.fromkeys(found, _AMONG_MORE) if is_torn else found


def _columns_alone(root: Node) -> set[int]:
    """The items, by identity, that no condition can read."""
    is_read = root.get("type") != "SELECT_NODE" or root["having"] or root["qualify"]
    return set() if is_read else set(map(id, root["select_list"]))


def _parts(root: Node) -> Iterator[Node]:
    """What may become a condition: columns, then parts of conditions; outer ones come first."""
    for node in tree.nodes(root):
        if node.get("type") == "SELECT_NODE":
            yield from node["select_list"]
    for holder, clause in conditions.standing(root):
        yield from conditions.leaves(holder[clause])
