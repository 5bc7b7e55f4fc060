"""What is more than a value of its own row: also where a macro hides it."""

from __future__ import annotations

from collections.abc import Callable

from llmsql.syntax import tree
from llmsql.syntax.conditions import Test
from llmsql.syntax.tree import Node

MOST_MACROS_DEEP = 8
_OF_SCOPE = ("STAR", "SUBQUERY", "LAMBDA", "POSITIONAL_REFERENCE")

Definitions = Callable[[str], list[Node]]
"""The parsed bodies of a macro of the user's, by its name."""


def is_of_set(definitions: Definitions = lambda name: []) -> Test:
    """The test for an aggregate, a window, an unnest, and a macro that is made of one."""

    def test(node: Node, depth: int = 0) -> bool:
        if node.get("class") == "WINDOW":
            return True
        if not tree.is_function(node):
            return False
        name = tree.function_name(node)
        if name == "unnest" or name in tree.aggregates():
            return True
        bodies = definitions(name) if depth < MOST_MACROS_DEEP else []
        return any(test(inner, depth + 1) for body in bodies for inner in _row_by_row(body))

    return test


def is_unmovable(definitions: Definitions) -> Test:
    """The test for what may mean another thing in another scope, or among fewer rows."""
    is_one_of_set = is_of_set(definitions)

    def test(node: Node) -> bool:
        if node.get("class") in _OF_SCOPE or is_one_of_set(node):
            return True
        return tree.is_function(node) and tree.function_name(node) == "alias"

    return test


def _row_by_row(body: Node) -> list[Node]:
    """What a scalar macro computes of its own row; a query in it has rows of its own."""
    items = tree.body(body).get("select_list", ())
    return [node for item in items for node in _outside_queries(item)]


def _outside_queries(item: object) -> list[Node]:
    if isinstance(item, list):
        return [node for part in item for node in _outside_queries(part)]
    if not isinstance(item, dict) or item.get("class") == "SUBQUERY":
        return []
    return [item, *(node for part in item.values() for node in _outside_queries(part))]
