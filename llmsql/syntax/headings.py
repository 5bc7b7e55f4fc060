"""The column names of a SELECT, which DuckDB makes from the text of its items: to be kept."""

from __future__ import annotations

from llmsql.syntax import tree
from llmsql.syntax.conditions import Test, is_inside
from llmsql.syntax.tree import Node


class Headings:
    """The names that columns of *root* have as it is written, those of *changing* items.

    With *is_inner* only those of queries inside *root*, whose names others may use.
    """

    def __init__(self, root: Node, changing: Test, *, is_inner: bool = False) -> None:
        selects = [node for node in tree.nodes(root) if node.get("type") == "SELECT_NODE"]
        selects = [select for select in selects if not is_inner or select is not root]
        items = [item for select in selects for item in select["select_list"]]
        self._names = [
            (item, tree.own_name(item))
            for item in items
            if not _is_named(item) and is_inside(item, changing)
        ]

    def write_out(self) -> None:
        """Make aliases of the names."""
        for item, name in self._names:
            item["alias"] = name


def _is_named(item: Node) -> bool:
    return bool(item.get("alias")) or item.get("class") in ("STAR", "COLUMN_REF")
