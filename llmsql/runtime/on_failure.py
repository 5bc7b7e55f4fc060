"""What becomes of rows that fail where nobody says: NULL, or an error where a NULL would destroy.

Owns which statements those are. What the user says, at a call or in the settings, is above this.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from llmsql.runtime.definitions import ViewsAndMacros, identifiers
from llmsql.runtime.reach import explore
from llmsql.syntax import conditions, explained, prepared, quote, tree, write
from llmsql.syntax.kind import kind_of
from llmsql.syntax.ranks import is_call, reaches
from llmsql.syntax.shape import Shape

_UPDATES = frozenset({"UPDATE", "MERGE_INTO", "MERGE"})


class Defaults:
    """What a failed row becomes in the statements of one session.

    *catalog* gives the views and macros that a statement may need. *prepared* has what was found of
    statements by the names they were prepared under.
    """

    def __init__(self, catalog: Callable[[str], ViewsAndMacros]) -> None:
        self.prepared: dict[str, str] = {}
        self._catalog = catalog

    def on_error(self, kind: str, sql: str) -> str:
        """'raise' where the NULL of a failed row would destroy a value or a row; else 'null'."""
        if kind == "PREPARE" and (found := prepared.made(sql)):
            name, text = found
            self.prepared[name] = self.on_error(kind_of(text), text)
        if kind == "EXPLAIN" and (about := explained.read(sql)):
            return self.on_error(kind_of(about.statement), about.statement)
        if kind == "EXECUTE":
            return self.prepared.get(prepared.executed(sql), "null")
        if kind == "INSERT":
            return "raise" if write.replaces_rows(sql) else "null"
        destroys = (
            kind in _UPDATES
            or (kind == "DELETE" and not self._spares_unknown(sql))
            or (kind == "CREATE" and _replaces_what_it_reads(sql))
        )
        return "raise" if destroys else "null"

    def _spares_unknown(self, sql: str) -> bool:
        """True where the DELETE *sql* surely keeps each row of which an answer is NULL."""
        found = write.read(sql)
        statement = tree.parse(found.query) if found else None
        if statement is None:
            return False
        query, catalog = tree.body(statement), self._catalog(sql)
        if conditions.has_subquery(query):
            return False
        costly = explore(statement, catalog, (), {}).costly
        shape = Shape(
            partial(is_call, models=catalog.models), partial(reaches, names=costly), catalog.trees
        )
        return not shape.lets_null_through(query)


def _replaces_what_it_reads(sql: str) -> bool:
    """True where CREATE OR REPLACE TABLE t AS … names t in its query."""
    found = write.read(sql)
    if found is None or not (found.replaces and found.target):
        return False
    return quote.names(found.target)[-1] in identifiers(found.query)
