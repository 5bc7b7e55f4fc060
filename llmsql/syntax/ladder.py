"""Ask models about rows in the order of ORDER BY, some at a time, until a LIMIT has its rows.

A *rung* is the sort keys of one row. The query below a rung has one more cheap condition: that a
row sorts up to there. All other rows come behind, so that it is answered as soon as it gives as
many rows as its LIMIT says. Which rungs there are, a query without models tells; who climbs them is
not decided here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llmsql.syntax import conditions, sets, tree
from llmsql.syntax.conditions import Test, is_inside
from llmsql.syntax.inlining import substitute
from llmsql.syntax.outputs import Outputs, is_sorted_and_limited
from llmsql.syntax.tree import Node

VARIABLE = "llmsql_rung_"
"""Of a session, with a number: what a row's key of that number is compared with."""

KEY = "llmsql_key_"
PLACE, ROWS, OFFSET = "llmsql_place", "llmsql_rows", "llmsql_offset"

FIRST, MOST = 32, 65_536
"""How many rows sort up to the lowest rung and to the highest; each has twice those of the last."""


@dataclass(frozen=True)
class Key:
    """What rows are sorted by: an expression over the query's FROM, and its direction."""

    expression: Node = field(repr=False)
    is_descending: bool = False
    is_nulls_first: bool = False


def rowid() -> Key:
    """What tells apart a table's rows that sort alike, in the order in which DuckDB reads them."""
    return Key(tree.expression("rowid"))


