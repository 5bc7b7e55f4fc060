"""How far a statement reaches: to models, through views and macros, and to what is readable once.

A pass over a statement may be repeated only if every read in it is repeatable. That is decided from
parse trees and the catalog, never by trying.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llmsql.runtime.definitions import ViewsAndMacros
from llmsql.syntax import tree
from llmsql.syntax.conditions import is_inside
from llmsql.syntax.ranks import is_call
from llmsql.syntax.tree import Node

QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
FILE_READERS = frozenset(
    {"read_csv", "read_csv_auto", "read_parquet", "parquet_scan", "read_json", "read_json_auto",
     "read_ndjson", "read_ndjson_auto", "read_json_objects", "read_text", "read_blob"}
)  # fmt: skip
PURE_TABLES = frozenset(
    {"range", "generate_series", "unnest", "repeat", "json_each", "json_tree"}
)  # fmt: skip
CATALOGS = ("information_schema", "pg_catalog")
PYTHON_SCANS = frozenset({"python_arrow_scan", "pandas_scan", "arrow_scan"})
ORDER_FREE = frozenset(
    {"count", "count_star", "count_if", "min", "max", "bool_and", "bool_or", "bit_and", "bit_or",
     "bit_xor", "approx_count_distinct"}
)  # fmt: skip
"""Aggregates that give the same value whatever order the rows come in."""


@dataclass(frozen=True)
class Reach:
    """What a statement calls and reads; *costly* names functions and views that reach models.

    *tables* are the names of all that stands where a table may, also in views and macros.
    """

    costly: frozenset[str]
    tables: frozenset[str]
    sites: int
    obstacle: str | None

    @property
    def is_repeatable(self) -> bool:
        return self.obstacle is None


def explore(
    statement: Node,
    catalog: ViewsAndMacros,
    registered: Mapping[str, bool],
    variables: dict[str, Any],
) -> Reach:
    """Follow *statement* through *catalog*.

    *registered* names tables that are Python's objects, and says which can be read a single time.
    """
    explorer = _Explorer(catalog, registered, variables)
    explorer.visit(statement)
    costly = frozenset(explorer.costly) | catalog.models
    return Reach(costly, frozenset(explorer.tables), explorer.sites, explorer.obstacle)


def reaches_models(catalog: ViewsAndMacros, names: Iterable[str]) -> bool:
    """True when one of *names* is a view or macro that reaches a model."""
    explorer = _Explorer(catalog, {}, {})
    known = catalog.views.keys() | catalog.macros.keys()
    found = [explorer.follow(name) for name in known & set(names)]
    return any(found)


class _Explorer:
    """One walk; every definition is visited once."""

    def __init__(
        self, catalog: ViewsAndMacros, registered: Mapping[str, bool], variables: dict[str, Any]
    ) -> None:
        self.catalog = catalog
        self.registered = registered
        self.variables = variables
        self.costly: set[str] = set()
        self.tables: set[str] = set()
        self.sites = 0
        self.obstacle: str | None = None
        self._seen: dict[str, bool] = {}
        self._inside = ""  # the view or macro that is being looked into

    def visit(self, root: Node) -> bool:
        """Look at everything in *root*; True when it reaches a model."""
        reaches = False
        for node in tree.nodes(root):
            self._check(node)
            if is_call(node, self.catalog.models):
                self.sites += 1
                reaches = True
            elif tree.is_function(node):
                reaches |= self.follow(tree.function_name(node))
            elif node.get("type") == "BASE_TABLE":
                name = str(node["table_name"]).lower()
                self.tables.add(name)
                reaches |= self.follow(name)
        if reaches:
            self._check_prompts(root)
        return reaches

    def follow(self, name: str) -> bool:
        """True when the view or macro *name* reaches a model."""
        if name not in self._seen:
            self._seen[name] = False  # a definition that reaches itself ends here
            outside, self._inside = self._inside, name
            found = [self.visit(definition) for definition in self.catalog.trees(name)]
            self._inside = outside
            self._seen[name] = any(found)
            if self._seen[name]:
                self.costly.add(name)
        return self._seen[name]

    def _check(self, node: Node) -> None:
        kind = node.get("type", "")
        if not isinstance(kind, str):  # the type of a constant
            return
        if kind.endswith("_NODE") and kind not in QUERY_NODES:
            self.obstacle = f"it contains {kind.removesuffix('_NODE').lower()}"
        elif node.get("sample"):
            self.obstacle = "it samples"
        elif kind == "TABLE_FUNCTION":
            self._check_table_function(node["function"])
        elif kind in ("SHOW_REF", "PIVOT", "DELIM_GET"):
            self.obstacle = f"it contains {kind}"
        elif kind == "BASE_TABLE":
            self._check_table(str(node["table_name"]), str(node["schema_name"]))
        elif tree.is_function(node) and self._is_volatile(tree.function_name(node)):
            self.obstacle = f"{tree.function_name(node)}() is volatile"

    def _is_volatile(self, name: str) -> bool:
        return name in self.catalog.volatiles or name in tree.volatiles() - {"error"}

    def _check_table(self, name: str, schema: str) -> None:
        if schema.lower() in CATALOGS or name.lower() in tree.catalog_views():
            self.obstacle = f"{name} lists what is there, a pass's own table too"
        elif self.registered.get(name.lower()) or is_single_pass(self.variables.get(name)):
            self.obstacle = f'"{name}" can be read only once'
        elif re.search(r"[./\\]", name) and not _are_regular_files(name):
            self.obstacle = f'"{name}" is no regular file'

    def _check_table_function(self, function: Node) -> None:
        name = tree.function_name(function)
        self.tables.add(name)
        if name in FILE_READERS:
            paths = [tree.constant(argument) for argument in tree.arguments(function)[:1]]
            if not all(isinstance(path, str) and _are_regular_files(path) for path in paths):
                self.obstacle = f"{name}() may read something other than a regular file"
        elif name in PYTHON_SCANS and self.registered.get(self._inside) is False:
            return  # an object that is there as a whole, by the name that DuckDB 2.0 gives it
        elif name not in PURE_TABLES and not self.catalog.trees(name):
            self.obstacle = f"{name}() may not be repeatable"

    def _check_prompts(self, root: Node) -> None:
        """Passes would differ if an unordered aggregate over a parallel scan fed a prompt."""

        def is_unordered(node: Node) -> bool:
            return (
                tree.is_function(node)
                and tree.function_name(node) in tree.aggregates() - ORDER_FREE
                and node.get("class") == "FUNCTION"
                and not (node.get("order_bys") or {}).get("orders")
                and not is_inside(node, lambda inner: is_call(inner, self.catalog.models))
            )

        selects = [n for n in tree.nodes(root) if n.get("type") == "SELECT_NODE"]
        calls = [n for n in tree.nodes(root) if is_call(n, self.catalog.models)]
        feeds = any(is_inside(a, is_unordered) for call in calls for a in tree.arguments(call))
        inner = selects[1:]
        if feeds or any(is_inside(select, is_unordered) for select in inner):
            self.obstacle = "an unordered aggregate may feed a prompt"


def is_single_pass(value: Any) -> bool:
    """True for a Python object that DuckDB can scan, but perhaps not twice."""
    kind = type(value)
    if kind.__name__ == "DuckDBPyRelation":
        return True
    if not hasattr(value, "__arrow_c_stream__") and kind.__name__ != "Scanner":
        return False
    return kind.__name__ not in ("Table", "RecordBatch", "DataFrame", "Dataset", "LazyFrame")


def _are_regular_files(path: str) -> bool:
    """True when *path*, perhaps with wildcards, names regular files, or something remote."""
    if re.match(r"\w+://", path) and not path.startswith("file://"):
        return True
    return all(map(os.path.isfile, files(path)))


def files(path: str) -> list[str]:
    """The files of this machine that *path* names, perhaps with wildcards; one may not be there."""
    local = path.removeprefix("file://")
    return glob.glob(local, recursive=True) if glob.has_magic(local) else [local]
