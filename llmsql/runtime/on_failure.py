"""What becomes of rows that fail where nobody says: NULL, or an error where a NULL would destroy.

Owns which statements those are. What the user says, at a call or in the settings, is above this.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from llmsql.runtime.definitions import ViewsAndMacros
from llmsql.runtime.reach import Reach, explore, files
from llmsql.syntax import explained, prepared, quote, receivers, tree, write
from llmsql.syntax.conditions import is_inside
from llmsql.syntax.kind import kind_of
from llmsql.syntax.ranks import is_call, reaches
from llmsql.syntax.shape import Shape
from llmsql.syntax.tree import Node

_UPDATES = frozenset({"UPDATE", "MERGE_INTO", "MERGE", "ALTER"})
_WRITES = _UPDATES | {"INSERT", "DELETE", "CREATE"}
_DESTROYS = re.compile(r"\b(update|merge|replace|delete|alter|copy)\b", re.IGNORECASE)
_TO = re.compile(r"\)\s*to\s+'((?:[^']|'')*)'", re.IGNORECASE)
_READERS = frozenset({"query", "query_table"})
"""What reads tables whose names are values."""


def may_destroy(sql: str) -> bool:
    """True where the NULL of a failed row might destroy something, for who need not know better."""
    return bool(_DESTROYS.search(sql)) and kind_of(sql) in _WRITES


Catalog = Callable[[str], ViewsAndMacros]


class Defaults:
    """What a failed row becomes in the statements of one session.

    *prepared* has what was found of statements by the names they were prepared under.
    """

    def __init__(self) -> None:
        self.prepared: dict[str, str] = {}

    def on_error(self, kind: str, sql: str, catalog: Catalog) -> str:
        """'raise' where the NULL of a failed row would destroy a value or a row; else 'null'.

        *catalog* gives the views and macros that a statement may need.
        """
        if kind == "PREPARE" and (found := prepared.made(sql)):
            name, text = found
            self.prepared[name] = self.on_error(kind_of(text), text, catalog)
        if kind == "EXPLAIN" and (about := explained.read(sql)):
            return self.on_error(kind_of(about.statement), about.statement, catalog)
        if kind == "EXECUTE":
            return self.prepared.get(prepared.executed(sql), "null")
        if not _DESTROYS.search(sql):
            return "null"
        try:
            return "raise" if _destroys(kind, sql, catalog) else "null"
        except RecursionError:  # too deep to be looked at
            return "raise"


def _destroys(kind: str, sql: str, catalog: Catalog) -> bool:
    if kind in _UPDATES:
        return True
    if kind == "INSERT":
        return write.replaces_rows(sql)
    if kind == "SELECT":
        statement = tree.parse(sql) if "with" in sql.lower() else None
        return statement is not None and is_inside(statement, _modifies)
    if kind not in ("DELETE", "CREATE", "COPY"):
        return False
    found = write.read(sql)
    if kind == "COPY" and found is None:  # a table: it calls no model
        return False
    if kind == "CREATE" and not (found and found.replaces and found.target):
        return False
    statement = tree.parse(found.query) if found else None
    if found is None or statement is None:
        return True
    receivers.spell_out(statement, tuple)
    known = catalog(sql)
    reach = explore(statement, known, {}, {})
    if kind == "COPY":
        parts = [statement, *(each for name in reach.tables for each in known.trees(name))]
        return _reads_its_target(parts, found.tail)
    if kind == "CREATE":
        return bool(reach.tables & {quote.names(found.target or "")[-1], *_READERS})
    return not _spares_unknown(tree.body(statement), known, reach)


def _reads_its_target(parts: Sequence[Node], tail: str) -> bool:
    """True where one of *parts* names the file that COPY writes, as its *tail* says, or is in."""
    to = _TO.match(tail)
    if to is None:
        return False
    target = os.path.realpath(to[1].replace("''", "'"))
    named = [node.get("table_name") or tree.constant(node) for node in tree.nodes(parts)]
    read = [file for name in named if isinstance(name, str) for file in files(name)]
    return any(Path(os.path.realpath(file)).is_relative_to(target) for file in read)


def _spares_unknown(query: Node, catalog: ViewsAndMacros, reach: Reach) -> bool:
    """True where a DELETE of the rows of *query* surely keeps each of which an answer is NULL."""
    shape = Shape(
        partial(is_call, models=catalog.models), partial(reaches, names=reach.costly), catalog.trees
    )
    condition = query.get("where_clause")
    beside = {name: part for name, part in query.items() if name != "where_clause"}
    return not is_inside(beside, shape.is_costly) and (
        condition is None or shape.rejects_null(condition)
    )


def _modifies(node: Node) -> bool:
    """True for a common table that writes, as DuckDB 2.0 has them."""
    return re.fullmatch("(UPDATE|DELETE|MERGE).*_NODE", str(node.get("type"))) is not None
