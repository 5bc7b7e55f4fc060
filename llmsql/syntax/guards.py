"""Keep DuckDB from asking a model where a cheap predicate already says no.

DuckDB evaluates conjuncts in an order of its own, and pushes predicates under joins. CASE is the
one thing it evaluates lazily, so a model's predicate moves into the branch of a CASE whose
condition is the cheap part. The cheap part also stays outside, for pushdown and zone maps. Meaning
never changes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from llmsql.syntax import tree
from llmsql.syntax.tree import Node

Test = Callable[[Node], bool]


def guard(root: Node, is_costly: Test) -> None:
    """Rewrite, in place, every conjunction of *root* that mixes costly calls with anything else."""
    for node in list(tree.nodes(root)):
        if node.get("class") == "CONJUNCTION":
            node["children"].sort(key=_reads_columns)  # DuckDB folds the others before it filters
        if node.get("type") == "SELECT_NODE":
            _guard_select(node, is_costly)
    _guard_elsewhere(root, is_costly)


def is_inside(node: Node, test: Test) -> bool:
    """True when *test* holds for *node* or anything in it."""
    return any(test(inner) for inner in tree.nodes(node))


def conjuncts(condition: Node | None) -> list[Node]:
    """The top-level conjuncts of *condition*, nested ANDs flattened."""
    if condition is None:
        return []
    if condition.get("type") != "CONJUNCTION_AND":
        return [condition]
    return [part for child in condition["children"] for part in conjuncts(child)]


def conjunction(parts: Sequence[Node], kind: str = "AND") -> Node:
    """*parts* joined by AND or OR; a single one stands alone."""
    if len(parts) == 1:
        return parts[0]
    node = tree.expression(f"true {kind} false")
    node["children"] = list(parts)
    return node


def _guard_select(select: Node, is_costly: Test) -> None:
    _guard_having(select, is_costly)
    joins = _join_conditions(select.get("from_table"))
    if joins is not None:
        for join in _joins(select["from_table"]):
            parts = conjuncts(join["condition"])
            if parts:
                join["condition"] = conjunction(
                    _guarded(parts, (), is_costly, keeps_join_keys=True)
                )
    if select.get("where_clause"):
        cheap_joins = [c for c in joins or () if not is_inside(c, is_costly)]
        parts = _guarded(conjuncts(select["where_clause"]), cheap_joins, is_costly)
        select["where_clause"] = conjunction(parts)


def _guard_having(select: Node, is_costly: Test) -> None:
    """Put the model's part of HAVING behind the cheap part.

    One that only reads group keys is left to DuckDB, which may filter by it before grouping: we
    must not move it to WHERE, as under a collation the rows of a group differ.
    """
    parts = conjuncts(select.get("having"))
    if any(is_inside(part, is_costly) for part in parts):
        select["having"] = conjunction(_guarded(parts, (), is_costly))


def _guarded(
    parts: Sequence[Node], also: Sequence[Node], is_costly: Test, *, keeps_join_keys: bool = False
) -> list[Node]:
    """*parts* of a condition where NULL means no, the costly ones behind the cheap and *also*.

    Among the costly, those that read no column come first, then those of fewer calls, else the
    order is as written.
    """
    for part in parts:
        _guard_alternatives(part, is_costly)
    cheap = [part for part in parts if not is_inside(part, is_costly)]
    costly: list[Node] = []
    kept: list[Node] = []
    for part in parts:
        if is_inside(part, is_costly):
            leaves = _has_subquery(part) or (_is_join_key(part) and (keeps_join_keys or not also))
            (kept if leaves else costly).append(part)
    conditions = [*cheap, *also]
    if not costly or len(costly) + len(conditions) < 2:
        return list(parts)
    costly.sort(key=lambda part: (_reads_columns(part), sum(map(is_costly, tree.nodes(part)))))
    nested = _boolean(costly[-1])
    for part in reversed(costly[:-1]):
        nested = _when(_boolean(part), nested)
    if conditions:
        nested = _when(copy.deepcopy(conjunction(conditions)), nested)
    return [*cheap, *kept, nested]


def _guard_alternatives(part: Node, is_costly: Test) -> None:
    """Guard the conjunctions in an OR whose NULL means no: there it is theirs too."""
    if part.get("type") != "CONJUNCTION_OR":
        return
    for index, child in enumerate(part["children"]):
        _guard_alternatives(child, is_costly)
        if child.get("type") == "CONJUNCTION_AND" and is_inside(child, is_costly):
            part["children"][index] = conjunction(_guarded(conjuncts(child), (), is_costly))


def _guard_elsewhere(root: Node, is_costly: Test) -> None:
    """Guard ANDs and ORs where NULL must survive: in SELECT lists, under NOT, inside calls."""
    for node in list(tree.nodes(root)):
        if node.get("class") != "CONJUNCTION":
            continue
        children = node["children"]
        costly = [c for c in children if is_inside(c, is_costly) and not _has_subquery(c)]
        cheap = [c for c in children if not is_inside(c, is_costly)]
        if (
            not costly
            or len(costly) + len(cheap) != len(children)
            or not cheap
            or (node["type"] == "CONJUNCTION_AND" and _is_guard(costly))
        ):
            continue
        kind = "AND" if node["type"] == "CONJUNCTION_AND" else "OR"
        test = "c IS NOT DISTINCT FROM false" if kind == "AND" else "c"
        outcome = "false" if kind == "AND" else "true"
        lazy = tree.expression(f"CASE WHEN {test} THEN {outcome} ELSE c {kind} m END")
        condition = conjunction(cheap, kind)
        check = lazy["case_checks"][0]
        if kind == "AND":
            check["when_expr"]["left"] = _boolean(copy.deepcopy(condition))
        else:
            check["when_expr"] = _boolean(copy.deepcopy(condition))
        lazy["else_expr"]["children"] = [condition, *map(_boolean, costly)]
        _become(node, lazy)


def _is_guard(costly: Sequence[Node]) -> bool:
    return len(costly) == 1 and costly[0].get("class") == "CASE"


def _become(node: Node, other: Node) -> None:
    """Turn *node* into *other* where it stands; its alias stays."""
    alias = node.get("alias", "")
    node.clear()
    node.update(other, alias=alias)


def _when(condition: Node, outcome: Node) -> Node:
    node = tree.expression("CASE WHEN c THEN m ELSE false END")
    node["case_checks"] = [{"when_expr": condition, "then_expr": outcome}]
    return node


def _boolean(node: Node) -> Node:
    """*node* as a BOOLEAN: WHERE would cast a text by itself, CASE does not."""
    if node.get("class") in ("COMPARISON", "CONJUNCTION", "CASE", "BETWEEN"):
        return node
    cast = tree.expression("CAST(m AS BOOLEAN)")
    cast["child"] = node
    return cast


def _reads_columns(node: Node) -> bool:
    return any(tree.column_references(node))


def _has_subquery(node: Node) -> bool:
    return is_inside(node, lambda inner: inner.get("class") == "SUBQUERY")


def _is_join_key(part: Node) -> bool:
    """True for an equality whose two sides both read columns: the join may hash on it."""
    return part.get("type") == "COMPARE_EQUAL" and all(
        tree.column_references(part[side]) for side in ("left", "right")
    )


def _joins(source: Node | None) -> list[Node]:
    """The joins of a FROM clause, outermost first."""
    if not source or source.get("type") != "JOIN":
        return []
    return [source, *_joins(source["left"]), *_joins(source["right"])]


def _join_conditions(source: Node | None) -> list[Node] | None:
    """The conditions of a tree of inner joins; None for no join, or one that is not inner."""
    joins = _joins(source)
    if not joins:
        return None
    found: list[Node] = []
    for join in joins:
        if join["join_type"] != "INNER" or join["ref_type"] not in ("REGULAR", "CROSS"):
            return None
        if join["using_columns"]:
            pairs = _using_conditions(join)
            if pairs is None:
                return None
            found += pairs
        found += conjuncts(join["condition"])
    return found


def _using_conditions(join: Node) -> list[Node] | None:
    """What USING (…) says, spelled out; None where a side has no name to spell it with."""
    names = [_table_name(join[side]) for side in ("left", "right")]
    if None in names:
        return None
    found = []
    for column in join["using_columns"]:
        condition = tree.expression("a.b = c.d")
        for side, name in zip(("left", "right"), names, strict=True):
            condition[side]["column_names"] = [name, column]
        found.append(condition)
    return found


def _table_name(source: Node) -> str | None:
    if source.get("alias"):
        return str(source["alias"])
    return str(source["table_name"]) if source.get("type") == "BASE_TABLE" else None
