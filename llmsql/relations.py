"""A relation over a pending result, typed and named as that is: DuckDB gives none.

Owns how rows that are there become a relation that calls no model again.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import duckdb

from llmsql.runtime.session import Session

_LOSSY = re.compile(r"\b(BIT|U?HUGEINT|TIME WITH TIME ZONE|BIGNUM|VARIANT)\b")
"""Types that do not come through Arrow as they are."""

Guard = Callable[[Callable[..., Any]], Callable[..., Any]]


def of(con: Any, session: Session, guarded: Guard) -> Any:
    """The relation of what is pending on *con*, None where there are no rows.

    *guarded* lets a fetch raise what a model function raised.
    """
    query = session.result_query
    if query is None and (con.description is None or not session.gives_rows):
        return None
    if query is not None and hasattr(duckdb.DuckDBPyRelation, "materialize"):
        con.abort()  # the pending result: the relation takes its place
        return con.sql(query).materialize()
    types = [str(column[1]) for column in con.description]
    if query is not None and _LOSSY.search(" ".join(types)):
        return con.sql(session.kept_result())
    names = [column[0] for column in con.description]
    return _from_arrow(con, names, types, guarded(partial(_pending, con))())


def _from_arrow(con: Any, names: list[str], types: list[str], rows: Any) -> Any:
    """*rows* under *names*, which may repeat, in DuckDB's own *types*."""
    held = rows.rename_columns([f"c{index}" for index in range(len(names))])
    items = ", ".join(
        f'c{index}::{kind} AS "{name.replace(chr(34), chr(34) * 2)}"'
        for index, (name, kind) in enumerate(zip(names, types, strict=True))
    )
    relation = con.from_arrow(held)
    return relation.project(items) if items else relation


def _pending(con: Any) -> Any:
    """The pending result as an Arrow table."""
    with warnings.catch_warnings():
        # DuckDB 2.0 advises its users to take relations; for a result that is there it is too late.
        warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)
        return con.to_arrow_table()
