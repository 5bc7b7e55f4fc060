"""Rows that DuckDB chose once, kept while a statement runs, so that all its passes see the same.

Which queries leave the choice to DuckDB, and what stands in their place, is `syntax.undecided`'s
business. Without this each pass would ask about rows of its own.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import duckdb

from llmsql.syntax import hints, tree, undecided
from llmsql.syntax.rewrite import Plan
from llmsql.syntax.tree import Node
from llmsql.syntax.undecided import Undecided

_PREFIX = f"llmsql_kept_{secrets.token_hex(4)}_"


class KeptRows:
    """The temp tables of one statement's undecided queries.

    *describe* gives the names and types of what a query gives, or raises *refused*; *execute* runs
    one with the user's parameters.
    """

    def __init__(
        self,
        con: Any,
        describe: Callable[[str], list[tuple[str, str]]],
        execute: Callable[[str], Any],
        refused: type[Exception],
    ) -> None:
        self.con = con
        self.describe = describe
        self.execute = execute
        self.refused = refused
        self._names: dict[str, list[str] | None] = {}  # of columns; None where it is not kept
        self._made: dict[str, tuple[str, int]] = {}  # tables and widths by the queries' texts

    def in_place(self, plan: Plan) -> Plan:
        """*plan* reading kept rows wherever DuckDB would choose some.

        Raises *refused* where there are some, and DuckDB may infer filters from what it knows of
        them: of a table it knows something else.
        """
        found = self._replaced(plan.text, plan.statement, plan)
        if found is None:
            return plan
        limited = self._replaced(plan.limited_text, None, plan)
        ladder = plan.ladder and self._replaced("", plan.ladder.statement, plan)
        return replace(
            plan,
            text=tree.show(found),
            statement=found,
            limited_text=tree.show(limited) if limited else plan.limited_text,
            ladder=replace(plan.ladder, statement=ladder) if plan.ladder and ladder else None,
        )

    def is_wanted(self, plan: Plan) -> bool:
        """True where DuckDB would choose some of what *plan* reads."""
        found = copy.deepcopy(plan.statement) if plan.statement else tree.parse(plan.text)
        return bool(found and undecided.find(found, plan.is_costly, plan.definitions))

    def make_again(self) -> None:
        """Choose once more, after a rollback that took the tables."""
        for text, (table, width) in self._made.items():
            self._fill(table, width, text)

    def forget(self) -> None:
        """Drop what was kept."""
        for table, _ in self._made.values():
            with suppress(duckdb.Error):  # an aborted transaction takes them along
                self.con.execute(f"DROP TABLE IF EXISTS {table}")
        self._made = {}

    def _replaced(self, sql: str, statement: Node | None, plan: Plan) -> Node | None:
        """The tree of *sql*, *statement* if it is known, with kept rows; None without any."""
        found = copy.deepcopy(statement) if statement else tree.parse(sql)
        if found is None or not (statement or hints.restore(found, sql)):
            return None
        queries = undecided.find(found, plan.is_costly, plan.definitions)
        bound = [(each, self._bound(each.text)) for each in queries]  # an error takes tables along
        kept = [(query, columns) for query, columns in bound if columns is not None]
        if not kept:
            return None
        alone = undecided.decide_alone([query for query, _ in kept], found, plan.is_costly)
        if plan.plain or not (plan.is_guarded and alone):
            raise self.refused
        for query, columns in kept:
            self._keep(query, columns)
        return found

    def _bound(self, text: str) -> list[str] | None:
        """The columns of the query *text*; None where it reads what is around it."""
        if text not in self._names:
            self._names[text] = None
            with suppress(self.refused):
                self._names[text] = [name for name, _ in self.describe(text)]
        return self._names[text]

    def _keep(self, query: Undecided, columns: list[str]) -> None:
        text = query.text
        if text not in self._made:
            table = f"temp.main.{_PREFIX}{len(self._made)}"
            self._fill(table, len(columns), text)
            self._made[text] = table, len(columns)
        query.stand_in(self._made[text][0], columns)

    def _fill(self, table: str, width: int, text: str) -> None:
        """Put the rows of *text* into *table*, of which DuckDB then knows no least and greatest.

        A column of one value would be a constant to it, and calls of constants it makes as it
        plans. That a row of NULLs was there is not forgotten when it goes.
        """
        columns, nulls = (", ".join(each) for each in _columns(width))
        self.execute(f"CREATE OR REPLACE TEMP TABLE {table}({columns}) AS FROM ({text}) LIMIT 0\n")
        self.con.execute(f"INSERT INTO {table} VALUES ({nulls})")
        self.execute(f"INSERT INTO {table} {text}\n")
        self.con.execute(f"DELETE FROM {table} WHERE rowid = (SELECT min(rowid) FROM {table})")


def _columns(width: int) -> tuple[list[str], list[str]]:
    return [f"c{index}" for index in range(width)], ["NULL"] * width
