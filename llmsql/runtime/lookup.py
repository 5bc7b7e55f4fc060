"""What DuckDB tells soon: whether it has a function, its schemas, the transaction that it is in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import duckdb

from llmsql.syntax import quote

MOST_NAMES = 8  # of more, a list of all functions is had as soon
_PLACES = """SELECT count(*) FROM (SELECT 1 FROM duckdb_schemas() WHERE NOT internal
    UNION ALL SELECT 1 FROM duckdb_databases() WHERE NOT internal)"""

_TABLES = """
    SELECT lower(database_name), lower(schema_name),
           list_contains(current_schemas(true), schema_name)
    FROM (SELECT database_name, schema_name, table_name AS n FROM duckdb_tables()
          UNION ALL SELECT database_name, schema_name, view_name FROM duckdb_views())
    WHERE lower(n) = ?
"""


def may_have(con: Any, names: Collection[str]) -> bool:
    """False where none of *names* is a function or a macro, nor can be one in another schema.

    Listing functions takes DuckDB 25 ms, and a statement would pay that for `r(i)` in its FROM.
    """
    if len(names) > MOST_NAMES or con.execute(_PLACES).fetchone()[0] > 1 or in_transaction(con):
        return True
    return any(_is_known(con, name) for name in names)


def has_table(con: Any, path: Sequence[str]) -> bool:
    """True where *path*, in lower case, is the name of a table or view, perhaps with its places."""
    *places, name = path
    rows = con.execute(_TABLES, [name]).fetchall()
    if not places:
        return any(in_path for *_, in_path in rows)
    return any(set(places) <= {database, schema} for database, schema, _ in rows)


def schemas(con: Any) -> list[str]:
    """The names of all databases and schemas."""
    rows = con.execute("SELECT DISTINCT unnest([database_name, schema_name]) FROM duckdb_schemas()")
    return [name for (name,) in rows.fetchall()]


def functions(con: Any) -> set[str]:
    """The names of all functions that the transaction sees, in lower case; takes 25 ms."""
    rows = con.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()")
    return {name for (name,) in rows.fetchall()}


def in_transaction(con: Any) -> bool:
    """True inside a transaction that the user began."""
    return transaction(con) is not None


def transaction(con: Any) -> int | None:
    """The number of the transaction that the user began; None outside of one."""
    first, second = (con.execute("SELECT txid_current()").fetchone()[0] for _ in range(2))
    return int(first) if first == second else None


def _is_known(con: Any, name: str) -> bool:
    """True unless DuckDB says that there is no function *name*; an error would end a transaction.

    What is volatile is not computed while DuckDB plans, so nothing is called.
    """
    try:
        con.execute(f"EXPLAIN SELECT {quote.identifier(name)}(random())")
    except duckdb.Error as error:
        return f"function with name {name.lower()} does not exist" not in str(error).lower()
    return True
