"""Settling a query rung by rung: models are asked about the rows that sort first, then about more.

What a rung is, and the query below it, is `syntax.ladder`'s business. What is not settled this way
is settled as it was planned, with all that has been asked known.
"""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from llmsql.runtime.resolver import RESULT, Resolver, Unsettled
from llmsql.syntax import tree
from llmsql.syntax.ladder import KEY, OFFSET, PLACE, ROWS, VARIABLE, Key, Ladder, rowid
from llmsql.syntax.rewrite import Plan

RUNGS = f"llmsql_rungs_{secrets.token_hex(4)}"

_COMPARABLE = re.compile(
    r"BOOLEAN|U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\)|VARCHAR|ENUM\(.*\)"
    r"|DATE|TIME|TIMESTAMP(_S|_MS|_NS)?|TIMESTAMP WITH TIME ZONE|UUID|BLOB",
    re.DOTALL,
)
"""Types by whose comparisons DuckDB sorts, so that `<=` says what comes first, collations too."""

_KINDS = """
SELECT d.type FROM duckdb_tables() t JOIN duckdb_databases() d USING (database_oid)
WHERE lower(t.table_name) = lower($1)
UNION ALL SELECT 'view' FROM duckdb_views() WHERE lower(view_name) = lower($1)
"""
_COLUMNS = "SELECT lower(column_name) FROM duckdb_columns() WHERE lower(table_name) = lower($1)"


def sorting(con: Any) -> tuple[str, str]:
    """The order of rows, and of NULLs, where an ORDER BY says nothing."""
    rows = con.execute(
        "SELECT current_setting('default_order'), current_setting('default_null_order')"
    )
    order, nulls = rows.fetchone()
    return str(order), str(nulls)


@dataclass(frozen=True)
class _Wanted:
    """What a LIMIT wants: *rows* of those behind its OFFSET, which *sorted* rows must have."""

    rows: int
    sorted: int