@dataclass(frozen=True)
class Ladder:
    """A query that sorts and limits, by *keys* that no model decides.

    *is_whole* tells that rows with equal keys may come in any order, *is_harmless* that no key can
    raise.
    """

    statement: Node
    keys: tuple[Key, ...]
    is_whole: bool
    is_costly: Test
    is_harmless: bool = False

    @property
    def table(self) -> str | None:
        """The one table that the query reads, if it is that simple."""
        query = tree.body(self.statement)
        source, has_others = query["from_table"], bool(query["cte_map"]["map"])
        return None if has_others or source["type"] != "BASE_TABLE" else str(source["table_name"])

    @property
    def columns(self) -> set[str]:
        """All that conditions and keys read, in lower case."""
        where = tree.body(self.statement)["where_clause"]
        found = tree.column_references([self._sorted(self.keys), where])
        return {".".join(reference["column_names"]).lower() for reference in found}

    def rungs(self, keys: Sequence[Key]) -> str:
        """The query that gives the rungs of *keys*: places, what the LIMIT says, and the keys."""
        names = ", ".join((PLACE, ROWS, OFFSET, *(f"{KEY}{n}" for n in range(len(keys)))))
        places = ", ".join(str(FIRST << step) for step in range((MOST // FIRST).bit_length()))
        return (
            f"SELECT {names} FROM (SELECT row_number() OVER () AS {PLACE}, * FROM"
            f" ({tree.show(self._sorted(keys))})) WHERE {PLACE} IN ({places})"
        )

    @property
    def computes(self) -> bool:
        """True where the SELECT list asks models, too, which only the rows wanted should be."""
        items = tree.body(self.statement)["select_list"]
        return any(is_inside(item, self.is_costly) for item in items)

    def chosen_below(self, keys: Sequence[Key]) -> str:
        """As `below`, for only the keys of its rows, which must be all that they are sorted by."""
        statement = self._below(keys)
        query = tree.body(statement)
        items = Outputs(query).named_in([query["where_clause"]])
        query["select_list"] = [
            *_named(keys),
            *(item for item in items if not is_inside(item, self.is_costly)),
        ]
        _order(query)["orders"] = [_sorted_by(key) for key in keys]
        return tree.show(statement)

    def _sorted(self, keys: Sequence[Key]) -> Node:
        """The statement with only *keys* computed and without models, up to the highest rung."""
        statement = copy.deepcopy(self.statement)
        query = tree.body(statement)
        order, limit, cheap = _order(query), _limit(query), self._cheap(query)
        items = Outputs(query).named_in([*cheap, *(key.expression for key in keys)])
        query["select_list"] = [
            _as(_number(limit["limit"]), ROWS),
            _as(_number(limit["offset"]), OFFSET),
            *_named(keys),
            *(item for item in items if not is_inside(item, self.is_costly)),
        ]
        query["where_clause"] = conditions.conjunction(cheap) if cheap else None
        order["orders"] = [_sorted_by(key) for key in keys]
        limit.update(limit=tree.expression(str(MOST)), offset=None)
        return statement

    def below(self, keys: Sequence[Key]) -> str:
        """The query with only the rows whose *keys* sort up to a rung's, which are in variables."""
        return tree.show(self._below(keys))

    def _below(self, keys: Sequence[Key]) -> Node:
        statement = copy.deepcopy(self.statement)
        query = tree.body(statement)
        parts = [*conditions.conjuncts(query["where_clause"]), *_up_to(keys)]
        query["where_clause"] = conditions.conjunction(parts)
        return statement

    def _cheap(self, query: Node) -> list[Node]:
        """The conditions without models, and one on each parameter: all of them must be there."""
        parts = conditions.conjuncts(query["where_clause"])
        cheap = [part for part in parts if not is_inside(part, self.is_costly)]
        return cheap + [*map(_using, tree.parameters(self.statement))]


def read(
    statement: Node,
    is_costly: Test,
    definitions: sets.Definitions,
    sorting: Callable[[], tuple[str, str]],
) -> Ladder | None:
    """The ladder of a parsed query; None where models decide what it sorts, or nothing limits it.

    It must be a single SELECT that works row by row, with models in conjuncts of its WHERE.
    *sorting* gives DuckDB's settings `default_order` and `default_null_order`.
    """
    query = tree.body(statement)
    if not _fits(query, is_costly, definitions):
        return None
    outputs, orders = Outputs(query, definitions), _order(query)["orders"]
    keys: list[Key] = []
    for order in orders:
        expression = outputs.sorted_by(order["expression"], is_costly)
        if expression is None:
            break
        keys.append(_key(expression, order, *sorting()))
    if not keys:
        return None
    return Ladder(copy.deepcopy(statement), tuple(keys), len(keys) == len(orders), is_costly)


def without_rungs(statement: Node) -> Node:
    """*statement* as it would be with the rows above a rung, too."""
    whole = copy.deepcopy(statement)
    for select in (node for node in tree.nodes(whole) if node.get("type") == "SELECT_NODE"):
        parts = conditions.conjuncts(select["where_clause"])
        kept = [part for part in parts if not is_inside(part, _is_rung)]
        if len(kept) < len(parts):
            select["where_clause"] = conditions.conjunction(kept)
    return whole


def _is_rung(node: Node) -> bool:
    return str(tree.constant(node)).startswith(VARIABLE)


def _fits(query: Node, is_costly: Test, definitions: sets.Definitions) -> bool:
    if not is_sorted_and_limited(query) or not _is_counted(_limit(query)):
        return False
    costly = [p for p in conditions.conjuncts(query["where_clause"]) if is_inside(p, is_costly)]
    items, is_of_set = query["select_list"], sets.is_of_set(definitions)
    return (
        bool(costly)
        and not any(map(conditions.has_subquery, (*costly, *items)))
        and not any(is_inside(query[part], is_costly) for part in ("from_table", "cte_map"))
        and not any(is_inside(item, is_of_set) for item in items)
    )


def _is_counted(limit: Node) -> bool:
    """True for numbers of rows as they are written, and for parameters."""
    is_of_rows = limit.get("limit_type", "ROW_COUNT") == "ROW_COUNT"
    return is_of_rows and all(
        isinstance(tree.constant(number), int) or number.get("class") == "PARAMETER"
        for number in (limit["limit"], limit["offset"])
        if number
    )


def _order(query: Node) -> Node:
    return next(m for m in query["modifiers"] if m["type"] == "ORDER_MODIFIER")


def _limit(query: Node) -> Node:
    return next(m for m in query["modifiers"] if m["type"] == "LIMIT_MODIFIER")


def _key(expression: Node, order: Node, default: str, default_nulls: str) -> Key:
    direction, nulls = order["type"], order["null_order"]
    direction = default if direction == "ORDER_DEFAULT" else direction
    is_descending = direction.startswith("DESC")  # the setting may be DESC and DESCENDING
    if nulls == "ORDER_DEFAULT":
        nulls = default_nulls.upper().replace("_", " ")
        if " ON " in nulls:  # NULLS FIRST ON ASC LAST ON DESC, or the other way round
            is_first = nulls.startswith("NULLS FIRST") is not is_descending
            nulls = "NULLS FIRST" if is_first else "NULLS LAST"
    return Key(expression, is_descending, nulls == "NULLS FIRST")


def _sorted_by(key: Key) -> Node:
    return {
        "type": "DESCENDING" if key.is_descending else "ASCENDING",
        "null_order": "NULLS FIRST" if key.is_nulls_first else "NULLS LAST",
        "expression": copy.deepcopy(key.expression),
    }


def _using(parameter: Node) -> Node:
    """A condition that is always true, and reads *parameter*."""
    made = copy.deepcopy(tree.expression("hash(p) IS NOT NULL"))
    substitute(made, {"p": parameter})
    return made


def _named(keys: Sequence[Key]) -> list[Node]:
    return [_as(key.expression, f"{KEY}{number}") for number, key in enumerate(keys)]


def _as(expression: Node, alias: str) -> Node:
    return {**copy.deepcopy(expression), "alias": alias}


def _number(node: Node | None) -> Node:
    """What a LIMIT or an OFFSET says, as a number."""
    made = tree.expression("CAST(0 AS BIGINT)")
    made["child"] = copy.deepcopy(node) if node else made["child"]
    return made


def _up_to(keys: Sequence[Key]) -> list[Node]:
    """The conditions that a row sorts up to the rung; the first of them DuckDB's zones know."""
    parts = [_compared(keys[0], 0).up_to]
    if len(keys) > 1:
        parts.append(f"{_compared(keys[0], 0).before} OR {_tied(keys, 1)}")
    given = {f"{KEY}{number}": key.expression for number, key in enumerate(keys)}
    made = [copy.deepcopy(tree.expression(part)) for part in parts]
    substitute(made, given)
    return made


def _tied(keys: Sequence[Key], number: int) -> str:
    """That a row as good as the rung by the keys before sorts up to it by this one and the rest."""
    compared = _compared(keys[number], number)
    if number == len(keys) - 1:
        return compared.up_to
    rest = f"({compared.before} OR {_tied(keys, number + 1)})"
    return f"({compared.up_to} AND {rest})"


@dataclass(frozen=True)
class _Compared:
    """A key beside the rung's: sorted before it, and up to it. Neither is true by a NULL alone."""

    before: str
    up_to: str


def _compared(key: Key, number: int) -> _Compared:
    one, other = f"{KEY}{number}", f"getvariable('{VARIABLE}{number}')"
    sign = ">" if key.is_descending else "<"
    if key.is_nulls_first:
        before = f"({one} {sign} {other} OR ({one} IS NULL AND {other} IS NOT NULL))"
        return _Compared(before, f"({one} IS NULL OR {one} {sign}= {other})")
    before = f"({one} {sign} {other} OR ({other} IS NULL AND {one} IS NOT NULL))"
    return _Compared(before, f"({one} {sign}= {other} OR {other} IS NULL)")
