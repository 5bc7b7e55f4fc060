"""A query in which no model's answer keeps a row out, or another call from being made.

Each call is then made for at least the rows that it will be made for. What a lambda or a subquery
asks by an answer of its own, and rows that a join keeps by one, are left as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from llmsql.syntax import conditions, hints, inlining, tree
from llmsql.syntax.conditions import Test
from llmsql.syntax.sets import Definitions
from llmsql.syntax.tree import Node

_CLAUSES = ("where_clause", "having", "qualify")


def relaxed(sql: str, is_costly: Test, definitions: Definitions) -> str | None:
    """The query *sql* with every condition on models' answers true; None where it has none.

    A column that models answer is such an answer, too, also one of a view, of which *definitions*
    gives the query.
    """
    statement = tree.parse(sql)
    if statement is None:
        return None
    hints.restore(statement, sql)
    query = tree.body(statement)
    inlining.inline(query, inlining.is_own, inlining.own)
    names = _columns(query, is_costly, definitions)

    def depends(node: Node) -> bool:
        is_column = node.get("class") == "COLUMN_REF"
        return is_costly(node) or (is_column and conditions.reads(node, names))

    cases = [(node, _asked(node, is_costly)) for node in tree.nodes(query) if _asks(node, depends)]
    selects = [node for node in tree.nodes(query) if node.get("type") == "SELECT_NODE"]
    changed = [select for select in selects if _relax(select, depends, is_costly)]
    for case, asked in cases:
        always = {"when_expr": _never(asked), "then_expr": tree.expression("NULL")}
        case["case_checks"].insert(0, always)
    return tree.show(statement) if changed or cases else None


def _columns(query: Node, is_costly: Test, definitions: Definitions) -> set[str]:
    """The names of the columns of inner queries, views and table macros that models answer."""
    names = conditions.costly_names(list(query.values()), is_costly)
    for node in tree.nodes(query):
        if is_costly(node):
            for each in definitions(str(node.get("table_name") or node["function_name"]).lower()):
                names |= conditions.costly_names(each, is_costly)
    return names


def _relax(select: Node, depends: Test, is_costly: Test) -> bool:
    """Let all conditions of *select* that depend on answers be true; True where there are any."""
    is_changed = False
    for clause in _CLAUSES:
        parts = conditions.conjuncts(select.get(clause))
        asking = [part for part in parts if conditions.is_inside(part, depends)]
        if asking:
            kept = [part for part in parts if part not in asking]
            passing = [_passing([part, *_asked(part, is_costly)]) for part in asking]
            select[clause] = conditions.conjunction([*kept, *passing])
            is_changed = True
    return is_changed


def _asks(node: Node, depends: Test) -> bool:
    """True for a CASE whose conditions depend on answers."""
    checks = node["case_checks"] if node.get("class") == "CASE" else ()
    return any(conditions.is_inside(check["when_expr"], depends) for check in checks)


def _asked(item: Any, is_costly: Test) -> list[Node]:
    """What asks models in *item*: a call, or what holds a lambda or a query that does."""
    return [copy.deepcopy(node) for node in _asking(item, is_costly)]


def _asking(item: Any, is_costly: Test) -> Iterator[Node]:
    if isinstance(item, list):
        for part in item:
            yield from _asking(part, is_costly)
    if not isinstance(item, dict):
        return
    given = tree.arguments(item) if tree.is_function(item) else []
    is_scope = item.get("class") == "SUBQUERY" or any(p.get("class") == "LAMBDA" for p in given)
    if is_scope and conditions.is_inside(item, is_costly):
        yield item
    elif not is_scope:
        if is_costly(item):
            yield item
        yield from _asking(list(item.values()), is_costly)


def _passing(asked: list[Node]) -> Node:
    """A condition that is always true, for which all *asked* is evaluated all the same."""
    return _hashed("hash() IS NOT NULL", asked)


def _never(asked: list[Node]) -> Node:
    """A condition that is never true, for which all *asked* is evaluated all the same."""
    return _hashed("hash() IS NULL", asked)


def _hashed(text: str, asked: list[Node]) -> Node:
    made = tree.expression(text)
    tree.put_first(next(node for node in tree.nodes(made) if tree.is_function(node)), asked)
    return made
