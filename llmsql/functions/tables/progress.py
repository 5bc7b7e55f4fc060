"""`llm_progress()`: how far the statements are that run now, seen from another connection."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pyarrow as pa

from llmsql.functions.tables import base
from llmsql.runtime import watched
from llmsql.runtime.conditions import Conditions


class Table(base.TableFunction):
    """One row a statement that waits for models, of any connection or process that tells of it."""

    name = "llmsql_progress"
    schema = pa.schema(
        [
            ("statement", pa.int64()),
            ("kind", pa.string()),
            ("text", pa.string()),
            ("model", pa.string()),
            ("total", pa.int64()),
            ("done", pa.int64()),
            ("reused", pa.int64()),
            ("failed", pa.int64()),
            ("retrying", pa.int64()),
            ("input_tokens", pa.int64()),
            ("output_tokens", pa.int64()),
            ("seconds", pa.float64()),
            ("tokens_per_second", pa.float64()),
            ("seconds_left", pa.float64()),
        ]
    )

    def rows(self, conditions: Conditions) -> Any:
        """The running statements of this process, and of others that share the store."""
        accounts = [collector.account for collector in list(self.engine.collectors.values())]
        own = {account.number for account in accounts}
        rows = [account.progress for account in accounts if account.is_running]
        tables = [pa.Table.from_pylist(rows, self.schema)]
        for row in watched.elsewhere(conditions.store, own):
            with suppress(pa.ArrowException):  # another version may tell of other things
                tables.append(pa.Table.from_pylist([row], self.schema))
        return pa.concat_tables(tables)
