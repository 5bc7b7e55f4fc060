"""Reading the Arrow columns that DuckDB passes to a function."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from json.encoder import encode_basestring
from typing import Any

import duckdb
import pyarrow as pa

from llmsql.arrays import time_zones
from llmsql.errors import OptionError
from llmsql.syntax import tags, weights
from llmsql.syntax.ranks import TAG

Column = Any  # a pyarrow.ChunkedArray or Array; pyarrow ships no types


ADDED = 1 + weights.ARE_COUNTED
"""How many arguments `Connection` adds: a weight where that counts, and a tag behind it."""


def is_tag(column: Column) -> bool:
    """True for the last argument that `Connection` adds: {'llmsql': token, 'place': …}."""
    kind = column.type
    return bool(pa.types.is_struct(kind) and kind.num_fields and kind.field(0).name == TAG)


def place(tag: Mapping[str, Any]) -> tuple[int, ...]:
    """Rank and site of the call that *tag* stands in; empty where it tells none."""
    return tags.written(tag[tags.FIELD]) if tags.FIELD in tag else ()


def first(column: Column) -> Any:
    """The value of the first row."""
    return column[0].as_py() if len(column) else None


def is_constant(column: Column) -> bool:
    """True when every row holds the same value."""
    rows = len(column)
    return rows < 2 or bool(column.slice(1).equals(column.slice(0, rows - 1)))


def texts(column: Column) -> list[str | None]:
    """The rows as text, cast by DuckDB's own rules where they are of another type."""
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        if column.null_count == len(column):
            return [None] * len(column)
        column = _cast(column)
    return column.to_pylist()  # type: ignore[no-any-return]


def has_requests(columns: Sequence[Column]) -> bool:
    """True where the first of *columns* holds lists of requests, perhaps cast to text."""
    if not columns:
        return False
    kind = columns[0].type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return True
    return is_tag(columns[-1]) and bool((first(columns[-1]) or {}).get("requests"))


def requests(column: Column) -> list[str | None]:
    """The first request of each row's list."""
    rows = (column if pa.types.is_list(column.type) else _cast(column, "VARCHAR[]")).to_pylist()
    return [str(row[0]) if row and row[0] is not None else None for row in rows]


def mappings(column: Column) -> list[Mapping[str, Any] | None]:
    """The rows as options: STRUCT, MAP or JSON text; raises OptionError for anything else."""
    if is_constant(column):
        return [_mapping(first(column))] * len(column)
    return [_mapping(row) for row in column.to_pylist()]


def is_text(column: Column) -> bool:
    """True for what may name something, an ENUM too."""
    kind = column.type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def looks_like_options(column: Column) -> bool:
    """True for STRUCT and MAP, and for text that holds a JSON object."""
    kind = column.type
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return True
    value = next((v for v in column.to_pylist() if v is not None), None)
    return isinstance(value, str) and value.lstrip().startswith("{")


def _mapping(row: Any) -> Mapping[str, Any] | None:
    if row is None or isinstance(row, dict):
        return row
    if isinstance(row, list) and all(isinstance(pair, tuple) for pair in row):  # a MAP
        return dict(row)
    if isinstance(row, str):
        try:
            value = json.loads(row)
        except ValueError:
            value = None
        if isinstance(value, dict):
            return value
    raise OptionError(
        f"options are a STRUCT, a MAP or a JSON object, not {row!r}\n"
        "  for example: {'temperature': 0.7, 'max_tokens': 50}"
    )


@cache
def _scratch() -> Any:
    return duckdb.connect(":memory:")


def _cast(column: Column, kind: str = "VARCHAR") -> Column:
    return _asked(column, f"value::{kind}")


def _asked(column: Column, expression: str) -> Column:
    """What DuckDB makes of each row, called value in *expression*."""
    con = _scratch().cursor()
    try:
        for zone in time_zones(column.type):  # the session's: all have the same
            con.execute("SET TimeZone = $1", [zone])
        con.register("given", pa.table({"value": column}))
        return con.sql(f"SELECT {expression} AS value FROM given").to_arrow_table()["value"]
    finally:
        con.close()


def as_json(column: Column) -> Any:
    """The rows as JSON texts; NULL is null."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        rows = column.to_pylist()
        return pa.array(["null" if row is None else encode_basestring(row) for row in rows])
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.string()).fill_null("null")
    return _asked(column, "coalesce(to_json(value)::VARCHAR, 'null')").combine_chunks()
