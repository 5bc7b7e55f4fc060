"""What DuckDB leaves out while it plans: no row comes there, whatever a model would answer.

Only by the literals NULL and false: of other constants, which it folds too, nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmsql.syntax import tree
from llmsql.syntax.tree import Node

_COMPARISONS = (
    "COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO",
)  # fmt: skip
_CONDITIONS = (
    "OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "COMPARE_IN", "COMPARE_NOT_IN",
)  # fmt: skip


def is_null(node: Node) -> bool:
    """True for what is NULL in every row, whatever else stands in it."""
    if node.get("type") in _COMPARISONS:
        return is_null(node["left"]) or is_null(node["right"])
    if tree.is_function(node) and tree.function_name(node) == "nullif":
        return any(map(is_null, tree.arguments(node)[:1]))
    return is_null(node["child"]) if node.get("class") == "CAST" else tree.is_null(node)


def cases(case: Node) -> Iterator[tuple[Node, Node]]:
    """The conditions in *case* that may hold in some row, each with its value."""
    for check in case["case_checks"]:
        if not (is_null(check["when_expr"]) or _is_false(check["when_expr"])):
            yield check["when_expr"], check["then_expr"]


def fold(root: Node) -> bool:
    """Put conditions in the place of a CASE that has no other left, in place; True if any has."""
    found = False
    for node in reversed([*tree.nodes(root)]):  # inner ones first
        if node.get("class") == "CASE" and not any(cases(node)):
            values = [node["else_expr"], *(check["then_expr"] for check in node["case_checks"])]
            if all(map(_is_condition, values)):
                tree.become(node, node["else_expr"])
                found = True
    return found


def _is_condition(node: Node) -> bool:
    """True for what is of type BOOLEAN by its form."""
    return node.get("class") in ("COMPARISON", "CONJUNCTION", "BETWEEN") or (
        node.get("type") in _CONDITIONS
    )


def _is_false(node: Node) -> bool:
    """True for the literal; DuckDB 1.5 reads it as a text that is cast."""
    said: Any = tree.constant(node["child"] if node.get("class") == "CAST" else node)
    return said is False or said in ("f", "false")
