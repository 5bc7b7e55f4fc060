"""Answers with what became of them: the rows of a call that captures errors."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from llmsql import arrays
from llmsql.errors import GenerationError
from llmsql.store import Group


class Captured(NamedTuple):
    """One row: an answer or an error, and the key of the call."""

    value: Any
    error: str | None
    call_id: str


def type_of(answer: str) -> str:
    """The SQL type of a row whose answers are of the type *answer*."""
    return f'STRUCT("value" {answer}, error VARCHAR, call_id VARCHAR)'


def rows(keys: Sequence[Hashable], values: Sequence[Any], group: Group) -> list[Captured | None]:
    """Capture *values*, answers or errors, of the inputs *keys*; NULL stays NULL."""
    return [
        None if value is None else _row(value, group.key(key).hex())
        for key, value in zip(keys, values, strict=True)
    ]


def array(given: Sequence[Captured | None], answers: Callable[[list[Any]], Any]) -> Any:
    """*given* as an Arrow array of structs; *answers* makes the array of the values."""
    empty = Captured(None, None, "")
    made = [row or empty for row in given]
    fields = [
        answers([row.value for row in made]),
        arrays.array([row.error for row in made], pa.string()),
        arrays.array([row.call_id for row in made], pa.string()),
    ]
    is_null = arrays.booleans([row is None for row in given])
    return pa.StructArray.from_arrays(fields, names=list(Captured._fields), mask=is_null)


def _row(value: Any, call_id: str) -> Captured:
    if isinstance(value, GenerationError):
        return Captured(None, str(value), call_id)
    return Captured(value, None, call_id)
