"""Whether rows may make DuckDB raise, as it cannot be tried where an error would end something."""

from __future__ import annotations

import json
from collections.abc import Sequence

from llmsql.syntax import tree
from llmsql.syntax.conditions import Test
from llmsql.syntax.sets import Definitions
from llmsql.syntax.tree import Node

_SAFE = frozenset(
    "|| ~~ !~~ ~~* !~~* lower upper trim ltrim rtrim length concat concat_ws contains starts_with"
    " ends_with prefix suffix replace hash struct_pack list_value row range generate_series count"
    " count_star min max first last any_value list string_agg bool_and bool_or row_number rank"
    " dense_rank".split()
)
"""Functions that take what they are given, whatever it is; to others it may be an overflow."""


def may_raise(
    statement: Node, plan: Sequence[Node], is_call: Test, definitions: Definitions
) -> bool:
    """True unless no row of *statement*, of which DuckDB has *plan*, can be one that raises.

    What it casts by itself only its plan tells, which shows of a column with an alias the name.
    What a view or a macro is made of is not looked into.
    """

    def is_unsafe(node: Node) -> bool:
        if tree.is_function(node):
            return not is_call(node) and tree.function_name(node) not in _SAFE
        if node.get("type") == "BASE_TABLE":
            return bool(definitions(node["table_name"].lower()))
        if node.get("class") == "CAST":
            return not node["try_cast"] and not _is_certain(node)
        return node.get("class") == "SUBQUERY" and node.get("subquery_type") == "SCALAR"

    return any(map(is_unsafe, tree.nodes(statement))) or _casts(json.dumps(plan))


def _is_certain(cast: Node) -> bool:
    """True for a cast to a text, and for one of a constant, which DuckDB makes while it plans."""
    kind = cast.get("type_expr", {}).get("type_name") or cast.get("cast_type", {}).get("id")
    return str(kind) == "VARCHAR" or cast["child"].get("class") == "CONSTANT"


def _casts(shown: str) -> bool:
    """True where *shown* has a cast to anything but a text."""
    found = shown.count("CAST(") - shown.count("TRY_CAST(")
    return found > shown.count(" AS VARCHAR)")
