"""How far a statement reaches: to models, through views and macros, and to what is readable once.

A pass over a statement may be repeated only if every read in it is repeatable. That is decided from
parse trees and the catalog, never by trying.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from llmsql.syntax import tree
from llmsql.syntax.conditions import is_inside
from llmsql.syntax.inlining import Macro
from llmsql.syntax.ranks import is_call
from llmsql.syntax.tree import Node
from llmsql.syntax.words import words

QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
FILE_READERS = frozenset(
    {"read_csv", "read_csv_auto", "read_parquet", "parquet_scan", "read_json", "read_json_auto",
     "read_ndjson", "read_ndjson_auto", "read_json_objects", "read_text", "read_blob"}
)  # fmt: skip
PURE_TABLES = frozenset(
    {"range", "generate_series", "unnest", "repeat", "json_each", "json_tree"}
)  # fmt: skip
ORDER_FREE = frozenset(
    {"count", "count_star", "count_if", "min", "max", "bool_and", "bool_or", "bit_and", "bit_or",
     "bit_xor", "approx_count_distinct"}
)  # fmt: skip
"""Aggregates that give the same value whatever order the rows come in."""

_READS = re.compile(
    r"\b(from|join|table|using|copy|summarize|desc|describe|show|pivot\w*|unpivot)\b", re.IGNORECASE
)
"""Words that a table may stand behind."""

_CALLED = re.compile(r"\b(\w+)\s*\(")


@dataclass(frozen=True)
class Reach:
    """What a statement calls and reads; *costly* names functions and views that reach models."""

    costly: frozenset[str]
    sites: int
    obstacle: str | None

    @property
    def is_repeatable(self) -> bool:
        return self.obstacle is None


class Defined(NamedTuple):
    """One body of a macro, of a scalar one or a table's."""

    text: str
    kind: str
    parameters: list[str]
    types: list[str | None]


class Catalog:
    """The user's views and macros, as far as a statement may need them.

    *signatures* are those of macros whose defaults are known, which DuckDB does not tell.
    """

    def __init__(
        self, con: Any, sql: str, models: frozenset[str], signatures: Mapping[str, str]
    ) -> None:
        self.models = models
        self.signatures = signatures
        self.views: dict[str, str] = {}
        self.macros: dict[str, list[Defined]] = {}
        if _READS.search(sql):
            rows = con.execute(
                "SELECT lower(view_name), sql FROM duckdb_views() WHERE NOT internal"
            )
            self.views = dict(rows.fetchall())
        called = self._called(sql) - models - tree.builtins() - _NOT_FUNCTIONS
        if called:  # listing functions takes DuckDB milliseconds
            rows = con.execute(
                "SELECT lower(function_name), macro_definition, function_type, parameters,"
                " parameter_types FROM duckdb_functions()"
                " WHERE NOT internal AND macro_definition IS NOT NULL"
            )
            for name, *found in rows.fetchall():
                if name not in models:
                    self.macros.setdefault(name, []).append(Defined(*found))

    def _called(self, sql: str) -> set[str]:
        """The names of functions in *sql*, and in the views it reads."""
        texts = [sql]
        seen: set[str] = set()
        called: set[str] = set()
        while texts:
            text = texts.pop().lower()
            called.update(_CALLED.findall(text))
            read = (self.views.keys() & set(re.findall(r"\w+", text))) - seen
            seen |= read
            texts += [self.views[name] for name in read]
        return called

    def trees(self, name: str) -> list[Node]:
        """The parsed definitions of the view or macro *name*; empty when it is neither."""
        texts = [_query_of_view(self.views[name])] if name in self.views else []
        texts += [defined.text for defined in self.macros.get(name, ())]
        return [parsed for text in texts if (parsed := _definition(text))]

    def macro(self, name: str) -> Macro | None:
        """The scalar macro *name*, where it has one body, whose parameters take any type."""
        found = self.macros.get(name, ())
        if len(found) != 1 or found[0].kind != "macro" or any(found[0].types):
            return None
        definition = _definition(found[0].text)
        if definition is None:
            return None
        parameters = tuple(map(str.lower, found[0].parameters))
        (body,) = tree.body(definition)["select_list"]
        return Macro(body, parameters, _defaults(self.signatures.get(name), parameters))

    def reaches_models(self, names: Iterable[str]) -> bool:
        """True when one of *names* is a view or macro that reaches a model."""
        explorer = _Explorer(self, frozenset(), {})
        known = self.views.keys() | self.macros.keys()
        found = [explorer.follow(name) for name in known & set(names)]
        return any(found)


