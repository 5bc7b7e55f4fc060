"""What DuckDB leaves out while it plans, as a literal NULL or false decides it: no row comes there.

Folded before anything is read off the text, so that no call waits for one that is never made, and
no guard hides from DuckDB what it would fold. It folds other constants, too: of these nothing is
known.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmsql.syntax import tree
from llmsql.syntax.conditions import Test, is_inside
from llmsql.syntax.tree import Node

_COMPARISONS = (
    "COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO",
)  # fmt: skip
_VALUES = (
    "BETWEEN", "CASE", "CAST", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "OPERATOR",
    "TYPE",
)  # fmt: skip
_CONDITIONS = (
    "OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "COMPARE_IN", "COMPARE_NOT_IN",
)  # fmt: skip


def fold(root: Node, is_costly: Test, is_harmless: Test) -> bool:
    """Fold, in place, what is costly in *root*, and keep its types; True where there was any.

    Only what has no function but such as are *is_harmless*: others may decide how many rows there
    are, or be no DuckDB's.
    """
    found = False
    for node in reversed([*tree.nodes(root)]):  # inner ones first
        if _is_decided(node) and is_inside(node, is_costly) and _may_go(node, is_harmless):
            _fold(node)
            found = True
    return found


def cases(case: Node) -> Iterator[tuple[Node, Node]]:
    """The conditions in *case* that may hold in some row, each with its value."""
    for check in case["case_checks"]:
        if not _is_never(check["when_expr"]):
            yield check["when_expr"], check["then_expr"]


def _is_decided(node: Node) -> bool:
    """True for what a literal in it decides, in part at least."""
    if node.get("class") == "CASE":
        return any(_is_never(check["when_expr"]) for check in node["case_checks"])
    return node.get("type") in _COMPARISONS and _is_null(node)


def _may_go(node: Node, is_harmless: Test) -> bool:
    """True where nothing in *node* is missed when it is left out."""
    return all(
        is_harmless(each) if tree.is_function(each) else each["class"] in _VALUES
        for each in tree.nodes(node)
        if "class" in each
    )


def _fold(node: Node) -> None:
    if node.get("type") in _COMPARISONS:
        tree.become(node, tree.expression("NULL::BOOLEAN"))
    elif not any(cases(node)) and _is_condition(node):
        tree.become(node, node["else_expr"])
    else:
        for check in node["case_checks"]:
            if _is_never(check["when_expr"]):
                check["when_expr"] = tree.expression("false")


def _is_null(node: Node) -> bool:
    """True for what is NULL in every row, whatever else stands in it."""
    if node.get("type") in _COMPARISONS:
        return _is_null(node["left"]) or _is_null(node["right"])
    return _is_null(node["child"]) if node.get("class") == "CAST" else tree.is_null(node)


def _is_never(node: Node) -> bool:
    """True for a condition that holds in no row, and raises in none."""
    if node.get("type") == "CONJUNCTION_AND":
        first, *others = node["children"]
        return _is_never(first) or any(map(_is_false, others))
    if node.get("type") == "CONJUNCTION_OR":
        return all(map(_is_never, node["children"]))
    return _is_null(node) or _is_false(node)


def _is_false(node: Node) -> bool:
    """True for the literal, which DuckDB 1.5 reads as a text that is cast."""
    literal = node["child"] if node.get("class") == "CAST" else node
    is_literal = literal.get("class") == "CONSTANT"
    return is_literal and tree.text_key(node) == tree.text_key(tree.expression("false"))


def _is_condition(node: Node) -> bool:
    """True for what is of type BOOLEAN by its form."""
    if node.get("class") == "CASE":
        values = (check["then_expr"] for check in node["case_checks"])
        return all(map(_is_condition, (node["else_expr"], *values)))
    by_class = node.get("class") in ("COMPARISON", "CONJUNCTION", "BETWEEN")
    return by_class or node.get("type") in _CONDITIONS
