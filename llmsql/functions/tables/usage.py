"""`llm_usage()`: what each model used on each day: calls, tokens, seconds, money."""

from __future__ import annotations

from typing import Any

from llmsql.functions.tables import base
from llmsql.runtime import history
from llmsql.runtime.conditions import Conditions


class Table(base.TableFunction):
    """One row a day and a model."""

    name = "llmsql_usage"
    schema = history.USAGE

    def rows(self, conditions: Conditions) -> Any:
        """The sums, also of other processes."""
        return history.usage(conditions.store)
