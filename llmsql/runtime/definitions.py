"""What a statement's views, generated columns and macros are made of, as far as it may need them.

Read off DuckDB's catalog. Defaults of a macro's parameters are not in it, nor is on DuckDB 1.5 the
query of a view that a relation made; macros that have a name of DuckDB's own are not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from llmsql.runtime import lookup
from llmsql.syntax import script, tree
from llmsql.syntax.inlining import Macro
from llmsql.syntax.tree import Node
from llmsql.syntax.words import words

_CALLED = re.compile(r'(\b\w+|"[^"]+")\s*\(')
_QUOTED = re.compile(r'"([^"]+)"')
_READS = re.compile(
    r"\b(from|join|table|using|copy|summarize|desc|describe|show|pivot\w*|unpivot)\b", re.IGNORECASE
)
"""Words that a table may stand behind."""

_VIEWS = "SELECT lower(view_name), sql FROM duckdb_views() WHERE NOT internal"
_HAS_GENERATED = "SELECT 1 FROM duckdb_tables() WHERE contains(sql, ' GENERATED ') LIMIT 1"
_GENERATED = """
SELECT lower(table_name), 'SELECT ' || string_agg(
    column_default || ' AS "' || replace(column_name, '"', '""') || '"', ', '
) FROM duckdb_columns()
WHERE table_oid IN (SELECT table_oid FROM duckdb_tables() WHERE contains(sql, ' GENERATED '))
GROUP BY database_oid, table_oid, table_name
"""
"""Tables with generated columns, as queries of these and of the others' defaults."""


class Defined(NamedTuple):
    """One body of a macro, of a scalar one or a table's."""

    text: str
    kind: str
    parameters: list[str]
    types: list[str | None]


class ViewsAndMacros:
    """The user's views and macros, as far as a statement may need them.

    *volatiles* are functions of his that give another value each time.
    *signatures* are those of macros whose defaults are known, which DuckDB does not tell.
    """

    def __init__(
        self, con: Any, sql: str, models: frozenset[str], signatures: Mapping[str, str]
    ) -> None:
        self.models = models
        self.signatures = signatures
        self.views: dict[str, list[str]] = {}
        self.macros: dict[str, list[Defined]] = {}
        self.volatiles: set[str] = set()
        if _READS.search(sql):
            self._load_views(con)
        called = self._called(sql) - models - tree.builtins() - _NOT_FUNCTIONS
        if called and lookup.may_have(con, called):
            rows = con.execute(
                "SELECT lower(function_name), macro_definition, function_type, parameters,"
                " parameter_types FROM duckdb_functions()"
                " WHERE (NOT internal AND macro_definition IS NOT NULL) OR stability = 'VOLATILE'"
            )
            for name, text, *found in rows.fetchall():
                if text is None:
                    self.volatiles |= {name} - tree.builtins()
                elif name not in models:
                    self.macros.setdefault(name, []).append(Defined(text, *found))
        bodies = (each.text for found in self.macros.values() for each in found)
        if not self.views and any(map(_READS.search, bodies)):
            self._load_views(con)

    def _load_views(self, con: Any) -> None:
        """Load all views: of one name there may be several, in other schemas and databases."""
        rows = con.execute(_VIEWS).fetchall()
        if con.execute(_HAS_GENERATED).fetchone():  # hardly ever, and told sooner
            rows += con.execute(_GENERATED).fetchall()
        for name, text in rows:
            self.views.setdefault(name, []).append(text)

    def _called(self, sql: str) -> set[str]:
        """The names of functions in *sql*, and in the views it reads."""
        texts = [sql]
        seen: set[str] = set()
        called: set[str] = set()
        while texts:
            text = script.without_comments(texts.pop()).lower()
            called.update(name.strip('"') for name in _CALLED.findall(text))
            read = (self.views.keys() & identifiers(text)) - seen
            seen |= read
            texts += [each for name in read for each in self.views[name]]
        return called

    def trees(self, name: str) -> list[Node]:
        """The parsed definitions of the view or macro *name*; empty when it is neither."""
        texts = [*map(_query_of_view, self.views.get(name, ()))]
        texts += [defined.text for defined in self.macros.get(name, ())]
        return [parsed for text in texts if (parsed := _definition(text))]

    def macro(self, name: str) -> Macro | None:
        """The scalar macro *name*, where it has one body, whose parameters take any type."""
        found = self.macros.get(name, ())
        one = found[0] if found and all(each == found[0] for each in found) else None
        if one is None or one.kind != "macro" or any(one.types):
            return None
        body, parameters = _expression(one.text), tuple(map(str.lower, one.parameters))
        if body is None:
            return None
        return Macro(body, parameters, _defaults(self.signatures.get(name), parameters))


_NOT_FUNCTIONS = frozenset(
    "in values as over using exists filter and or not by on select from".split()
)
"""Words that may stand before a parenthesis."""


def identifiers(sql: str) -> set[str]:
    """All that may be a name in *sql*, in lower case, quoted ones as they are meant."""
    sql = sql.lower()
    return {*re.findall(r"\w+", sql), *_QUOTED.findall(sql)}


def _query_of_view(sql: str) -> str:
    """The query in the text of CREATE VIEW, or of generated columns."""
    found = words(sql)
    for word in found if found and found[0].text == "CREATE" else ():
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


@lru_cache(maxsize=512)
def _expression(text: str) -> Node | None:
    """Parse a scalar macro's body, of which a query is one value, in parentheses."""
    parsed = tree.parse(f"SELECT {text}")
    items: list[Node] = tree.body(parsed)["select_list"] if parsed else []
    return items[0] if len(items) == 1 else None
