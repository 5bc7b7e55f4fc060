"""From a query that calls models to the one that is run.

Puts together what `late`, `guards`, `ranks` and `shape` do. A query that needs none of it keeps its
bytes. Never needed for a right answer: where the result does not bind, the original runs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

from llmsql.syntax import guards, late, tree
from llmsql.syntax.ranks import Ranks, is_call
from llmsql.syntax.shape import Shape
from llmsql.syntax.tree import Node

ROW_NUMBER = "row_number() OVER () AS llmsql_row_number"


@dataclass(frozen=True)
class Plan:
    """How a query is run: its *text*, and what its shape allows.

    *statement* is its tree, or None where the text is the user's own, unchanged. *is_tagged* tells
    that calls carry their ranks. *limit* is the number of rows that end it, with *limited_text* to
    run until then and *where_rank* the highest rank asked for by WHERE. *sites* counts the model
    calls that stand in the text; *calls* are their texts by number, where they were asked for.
    """

    text: str
    statement: Node | None
    sites: int
    never_raises: bool
    is_tagged: bool = False
    limit: int | None = None
    limited_text: str = ""
    where_rank: int = -1
    calls: tuple[str, ...] = ()


def plan(
    sql: str,
    models: frozenset[str],
    costly: frozenset[str],
    definitions: Callable[[str], list[Node]] = lambda name: [],
    *,
    tags_all: bool = False,
) -> Plan | None:
    """Plan the query *sql*; None where it does not parse as one.

    With *tags_all* each call tells which it is, even where nothing depends on that.

    *models* are the functions that call models, *costly* those, the macros and the views that reach
    them: names in lower case. *definitions* gives the parsed bodies of a macro.
    """
    statement = tree.parse(sql)
    if statement is None:
        return None
    query = tree.body(statement)
    original = tree.text_key(statement)
    calls, costs = _tests(models, costly)
    shape = Shape(calls, costs, definitions)
    limit, never_raises = shape.limit(query), shape.never_raises(query)
    late.postpone(query, calls, costs)
    names = [_Name(select) for select in _selects(query)]
    guards.guard(query, costs)
    ranks = Ranks(query, models)
    where_rank = ranks.highest(query.get("where_clause"))
    # A LIMIT's passes must tell calls apart, also from those of WHERE that macros hide.
    is_tagged = not ranks.are_all_equal or bool(ranks and (tags_all or limit is not None))
    texts = ranks.texts() if tags_all else ()
    is_changed = is_tagged or tree.text_key(statement) != original
    if is_changed:
        for name in names:
            name.keep(costs)
    if is_tagged:
        ranks.tag(apart=query["select_list"] if limit is not None else ())
    text = tree.show(statement) if is_changed else sql
    found = Plan(
        text=text,
        statement=copy.deepcopy(statement) if is_changed else None,
        sites=len(ranks),
        never_raises=never_raises,
        is_tagged=is_tagged,
        calls=tuple(texts),
    )
    if limit is None:
        return found
    query["select_list"].append(tree.expression(ROW_NUMBER))
    return replace(found, limit=limit, limited_text=tree.show(statement), where_rank=where_rank)


def _tests(models: frozenset[str], costly: frozenset[str]) -> tuple[guards.Test, guards.Test]:
    """What tells a model's call, and what tells anything that reaches a model."""

    def calls(node: Node) -> bool:
        return is_call(node, models)

    def costs(node: Node) -> bool:
        return is_call(node, costly) or (
            node.get("type") == "BASE_TABLE" and node["table_name"].lower() in costly
        )

    return calls, costs


def _selects(query: Node) -> list[Node]:
    return [node for node in tree.nodes(query) if node.get("type") == "SELECT_NODE"]


class _Name:
    """The column names a SELECT has, to be kept when its text changes."""

    def __init__(self, select: Node) -> None:
        self.items = list(select["select_list"])
        self.names = [None if _is_named(item) else tree.own_name(item) for item in self.items]

    def keep(self, is_model: guards.Test) -> None:
        """Write the names out where a model call is about to change them."""
        for item, name in zip(self.items, self.names, strict=True):
            if name is not None and guards.is_inside(item, is_model):
                item["alias"] = name


def _is_named(item: Node) -> bool:
    return bool(item.get("alias")) or item.get("class") in ("STAR", "COLUMN_REF")
