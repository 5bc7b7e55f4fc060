"""What a table of ours is to DuckDB: a function of a session's token that returns all its rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import pyarrow as pa

from llmsql.functions import columns as read
from llmsql.functions.columns import Column
from llmsql.runtime.conditions import Conditions
from llmsql.runtime.engine import Engine

_TYPES = {
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.string(): "VARCHAR",
    pa.bool_(): "BOOLEAN",
    pa.float64(): "DOUBLE",
    pa.timestamp("us"): "TIMESTAMP",
    pa.date32(): "DATE",
}


class TableFunction(ABC):
    """One table; *name* is that of its function, *schema* its columns."""

    name: ClassVar[str]
    schema: ClassVar[Any]

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def return_type(self) -> str:
        """A list of its rows."""
        items = ", ".join(f'"{field.name}" {_TYPES[field.type]}' for field in self.schema)
        return f"STRUCT({items})[]"

    @abstractmethod
    def rows(self, conditions: Conditions) -> Any:
        """The rows as an Arrow table of `schema`, as a session under *conditions* sees them."""

    def __call__(self, tokens: Column) -> Any:
        """Return the list of the rows once for each of *tokens*."""
        collector = self.engine.collectors.get(read.first(tokens) or 0) or self.engine.detached()
        table = self.rows(collector.account.conditions).combine_chunks()
        columns = [
            column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            for column in table.columns
        ]
        structs = pa.StructArray.from_arrays(columns, fields=list(self.schema))
        found = pa.ListArray.from_arrays(pa.array([0, len(structs)], pa.int32()), structs)
        return found if len(tokens) == 1 else pa.concat_arrays([found] * len(tokens))