class Climber:
    """Settles the queries of one statement, from below where they have a ladder."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.con = resolver.con
        self._variables = 0

    def settle(self, plan: Plan, sql: str) -> Plan:
        """Settle *sql*, planned as *plan*; returns the plan by which that was done."""
        found, plan = None, self.resolver.with_kept_rows(plan)
        if plan.ladder and self._may_try(plan.ladder):
            found = self._climbed(plan, plan.ladder, sql)
        return found or self.resolver.settle(plan, sql)

    def forget(self) -> None:
        """Leave nothing behind of the rungs."""
        with suppress(duckdb.Error):  # an aborted transaction
            for number in range(self._variables):
                self.con.execute(f"RESET VARIABLE {VARIABLE}{number}")
            if self._variables:
                self.con.execute(f"DROP TABLE IF EXISTS temp.main.{RUNGS}")
        self._variables = 0
        self.resolver.kept.forget()

    def _may_try(self, ladder: Ladder) -> bool:
        """True unless an error of ours could end the user's transaction.

        In it, only what is certain to bind is tried: columns of one of DuckDB's own tables.
        """
        if self.resolver.in_own_transaction:
            return True
        if not ladder.is_harmless or ladder.table is None:
            return False
        kinds = self.con.execute(_KINDS, [ladder.table]).fetchall()
        columns = self.con.execute(_COLUMNS, [ladder.table]).fetchall()
        return kinds == [("duckdb",)] and ladder.columns <= {name for (name,) in columns}

    def _climbed(self, plan: Plan, ladder: Ladder, sql: str) -> Plan | None:
        """The plan of the query below the rung that was high enough; None where none was."""
        try:
            return self._climb(plan, ladder, sql)
        except (Unsettled, duckdb.Error):
            if not self.resolver.in_own_transaction:
                raise
            self.resolver.restart()  # a key may raise for a row that a model would have kept out
            return None

    def _climb(self, plan: Plan, ladder: Ladder, sql: str) -> Plan | None:
        keys = self._keys(ladder)
        if not keys:
            return None
        wanted, places = self._rungs(ladder, keys)
        chooses = ladder.computes and ladder.is_whole and len(keys) >= len(ladder.keys)
        text = ladder.chosen_below(keys) if chooses else ladder.below(keys)
        below: Plan | None = None
        for place in places:
            self._stand_at(f"{RUNGS} WHERE {PLACE} = {place}", _names(keys))
            below = below or self._below(plan, text)
            if below is None or not self._is_enough(below, text if chooses else sql, wanted):
                continue
            return self._exactly(plan, ladder.below(keys), sql, keys, wanted) if chooses else below
        return None

    def _exactly(
        self, plan: Plan, text: str, sql: str, keys: list[Key], wanted: _Wanted
    ) -> Plan | None:
        """Settle the query below the last of the rows that were chosen, which then are its rows."""
        columns = [f"c{number}" for number in range(len(keys))]
        self._stand_at(f"{RESULT} ORDER BY rowid DESC LIMIT 1", columns)
        below = self._below(plan, text)
        return below if below and self._is_enough(below, sql, wanted) else None

    def _below(self, plan: Plan, text: str) -> Plan | None:
        """The plan of the query *text* below a rung, if that stands before all calls.

        None where a call may wait for another unseen, or guards may turn conditions round, or
        DuckDB a join.
        """
        below = plan.below(text)
        if below is None or not below.is_ordered or not below.is_guarded:
            return None
        if self.resolver.turned(below) > plan.turned:
            return None
        statement, sites = below.statement or tree.parse(below.text), max(below.sites, plan.sites)
        return replace(below, sites=sites, statement=statement, plain=None)

    def _is_enough(self, below: Plan, sql: str, wanted: _Wanted) -> bool:
        """Settle *below*; True where it has all rows that are wanted."""
        self.resolver.settle(below, sql, may_stop=False)
        return self.resolver.rows() == wanted.rows

    def _keys(self, ladder: Ladder) -> list[Key]:
        """The first keys of *ladder*, as far as their types can be compared."""
        keys = list(ladder.keys)
        types = self._types(ladder, [*keys, rowid()]) if ladder.is_whole else []
        if types:
            keys.append(rowid())
        types = types or self._types(ladder, keys)
        comparable = [bool(_COMPARABLE.fullmatch(kind)) for kind in types]
        return keys[: [*comparable, False].index(False)]

    def _types(self, ladder: Ladder, keys: list[Key]) -> list[str]:
        """The types of *keys*; none where DuckDB cannot bind them, as there is no `rowid`, say."""
        with suppress(Unsettled):
            columns = self.resolver.describe(ladder.rungs(keys))
            return [kind for name, kind in columns if name.startswith(KEY)]
        return []

    def _rungs(self, ladder: Ladder, keys: list[Key]) -> tuple[_Wanted, list[int]]:
        """What is wanted, and the places of the rungs that are high enough, each another key."""
        self.resolver.read_once(f"CREATE OR REPLACE TEMP TABLE {RUNGS} AS {ladder.rungs(keys)}\n")
        names = ", ".join(_names(keys))
        found = self.con.execute(
            f"SELECT any_value({ROWS}), any_value(COALESCE({OFFSET}, 0)), max({PLACE})"
            f" FROM temp.main.{RUNGS} GROUP BY {names} ORDER BY 3"
        ).fetchall()
        rows, offset = found[0][:2] if found else (None, 0)
        wanted = _Wanted(rows or 0, (rows or 0) + offset)
        return wanted, [place for *_, place in found if wanted.rows and place >= wanted.sorted]

    def _stand_at(self, row: str, names: list[str]) -> None:
        """Put columns of a *row* of a table into the variables that the query below reads."""
        self._variables = max(self._variables, len(names))
        for number, name in enumerate(names):
            self.con.execute(
                f"SET VARIABLE {VARIABLE}{number} = (SELECT {name} FROM temp.main.{row})"
            )


def _names(keys: list[Key]) -> list[str]:
    return [f"{KEY}{number}" for number in range(len(keys))]
