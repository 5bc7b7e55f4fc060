"""DuckDB's own parser as a library: SQL text to a tree of JSON objects, and back.

Owns the differences between DuckDB versions' trees. Trees are plain dicts; the parser runs in a
private in-memory database, so no user's connection is touched.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any

import duckdb

Node = dict[str, Any]

SCOPE = "llmsql_scope"
"""The key of a SELECT's number, which DuckDB's printer does not know and leaves out."""

BRANCH = "llmsql_branch"
"""The key of the number of the branch that a call stands in, which not every row comes to."""

UNREAD = "llmsql_unread"
"""The key of an item whose alias nothing reads."""

WRITTEN = "llmsql_written"
"""The key of an expression's text before it was rewritten."""

_PLACING = ("query_location", "query_location_length", "alias", SCOPE, BRANCH, UNREAD, WRITTEN)
_CALLED = re.compile(r"\b(\w+)\s*\(")

_LISTS = {"COMPARE_IN": "children", "COMPARE_NOT_IN": "children", "EXPRESSION_LIST": "values"}
_LONG = 64
_MOST_BYTES = 100  # of a constant
_lock = threading.Lock()


@cache
def _parser() -> Any:
    return duckdb.connect(":memory:", config={"threads": 1})


class Values(list[Any]):
    """A long list, of which only what is no constant is walked and copied: it may be thousands."""

    def __init__(self, items: list[Any]) -> None:
        super().__init__(items)
        self._at = [place for place, item in enumerate(items) if not _is_constant(item)]

    @property
    def others(self) -> list[Any]:
        """What is no constant."""
        return [self[place] for place in self._at]

    def __deepcopy__(self, memo: dict[int, Any]) -> Values:
        copied = copy.copy(self)
        for place in self._at:
            copied[place] = copy.deepcopy(self[place], memo)
        return copied

    @cached_property
    def constants(self) -> str:
        """A text that is equal for equal constants."""
        left = set(self._at)
        return json.dumps([_unplaced(e) for place, e in enumerate(self) if place not in left])


def _is_constant(item: Any) -> bool:
    if isinstance(item, list):
        return all(map(_is_constant, item))
    return isinstance(item, dict) and item.get("class") == "CONSTANT"


def _shorten(tree: Node) -> None:
    """Make the long lists of constants in *tree*, of IN and of VALUES, such as nobody walks."""
    for node in nodes(tree):
        for kind, key in _LISTS.items():  # a constant's type is an object
            if node.get("type") == kind and len(node[key]) > _LONG:
                node[key] = Values(node[key])


def parse(sql: str) -> Node | None:
    """Return the tree of one SELECT statement, or None for anything else or for broken text."""
    with _lock:
        row = _parser().execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
    tree = json.loads(row[0])
    if tree["error"] or len(tree["statements"]) != 1:
        return None
    if len(row[0]) > _LONG * _MOST_BYTES:
        _shorten(tree)
    return tree  # type: ignore[no-any-return]


def statements(sql: str) -> list[Any]:
    """The statements that *sql* is to DuckDB; none where it cannot read it.

    `duckdb.extract_statements` would ask the process's default connection, which is the user's.
    """
    with _lock:
        try:
            return list(_parser().extract_statements(sql))
        except duckdb.Error:
            return []


def count(sql: str) -> int:
    """How many statements *sql* is to DuckDB; 0 where it cannot read it."""
    return len(statements(sql))


def show(tree: Node) -> str:
    """Return the SQL text of *tree*."""
    with _lock:
        row = (
            _parser().execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(tree)]).fetchone()
        )
    return str(row[0])


@cache
def _expression_text(sql: str) -> str:
    tree = parse(f"SELECT {sql}")
    assert tree, sql
    return json.dumps(body(tree)["select_list"][0])


def expression(sql: str) -> Node:
    """Return a fresh tree of the expression *sql*, which must be our own text."""
    node: Node = json.loads(_expression_text(sql))
    return node