_NOT_FUNCTIONS = frozenset(
    [
        "in",
        "values",
        "as",
        "over",
        "using",
        "exists",
        "filter",
        "and",
        "or",
        "not",
        "by",
        "on",
        "select",
        "from",
    ]
)


def explore(
    statement: Node, catalog: Catalog, once: Iterable[str], variables: dict[str, Any] | None = None
) -> Reach:
    """Follow *statement* through *catalog*; *once* names tables that can be read a single time."""
    explorer = _Explorer(catalog, frozenset(once), variables or {})
    explorer.visit(statement)
    return Reach(frozenset(explorer.costly) | catalog.models, explorer.sites, explorer.obstacle)


class _Explorer:
    """One walk; every definition is visited once."""

    def __init__(self, catalog: Catalog, once: frozenset[str], variables: dict[str, Any]) -> None:
        self.catalog = catalog
        self.once = once
        self.variables = variables
        self.costly: set[str] = set()
        self.sites = 0
        self.obstacle: str | None = None
        self._seen: dict[str, bool] = {}

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
                reaches |= self.follow(str(node["table_name"]).lower())
        if reaches:
            self._check_prompts(root)
        return reaches

    def follow(self, name: str) -> bool:
        """True when the view or macro *name* reaches a model."""
        if name not in self._seen:
            self._seen[name] = False  # a definition that reaches itself ends here
            found = [self.visit(definition) for definition in self.catalog.trees(name)]
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
            self._check_table(str(node["table_name"]))
        elif tree.is_function(node) and tree.function_name(node) in tree.volatiles() - {"error"}:
            self.obstacle = f"{tree.function_name(node)}() is volatile"

    def _check_table(self, name: str) -> None:
        if name.lower() in self.once or _is_single_pass(self.variables.get(name)):
            self.obstacle = f'"{name}" can be read only once'
        elif re.search(r"[./\\]", name) and not _are_regular_files(name):
            self.obstacle = f'"{name}" is no regular file'

    def _check_table_function(self, function: Node) -> None:
        name = tree.function_name(function)
        if name in FILE_READERS:
            paths = [tree.constant(argument) for argument in tree.arguments(function)[:1]]
            if not all(isinstance(path, str) and _are_regular_files(path) for path in paths):
                self.obstacle = f"{name}() may read something other than a regular file"
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


def _is_single_pass(value: Any) -> bool:
    """True for a Python object that DuckDB can scan, but perhaps not twice."""
    kind = type(value)
    if kind.__name__ == "DuckDBPyRelation":
        return True
    if not hasattr(value, "__arrow_c_stream__") and kind.__name__ not in ("Scanner", "LazyFrame"):
        return False
    return kind.__name__ not in ("Table", "RecordBatch", "DataFrame", "Dataset", "LazyFrame")


def _are_regular_files(path: str) -> bool:
    """True when *path*, perhaps with wildcards, names regular files, or something remote."""
    if re.match(r"\w+://", path) and not path.startswith("file://"):
        return True
    local = path.removeprefix("file://")
    found = glob.glob(local, recursive=True) if glob.has_magic(local) else [local]
    return all(os.path.exists(name) and stat.S_ISREG(os.stat(name).st_mode) for name in found)


def _query_of_view(sql: str) -> str:
    """The query in the text of CREATE VIEW."""
    for word in words(sql):
        if word.text == "AS" and word.depth == 0:
            return sql[word.end :].rstrip().rstrip(";")
    return sql


@lru_cache(maxsize=512)
def _defaults(signature: str | None, parameters: tuple[str, ...]) -> dict[str, Node]:
    """The defaults in *signature*, where it is the one of a macro with these *parameters*."""
    parsed = tree.parse(f"SELECT {signature}") if signature else None
    if parsed is None:
        return {}
    given = tree.named_arguments(tree.body(parsed)["select_list"][0])
    names = tuple(name or value["column_names"][0].lower() for name, value in given)
    return {name: value for name, value in given if name} if names == parameters else {}


@lru_cache(maxsize=512)
def _definition(text: str) -> Node | None:
    """Parse a view's query or a macro's body, which may be an expression."""
    return tree.parse(text) or tree.parse(f"SELECT {text}")
