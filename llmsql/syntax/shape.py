"""What a statement's shape proves about running it with some answers still unknown (NULL).

Two proofs: that a LIMIT may end early, and that nothing can raise on a NULL. Both look at the
statement as written; where they cannot be made, the answer is no.
"""

from __future__ import annotations

from llmsql.syntax import tree
from llmsql.syntax.guards import Test, conjuncts, is_inside
from llmsql.syntax.tree import Node

_COMPARISONS = frozenset(
    f"COMPARE_{name}"
    for name in (
        "EQUAL", "NOTEQUAL", "LESSTHAN", "GREATERTHAN", "LESSTHANOREQUALTO", "GREATERTHANOREQUALTO",
    )
)  # fmt: skip
_NULL_IN_NULL_OUT = frozenset(
    [
        "~~",
        "~~*",
        "!~~",
        "!~~*",
        "~~~",
        "||",
        "+",
        "-",
        "*",
        "/",
        "//",
        "%",
        "lower",
        "upper",
        "trim",
        "ltrim",
        "rtrim",
        "length",
        "strlen",
        "contains",
        "prefix",
        "suffix",
        "starts_with",
        "ends_with",
        "regexp_matches",
        "regexp_full_match",
        "replace",
        "substring",
        "left",
        "right",
        "abs",
        "round",
        "array_cosine_similarity",
        "array_distance",
        "array_inner_product",
        "list_contains",
    ]
)
_NEVER_RAISE = frozenset(
    [
        "||",
        "~~",
        "!~~",
        "lower",
        "upper",
        "trim",
        "length",
        "concat",
        "concat_ws",
        "struct_pack",
        "list_value",
    ]
)


def limit(query: Node, is_call: Test, is_costly: Test) -> int | None:
    """The LIMIT of a query whose passes may end as soon as that many rows stand; else None.

    That is a single SELECT whose model calls stand in conjuncts of WHERE that reject NULL, and, if
    it likes, in a SELECT list that works row by row.
    """
    if not _is_plain(query) or [m["type"] for m in query["modifiers"]] != ["LIMIT_MODIFIER"]:
        return None
    modifier = query["modifiers"][0]
    rows, offset = tree.constant(modifier["limit"]), modifier["offset"]
    if not isinstance(rows, int) or modifier.get("limit_type", "ROW_COUNT") != "ROW_COUNT":
        return None
    if offset is not None and not isinstance(tree.constant(offset), int):
        return None
    parts = [part for part in conjuncts(query["where_clause"]) if is_inside(part, is_costly)]
    if not parts or not all(_is_null(part, is_call, is_costly) for part in parts):
        return None
    items = query["select_list"]
    if any(is_inside(item, _is_set) for item in items) or _has_hidden(items, is_call, is_costly):
        return None
    return rows


def never_raises(query: Node, is_call: Test, is_costly: Test) -> bool:
    """True when no pass over *query* can fail because an answer is NULL for now."""
    if not _is_plain(query) or _has_hidden(query, is_call, is_costly):
        return False
    if any(is_inside(modifier, is_costly) for modifier in query["modifiers"]):
        return False
    parts = [part for part in conjuncts(query["where_clause"]) if is_inside(part, is_costly)]
    items = [item for item in query["select_list"] if is_inside(item, is_costly)]
    return all(_is_null(part, is_call, is_costly) for part in parts) and all(
        _is_harmless(item, is_call) for item in items
    )


def _is_plain(query: Node) -> bool:
    """A single SELECT, row by row, without grouping."""
    return query["type"] == "SELECT_NODE" and not (
        query["group_expressions"]
        or query["having"]
        or query["qualify"]
        or query["sample"]
        or query["cte_map"]["map"]
    )


def _has_hidden(part: object, is_call: Test, is_costly: Test) -> bool:
    """True when models are called through a macro, a view or a subquery inside *part*."""
    for node in tree.nodes(part):
        if is_costly(node) and not is_call(node):
            return True
        if node.get("class") in ("SUBQUERY", "LAMBDA") and is_inside(node, is_costly):
            return True
        if node.get("type") == "SUBQUERY" and is_inside(node, is_costly):
            return True
    return False


def _is_set(node: Node) -> bool:
    """Things that need more than their own row, or make more than one."""
    return node.get("class") == "WINDOW" or (
        tree.is_function(node)
        and (tree.function_name(node) == "unnest" or tree.function_name(node) in tree.aggregates())
    )


def _is_null(node: Node, is_call: Test, is_costly: Test) -> bool:
    """True when *node* is NULL as soon as one model call in it is."""

    def strict(part: Node) -> bool:
        return not is_inside(part, is_costly) or _is_null(part, is_call, is_costly)

    if is_call(node):
        return all(strict(argument) for argument in tree.arguments(node))
    kind = node.get("type")
    if kind in _COMPARISONS:
        return strict(node["left"]) and strict(node["right"])
    if kind == "COMPARE_BETWEEN":
        return all(strict(node[part]) for part in ("input", "lower", "upper"))
    if kind == "COMPARE_IN":
        first, *others = node["children"]
        return strict(first) and not any(is_inside(other, is_costly) for other in others)
    if kind == "OPERATOR_NOT":
        return strict(node["children"][0])
    if node.get("class") == "CAST":
        return strict(node["child"])
    if tree.is_function(node) and tree.function_name(node) in _NULL_IN_NULL_OUT:
        return all(strict(argument) for argument in tree.arguments(node))
    return False


def _is_harmless(node: Node, is_call: Test) -> bool:
    """True when nothing in *node* can raise, whatever its model calls answer."""
    if node.get("class") in ("COLUMN_REF", "CONSTANT", "PARAMETER"):
        return True
    if node.get("class") in ("CASE", "CONJUNCTION", "COMPARISON") or node.get("type") in (
        "OPERATOR_COALESCE",
        "OPERATOR_IS_NULL",
        "OPERATOR_IS_NOT_NULL",
        "OPERATOR_NOT",
    ):
        return all(_is_harmless(part, is_call) for part in tree.inner(node))
    if is_call(node) or (tree.is_function(node) and tree.function_name(node) in _NEVER_RAISE):
        return all(_is_harmless(part, is_call) for part in tree.arguments(node))
    return False