@cache
def aggregates() -> frozenset[str]:
    """The names of DuckDB's aggregate functions, and of its macros that are made of one."""
    found = _names("function_type = 'aggregate'")
    with _lock:
        rows = _parser().execute(
            "SELECT lower(function_name), lower(macro_definition) FROM duckdb_functions()"
            " WHERE macro_definition IS NOT NULL"
        )
        macros = rows.fetchall()
    return found | {name for name, text in macros if found & set(_CALLED.findall(text))}


@cache
def volatiles() -> frozenset[str]:
    """The names of DuckDB's functions that give another value at each call."""
    return _names("stability = 'VOLATILE'")


@cache
def scalars() -> frozenset[str]:
    """The names of DuckDB's functions of one row that say the same of the same, at any time."""
    found = _names("function_type = 'scalar' AND stability = 'CONSISTENT'")
    return found - aggregates() - {"unnest"}


@cache
def catalog_views() -> frozenset[str]:
    """The names of DuckDB's views of its catalog, those that are found without their schema."""
    with _lock:
        rows = _parser().execute(
            "SELECT view_name FROM duckdb_views() WHERE internal"
            " AND schema_name <> 'information_schema'"
        )
        return frozenset(name for (name,) in rows.fetchall())


@cache
def builtins() -> frozenset[str]:
    """The names of all of DuckDB's functions and macros."""
    return _names("true")


@cache
def reserved() -> frozenset[str]:
    """The words that cannot name a function."""
    with _lock:
        rows = _parser().execute(
            "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
        )
        return frozenset(word for (word,) in rows.fetchall())


@cache
def settings() -> frozenset[str]:
    """The names of DuckDB's settings, those of extensions that are not loaded left out."""
    with _lock:
        rows = _parser().execute("SELECT lower(name) FROM duckdb_settings()").fetchall()
        return frozenset(name for (name,) in rows)


def _names(condition: str) -> frozenset[str]:
    with _lock:
        rows = _parser().execute(
            f"SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE {condition}"
        )
        return frozenset(name for (name,) in rows.fetchall())


def condition_text(condition: Node) -> str:
    """Return the SQL text of a condition."""
    wrapper = parse("SELECT 1 WHERE true")
    assert wrapper
    body(wrapper)["where_clause"] = condition
    return show(wrapper).removeprefix("SELECT 1 WHERE ")


def own_name(item: Node) -> str:
    """The name DuckDB gives an item of a SELECT list that has no alias."""
    if item.get("class") == "COLUMN_REF":
        return str(item["column_names"][-1])
    wrapper = parse("SELECT 1")
    assert wrapper
    body(wrapper)["select_list"] = [item]
    return show(wrapper).removeprefix("SELECT ")


def note_text(item: Node) -> None:
    """Keep the text of *item*, which is to be rewritten, for those who read it."""
    item[WRITTEN] = written(item)


def written(item: Node) -> str:
    """The text of *item* as the statement has it."""
    return str(item.get(WRITTEN) or own_name({**item, "alias": ""}))


def body(tree: Node) -> Node:
    """The query node of a parsed statement."""
    node: Node = tree["statements"][0]["node"]
    return node


def nodes(tree: Any) -> Iterator[Node]:
    """Yield every object inside *tree*, *tree* itself first."""
    stack = [tree]
    while stack:
        item = stack.pop()
        kind = type(item)  # faster than isinstance, and most of what planning takes is here
        if kind is dict:
            yield item
            stack.extend(item.values())
        elif kind is list:
            stack.extend(item)
        elif kind is Values:
            stack.extend(item.others)


def is_function(node: Node) -> bool:
    """True for a call of a scalar, aggregate, table or window function."""
    return "function_name" in node


def function_name(node: Node) -> str:
    """The name of the called function, in lower case."""
    return str(node["function_name"]).lower()


def arguments(node: Node) -> list[Node]:
    """The argument expressions of a function call, in order."""
    if "arguments" in node:
        return [argument["expression"] for argument in node["arguments"]]
    return list(node.get("children", ()))


