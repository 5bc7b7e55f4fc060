"""Conditions as trees: their parts, where they stand, and how new ones are put together.

A condition is what keeps rows: NULL means no in it, and DuckDB evaluates its parts one after the
other, for the rows that are left. What is rewritten, and why, is left to `guards`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmsql.syntax import tree
from llmsql.syntax.tree import Node

Test = Callable[[Node], bool]
_CLAUSES = ("where_clause", "having", "qualify")
_AND, _OR = "CONJUNCTION_AND", "CONJUNCTION_OR"


def is_inside(node: Node, test: Test) -> bool:
    """True when *test* holds for *node* or anything in it."""
    return any(test(inner) for inner in tree.nodes(node))


def has_subquery(node: Node) -> bool:
    """True when *node* is a subquery or has one."""
    return is_inside(node, lambda inner: inner.get("class") == "SUBQUERY")


def reads_columns(node: Node) -> bool:
    """True when the value of *node* depends on the row, or on how many there are."""
    return any(tree.column_references(node)) or is_inside(node, _is_of_rows)


def reads(part: Node, names: set[str]) -> bool:
    """True where *part* reads a column of one of *names*."""
    references = tree.column_references(part)
    return any(each["column_names"][-1].lower() in names for each in references)


def costly_names(root: Any, is_costly: Test) -> set[str]:
    """The aliases of what models answer, by which a condition elsewhere may read it."""
    return {
        str(item["alias"]).lower()
        for node in tree.nodes(root)
        if node.get("type") == "SELECT_NODE"
        for item in node["select_list"]
        if item.get("alias") and is_inside(item, is_costly)
    }


def filters_by_columns(root: Node, is_costly: Test) -> bool:
    """True where a condition in *root* reads what models answer as a column of an inner query."""
    names = costly_names(list(root.values()), is_costly)
    return any(reads(condition, names) for condition in filtering(root))


def _is_of_rows(node: Node) -> bool:
    is_window = node.get("class") == "WINDOW"
    return is_window or (tree.is_function(node) and tree.function_name(node) in tree.aggregates())


def conjuncts(condition: Node | None) -> list[Node]:
    """The top-level conjuncts of *condition*, nested ANDs flattened."""
    return _flat(condition, _AND)


def alternatives(condition: Node | None) -> list[Node]:
    """The top-level alternatives of *condition*, nested ORs flattened."""
    return _flat(condition, _OR)


def _flat(condition: Node | None, kind: str) -> list[Node]:
    if condition is None:
        return []
    if condition.get("type") != kind:
        return [condition]
    return [part for child in condition["children"] for part in _flat(child, kind)]


def conjunction(parts: Sequence[Node], kind: str = "AND") -> Node:
    """*parts* joined by AND or OR; a single one stands alone."""
    if len(parts) == 1:
        return parts[0]
    node = tree.expression(f"true {kind} false")
    node["children"] = list(parts)
    return node


def first_true(parts: Sequence[Node]) -> Node:
    """*parts* joined by OR, each evaluated only where none before it is true."""
    node = tree.expression("CASE WHEN c THEN true ELSE m END")
    (check,) = node["case_checks"]
    node["case_checks"] = [{**check, "when_expr": boolean(part)} for part in parts[:-1]]
    node["else_expr"] = boolean(parts[-1])
    return node


def all_true(parts: Sequence[Node]) -> Node:
    """*parts* joined by AND, each evaluated only where all before it are true."""
    nested = boolean(parts[-1])
    for part in reversed(parts[:-1]):
        node = tree.expression("CASE WHEN c THEN m ELSE false END")
        node["case_checks"] = [{"when_expr": boolean(part), "then_expr": nested}]
        nested = node
    return nested


def boolean(node: Node) -> Node:
    """*node* as a BOOLEAN: WHERE would cast a text by itself, CASE does not."""
    if node.get("class") in ("COMPARISON", "CONJUNCTION", "CASE", "BETWEEN"):
        return node
    cast = tree.expression("CAST(m AS BOOLEAN)")
    cast["child"] = node
    return cast


def standing(root: Node) -> Iterator[tuple[Node, str]]:
    """Yield each condition in *root*, as the node that has it and the key it has it under."""
    for node in tree.nodes(root):
        if node.get("type") == "SELECT_NODE":
            yield from ((node, clause) for clause in _CLAUSES if node.get(clause))
        elif node.get("type") == "JOIN" and node["condition"]:
            yield node, "condition"
        elif node.get("class") == "CASE":
            yield from ((check, "when_expr") for check in node["case_checks"])


def filtering(root: Node) -> Iterator[Node]:
    """Yield each condition in *root* that keeps rows, which one of a CASE does not."""
    for holder, clause in standing(root):
        if clause != "when_expr":
            yield holder[clause]


def is_only_where(root: Node) -> bool:
    """True when the WHERE of *root*, over a table of no query's, is the one condition in it."""
    return (
        [clause for _, clause in standing(root)] == ["where_clause"]
        and root.get("where_clause") is not None
        and root["from_table"]["type"] not in ("JOIN", "SUBQUERY")
        and not root["cte_map"]["map"]
        and not has_subquery(root)
    )


def leaves(condition: Node) -> list[Node]:
    """The parts of *condition* that are no AND and no OR."""
    if condition.get("class") != "CONJUNCTION":
        return [condition]
    return [leaf for child in condition["children"] for leaf in leaves(child)]


def connections(condition: Node) -> list[Node]:
    """The ANDs and ORs that *condition* is made of; those inside its leaves are not among them."""
    if condition.get("class") != "CONJUNCTION":
        return []
    return [condition, *(each for child in condition["children"] for each in connections(child))]
