"""What kind of statement one is, in DuckDB's words."""

from __future__ import annotations

from llmsql.syntax import explained, tree, write
from llmsql.syntax.words import words

_SEVERAL = "MULTI"
_READS = frozenset({"SELECT", "WITH", "FROM", "VALUES", "TABLE", "PIVOT", "UNPIVOT", "("})
_OTHERWISE = {"MERGE": "MERGE_INTO"}


def gives_rows(sql: str) -> bool:
    """True for what gives rows, as far as can be said before it runs; a count is none.

    Of what writes DuckDB only says that it may, and what it cannot read may be anything.
    """
    if kind_of(sql) in ("SELECT", "") or write.returns_rows(sql):
        return True
    kinds = [kind.name for each in tree.statements(sql) for kind in each.expected_result_type]
    return set(kinds) == {"QUERY_RESULT"}


def kind_of(sql: str) -> str:
    """DuckDB's name for the statement's type; empty where it does not parse.

    A PIVOT whose columns are values is several statements to DuckDB, a transaction around them: it
    is what it says it is.
    """
    if explained.read(sql) is not None:
        return "EXPLAIN"
    kinds = [statement.type.name for statement in tree.statements(sql)]
    if len(kinds) < 2 and kinds != [_SEVERAL]:
        return kinds[0] if kinds else ""
    found = words(sql)
    first = found[0].text if found else ""
    return (
        "SELECT" if first in _READS or first.startswith("PIVOT") else _OTHERWISE.get(first, first)
    )
