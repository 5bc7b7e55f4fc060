"""The values of a result as text, spelled by DuckDB itself.

Owns the way from a pending result to rows of texts. Where the texts go is the formats' business.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from llmsql.arrays import time_zones
from llmsql.render.measure import clean
from llmsql.syntax import tree

Row = tuple[str | None, ...]

BATCH = 2048
_SHORT = {
    "TINYINT": "int8",
    "SMALLINT": "int16",
    "INTEGER": "int32",
    "BIGINT": "int64",
    "HUGEINT": "int128",
    "UTINYINT": "uint8",
    "USMALLINT": "uint16",
    "UINTEGER": "uint32",
    "UBIGINT": "uint64",
    "UHUGEINT": "uint128",
}
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|BIGNUM|FLOAT|DOUBLE|DECIMAL\(.*\)")
# Arrow has no BIT and no UHUGEINT, and drops the zone of TIMETZ, unless DuckDB 2.0 is told to keep
# them. DuckDB 1.5 must be told before the query runs, and refuses VARIANT: there such rows come as
# Python's values, which need a library for TIMESTAMPTZ; who selects both gets what Arrow has.
_ARROW_LOSES = re.compile(r"\b(BIT|UHUGEINT|TIME WITH TIME ZONE|VARIANT)\b")
_PYTHON_LACKS = "TIMESTAMP WITH TIME ZONE"
_IS_KEPT_LATE = duckdb.__version__ >= "2"
_setting = threading.Lock()
_NOT_JSON = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)')


@dataclass(frozen=True)
class Column:
    """A column of a result: its name, and its type as DuckDB writes it."""

    name: str
    type: str = "VARCHAR"

    @property
    def title(self) -> str:
        """The name on one line: an expression may span several."""
        return " ".join(clean(self.name).split("\n"))

    @property
    def is_number(self) -> bool:
        """True when its values are aligned to the right."""
        return bool(_NUMBER.fullmatch(self.type))

    @property
    def short_type(self) -> str:
        """The type as a box shows it: `int64`, `varchar[]`."""
        base = self.type.rstrip("[]0123456789") if self.type.endswith("]") else self.type
        return (_SHORT.get(base) or base.lower().strip('"')) + self.type[len(base) :]


def columns(result: Any) -> list[Column]:
    """The columns of the pending result; none where a statement has no result."""
    return [Column(column[0], str(column[1])) for column in result.description or ()]


def is_shown(result: Any, statement: str) -> bool:
    """False for what DuckDB's shell keeps to itself: the counts and successes of statements."""
    if [column.name for column in columns(result)] not in (["Count"], ["Success"]):
        return bool(result.description)
    if not (parsed := tree.statements(statement)):  # ours, or an extension's
        return True
    return [kind.name for kind in parsed[-1].expected_result_type] == ["QUERY_RESULT"]


def is_plan(result: Any) -> bool:
    """True for what EXPLAIN says."""
    return [column.name for column in columns(result)] == ["explain_key", "explain_value"]


def texts(result: Any) -> Iterator[Row]:
    """Yield the rows of the pending result as DuckDB's own texts, NULL as None."""
    return _spelled(result, [f"CAST(c{i} AS VARCHAR)" for i, _ in enumerate(columns(result))])


def literals(result: Any) -> Iterator[Row]:
    """Yield the rows of the pending result as JSON; a number that JSON lacks is null."""
    for row in _spelled(result, [_literal(f"c{i}", c) for i, c in enumerate(columns(result))]):
        yield tuple("null" if value is None else _strict(value) for value in row)


def _literal(name: str, column: Column) -> str:
    if column.type in ("FLOAT", "DOUBLE"):
        return f"CASE WHEN isfinite({name}) THEN CAST({name} AS VARCHAR) END"
    if column.is_number:
        return f"CAST({name} AS VARCHAR)"
    if column.type == "JSON":
        return f"CAST(json(CAST({name} AS VARCHAR)) AS VARCHAR)"
    return f"CAST(to_json({name}) AS VARCHAR)"


def _strict(value: str) -> str:
    """*value* with null for NaN and infinities, which DuckDB writes into nested values."""
    return _NOT_JSON.sub(lambda found: found[0] if found[0][0] == '"' else "null", value)


def _spelled(result: Any, expressions: list[str]) -> Iterator[Row]:
    """Yield the pending rows as the SQL *expressions* over its columns c0, c1, … spell them.

    Python's own values would not do: they lose months, nanoseconds and the shortness of FLOAT, and
    TIMESTAMPTZ needs a library. So the rows pass through a DuckDB of their own, as Arrow.
    """
    types = [column.type for column in columns(result)]
    names = [f"c{i}" for i, _ in enumerate(types)]
    with duckdb.connect(config={"threads": 1}) as speller:
        loses = any(map(_ARROW_LOSES.search, types))
        if loses and not _IS_KEPT_LATE and _PYTHON_LACKS not in " ".join(types):
            declared = ", ".join(map(" ".join, zip(names, types, strict=True)))
            speller.execute(f"CREATE TABLE llmsql_rows ({declared})")
            if rows := result.fetchall():
                marks = ", ".join("?" * len(names))
                speller.executemany(f"INSERT INTO llmsql_rows VALUES ({marks})", rows)
        else:
            with _lossless(result) if loses and _IS_KEPT_LATE else nullcontext():
                table = _arrow(result).rename_columns(names)
            zones = [zone for kind in table.schema.types for zone in time_zones(kind)]
            if zones:
                speller.execute("SET TimeZone = $1", zones[:1])
            speller.register("llmsql_rows", table)
        spelled = speller.execute(f"SELECT {', '.join(expressions)} FROM llmsql_rows")
        while batch := spelled.fetchmany(BATCH):
            yield from batch


@contextmanager
def _lossless(result: Any) -> Iterator[None]:
    """Keep the types that Arrow lacks as DuckDB's own bytes, for who reads *result* inside.

    DuckDB 2.0 asks for the setting when rows are converted, and has it for the whole database.
    """
    with _setting, result.cursor() as other:
        (before,) = other.execute("SELECT current_setting('arrow_lossless_conversion')").fetchone()
        try:
            other.execute("SET arrow_lossless_conversion = true")
        except duckdb.InvalidInputException:  # the configuration is locked
            yield
            return
        try:
            yield
        finally:
            other.execute(f"SET arrow_lossless_conversion = {before}")


def _arrow(result: Any) -> pa.Table:
    with warnings.catch_warnings():
        # DuckDB 2.0 advises relations to its users; a pending result has no other way.
        warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)
        return result.to_arrow_table()
