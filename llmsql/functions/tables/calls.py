"""`llm_calls()`: every input that a statement asked of a model or found answered, the newest."""

from __future__ import annotations

from typing import Any

from llmsql.functions.tables import base
from llmsql.runtime import history
from llmsql.runtime.conditions import Conditions


class Table(base.TableFunction):
    """One row a distinct input of a statement."""

    name = "llmsql_calls"
    schema = history.CALLS

    def rows(self, conditions: Conditions) -> Any:
        """The calls of all statements, also of other processes."""
        return history.read(conditions.store, "calls")
