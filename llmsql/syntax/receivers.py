"""`text.chat()`: what stands before a function's name may be its first argument.

To the parser it is a schema, and DuckDB looks for one of that name first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from llmsql.syntax import tree
from llmsql.syntax.headings import Headings
from llmsql.syntax.tree import Node

_SCHEMAS = frozenset({"main", "temp", "system", "information_schema", "pg_catalog"})


def spell_out(statement: Node, schemas: Callable[[], Collection[str]]) -> bool:
    """Make arguments of receivers, in place; True where there were any.

    *schemas* gives the names of schemas and databases.
    """
    if not any(map(_is_qualified, tree.nodes(statement))):
        return False
    known = {name.lower() for name in schemas()}

    def has_receiver(node: Node) -> bool:
        return _is_qualified(node) and _path(node)[0].lower() not in known

    found = list(filter(has_receiver, tree.nodes(statement)))
    Headings(tree.body(statement), has_receiver).write_out()
    for node in found:
        receiver = tree.expression("receiver")
        receiver["column_names"] = _path(node)
        tree.rename(node, node["function_name"])
        tree.put_first(node, [receiver])
    return bool(found)


def _is_qualified(node: Node) -> bool:
    return tree.is_function(node) and bool(_path(node)) and _path(node)[0].lower() not in _SCHEMAS


def _path(node: Node) -> list[str]:
    """What stands before the name of the function."""
    if qualified := node.get("qualified_name"):
        return list(qualified["path"][:-1])
    return [node[part] for part in ("catalog", "schema") if node.get(part)]
