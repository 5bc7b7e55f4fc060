"""What the words of an ORDER BY mean: a column that the query gives, or one of those it reads.

DuckDB looks there for an alias first, and in a WHERE for a column: who moves a sort key into one
must know which is meant.
"""

from __future__ import annotations

from llmsql.syntax import sets, tree
from llmsql.syntax.conditions import Test, is_inside
from llmsql.syntax.tree import Node


def is_sorted_and_limited(query: Node) -> bool:
    """True for a SELECT that does not group, and ends in ORDER BY and LIMIT alone."""
    if query["type"] != "SELECT_NODE":
        return False
    kinds = [modifier["type"] for modifier in query["modifiers"]]
    return (
        sorted(kinds) == ["LIMIT_MODIFIER", "ORDER_MODIFIER"]
        and not any(query[part] for part in ("group_expressions", "having", "qualify", "sample"))
        and query.get("aggregate_handling") == "STANDARD_HANDLING"  # no GROUP BY ALL
    )


def orders(query: Node) -> list[Node]:
    """What *query* is sorted by: keys, each with its direction."""
    return [order for modifier in query["modifiers"] for order in modifier.get("orders", ())]


def sort_keys(query: Node) -> list[Node]:
    """The keys alone of what *query* is sorted by."""
    return [order["expression"] for order in orders(query)]


def group_keys(select: Node) -> list[Node]:
    """What *select* is grouped by, and the outputs that names and positions in it stand for."""
    items, keys = select["select_list"], list(select["group_expressions"])
    if select.get("aggregate_handling") == "FORCE_AGGREGATES":  # GROUP BY ALL
        keys = list(items)
    names = {r["column_names"][-1].lower() for key in keys for r in tree.column_references(key)}
    positions = set(map(tree.position, keys))
    return keys + [
        item
        for position, item in enumerate(items, 1)
        if position in positions or item.get("alias", "").lower() in names
    ]


class Outputs:
    """The SELECT list of one query, by the names its columns have."""

    def __init__(self, query: Node, definitions: sets.Definitions = lambda name: []) -> None:
        self._is_unmovable = sets.is_unmovable(definitions)
        self.items: list[Node] = query["select_list"]
        self._renames = any(map(_renames, tree.nodes(self.items)))
        joins = [node for node in tree.nodes(query["from_table"]) if node.get("type") == "JOIN"]
        self._merges = any(j["using_columns"] or j["ref_type"] == "NATURAL" for j in joins)

    def sorted_by(self, key: Node, is_costly: Test) -> Node | None:
        """What *key* of the ORDER BY is, over the columns that the query reads.

        None where a model decides it, it is the same for all rows, or it is not certain.
        """
        found = self._meant(key)
        if found is None or is_inside(found, is_costly) or is_inside(found, self._is_unmovable):
            return None
        asked = {alias_of(item) for item in self.items if is_inside(item, is_costly)}
        read = [each["column_names"][0].lower() for each in tree.column_references(found)]
        return {**found, "alias": ""} if read and asked.isdisjoint(read) else None

    def named_in(self, parts: list[Node]) -> list[Node]:
        """The outputs that *parts* of a WHERE may name; a column of that name they would mean."""
        names = {first_name(each) for each in tree.column_references(parts)}
        return [item for item in self.items if item.get("alias") and alias_of(item) in names]

    def named_by(self, key: Node) -> Node | None:
        """The output that *key* of the ORDER BY stands for, by its position or alias.

        Of several of one alias DuckDB takes the last.
        """
        position = tree.position(key)
        if position is not None:
            before = self.items[:position] if 0 < position <= len(self.items) else []
            is_certain = before and not any(is_inside(item, is_star) for item in before)
            return before[-1] if is_certain else None
        if key.get("class") != "COLUMN_REF" or len(key["column_names"]) > 1:
            return None
        named = (item for item in reversed(self.items) if alias_of(item) == first_name(key))
        return next(named, None)

    def reads_no_output(self, key: Node) -> bool:
        """True where all that *key* of the ORDER BY reads are columns, and no output is meant."""
        return not any(map(self._may_be_output, tree.column_references(key)))

    def _meant(self, key: Node) -> Node | None:
        is_constant = key.get("class") == "CONSTANT"
        if self._renames and not is_constant:
            return None
        named = self.named_by(key)
        if named or is_constant:
            return named
        return key if self.reads_no_output(key) else None

    def _may_be_output(self, reference: Node) -> bool:
        """True where *reference*, in a key, may be another thing than the column of that name.

        Where a join merges columns, a side's own may be among the outputs under its plain name.
        """
        is_qualified = len(reference["column_names"]) > 1
        name, is_merged = first_name(reference), self._merges and not is_qualified
        return any(
            alias_of(item) == name
            or (is_merged and is_star(item))
            or (is_merged and _last_name(item) == name)
            for item in self.items
            if is_qualified or tree.text_key(item) != tree.text_key(reference)
        )


def alias_of(item: Node) -> str:
    """The alias of *item* in lower case, empty where it has none."""
    return str(item.get("alias", "")).lower()


def first_name(reference: Node) -> str:
    """The first name of a column reference, in lower case: a column, an alias or a table."""
    return str(reference["column_names"][0]).lower()


def _last_name(item: Node) -> str:
    """The name of an output that is just a column."""
    return str(item["column_names"][-1]).lower() if item.get("class") == "COLUMN_REF" else ""


def is_star(node: Node) -> bool:
    """True for `*`, and for COLUMNS(…)."""
    return node.get("class") == "STAR"


def _renames(node: Node) -> bool:
    """True for a `*` that gives another thing under the name of a column."""
    changes = ("columns", "expr", "replace_list", "rename_list")
    return is_star(node) and any(node.get(part) for part in changes)
