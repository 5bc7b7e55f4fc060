"""`llm_statements()`: every statement that reached a model, what it asked, and how it ended."""

from __future__ import annotations

from typing import Any

from llmsql.functions.tables import base
from llmsql.runtime import history
from llmsql.runtime.conditions import Conditions


class Table(base.TableFunction):
    """One row a statement that has ended."""

    name = "llmsql_statements"
    schema = history.STATEMENTS

    def rows(self, conditions: Conditions) -> Any:
        """The statements, also of other processes."""
        return history.read(conditions.store, "statements")
