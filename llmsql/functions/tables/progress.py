"""`llm_progress()`: how far the statements are that run now, seen from another connection."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from llmsql.functions.tables import base
from llmsql.runtime.account import Account
from llmsql.runtime.conditions import Conditions


class Table(base.TableFunction):
    """One row a statement that waits for models, of any connection to the database."""

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
            ("input_tokens", pa.int64()),
            ("output_tokens", pa.int64()),
            ("seconds", pa.float64()),
            ("tokens_per_second", pa.float64()),
            ("seconds_left", pa.float64()),
        ]
    )

    def rows(self, conditions: Conditions) -> Any:
        """The running statements of this process."""
        accounts = [collector.account for collector in list(self.engine.collectors.values())]
        rows = [_row(account) for account in accounts if account.is_running]
        return pa.Table.from_pylist(rows, self.schema)


def _row(account: Account) -> dict[str, Any]:
    account.measure()
    state = account.reporter.state
    names = "statement model total done reused failed input_tokens output_tokens seconds".split()
    return {
        **{name: getattr(state, name) for name in names},
        "kind": account.kind,
        "text": account.shown,
        "tokens_per_second": state.tokens_per_second,
        "seconds_left": state.seconds_left,
    }
