"""`llm_estimates()`: the numbers of this connection's last EXPLAIN, call by call."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from llmsql.functions.tables import base
from llmsql.runtime.conditions import Conditions


class Table(base.TableFunction):
    """One row a call of the explained statement; what happened is NULL without ANALYZE."""

    name = "llmsql_estimates"
    schema = pa.schema(
        [
            ("site", pa.int32()),
            ("call", pa.string()),
            ("model", pa.string()),
            ("inputs", pa.int64()),
            ("known", pa.int64()),
            ("calls", pa.int64()),
            ("precision", pa.string()),
            ("input_tokens", pa.float64()),
            ("is_counted", pa.bool_()),
            ("output_tokens", pa.float64()),
            ("seconds", pa.float64()),
            ("cost", pa.float64()),
            ("calls_made", pa.int64()),
            ("tokens_read", pa.int64()),
            ("tokens_written", pa.int64()),
            ("spent", pa.float64()),
        ]
    )

    def rows(self, conditions: Conditions) -> Any:
        """The estimates; none before the first EXPLAIN of a statement that calls models."""
        rows = []
        for estimate in conditions.explained:
            row = {name: getattr(estimate, name) for name in self.schema.names[:-4]}
            if (spent := estimate.spent) is not None:
                numbers = (spent.calls, spent.input_tokens, spent.output_tokens, spent.cost)
                row |= dict(zip(self.schema.names[-4:], numbers, strict=True))
            rows.append(row)
        return pa.Table.from_pylist(rows, self.schema)