def named_arguments(node: Node) -> list[tuple[str, Node]]:
    """The arguments of a function call with their names in lower case, empty where they have none.

    DuckDB 1.5 has the name as the argument's alias.
    """
    if "arguments" in node:
        return [(each["name"].lower(), _unnamed(each["expression"])) for each in node["arguments"]]
    return [(each.get("alias", "").lower(), _unnamed(each)) for each in node["children"]]


def put_first(node: Node, given: list[Node]) -> None:
    """Put arguments before those of a function call."""
    if "children" in node:
        node["children"] = given + node["children"]
    else:  # of DuckDB 2.0, which leaves out that there are none
        named = [{"name": "", "expression": each} for each in given]
        node["arguments"] = named + node.get("arguments", [])


def set_argument(node: Node, index: int, argument: Node) -> None:
    """Replace the argument at *index* of a function call."""
    if "arguments" in node:
        node["arguments"][index]["expression"] = argument
    else:
        node["children"][index] = argument


def become(node: Node, other: Node) -> None:
    """Turn *node* into *other* where it stands; its alias stays."""
    alias = node.get("alias", "")
    node.clear()
    node.update(other, alias=alias)


def rename(node: Node, name: str) -> None:
    """Let a function call be one of *name*, in no particular schema."""
    node["function_name"] = name
    for key in ("schema", "catalog"):
        node[key] = ""
    if "qualified_name" in node:
        node["qualified_name"] = {**node["qualified_name"], "path": [name]}


def text_key(node: Node) -> str:
    """Equal for two nodes that were written the same, wherever they stand."""
    return json.dumps(_unplaced(node), sort_keys=True)


def inner(node: Node) -> list[Node]:
    """The expressions directly inside *node*."""
    found: list[Node] = []
    for value in node.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                found += [item] if "class" in item else inner(item)
    return found


def column_references(tree: Any) -> list[Node]:
    """Every column reference inside *tree*."""
    return [node for node in nodes(tree) if node.get("class") == "COLUMN_REF"]


def parameters(tree: Any) -> list[Node]:
    """The parameters inside *tree*, each once, by name."""
    found = {n["identifier"]: n for n in nodes(tree) if n.get("class") == "PARAMETER"}
    return [found[name] for name in sorted(found)]


def common_tables(tree: Any) -> Iterator[tuple[str, Node]]:
    """Yield every common table expression inside *tree*, with its name in lower case."""
    for node in nodes(tree):
        for entry in (node.get("cte_map") or {}).get("map", ()):
            yield str(entry["key"]).lower(), entry["value"]


def constant(node: Node | None) -> Any:
    """The value of a literal, or None for anything else."""
    if not node or node.get("class") != "CONSTANT":
        return None
    if "literal" in node:
        text, kind = node["literal"].get("text"), node["literal"].get("kind")
        return int(text) if kind == "INTEGER" and text.isdigit() else text
    return node["value"].get("value")


def position(key: Node) -> int | None:
    """The number by which *key*, of ORDER BY, stands for an item of the SELECT list."""
    value = constant(key)
    kind = key.get("value", {}).get("type", {}).get("id", "INTEGER")
    return value if type(value) is int and kind == "INTEGER" else None


def is_null(node: Node | None) -> bool:
    """True for the literal NULL."""
    if not node or node.get("class") != "CONSTANT":
        return False
    if "literal" in node:
        return bool(node["literal"].get("kind") == "NULL_LITERAL")
    return bool(node["value"].get("is_null"))


def _unnamed(expression: Node) -> Node:
    return {**expression, "alias": ""}


def _unplaced(item: Any) -> Any:
    if isinstance(item, dict):
        return {key: _unplaced(value) for key, value in item.items() if key not in _PLACING}
    if type(item) is Values:
        return [item.constants, *(_unplaced(value) for value in item.others)]
    if isinstance(item, list):
        return [_unplaced(value) for value in item]
    return item
