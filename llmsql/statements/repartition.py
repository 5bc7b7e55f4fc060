"""`RUN table AS TableRepartition`: rows numbered by the partition they belong to. Spec D10."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from llmsql.errors import OptionError, suggestion
from llmsql.statements.base import Rows, Statement
from llmsql.syntax import quote
from llmsql.types import coerce
from llmsql.workspace import Workspace

PARTITION = "__part"
KEYS = ("partitionNum", "partitionType", "partitionCols", "shuffle")


@dataclass(frozen=True)
class Repartition(Statement):
    """Copy a table with a column __part, from 0: by hash, by range, or in turn."""

    syntax: ClassVar[str] = "RUN <table> AS TableRepartition[.`<path>`] WHERE <pairs> [AS <out>]"
    is_byzer: ClassVar[bool] = True
    table: str
    pairs: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None
    out: str | None = None

    def run(self, workspace: Workspace) -> Rows:
        """Make the temporary table *out*; returns its name and the number of partitions."""
        given = self._given()
        number = _number(given.get("partitionNum"))
        columns = [c.strip() for c in given.get("partitionCols", "").split(",") if c.strip()]
        part = _expression(number, columns, given)
        out = self.out or f"{self.table}_partitioned"
        table = quote.identifier(self.table)
        names = [row[0] for row in workspace.run(f"DESCRIBE SELECT * FROM {table}")]
        others = f"* EXCLUDE ({PARTITION})" if PARTITION in names else "*"
        query = f"SELECT {others}, ({part})::INTEGER AS {PARTITION} FROM {table}"
        workspace.keep_query(query, out)
        workspace.run(
            f"COMMENT ON TABLE temp.{quote.identifier(out)} IS 'llmsql: {number} partitions'"
        )
        return Rows(("table text", "partitions integer"), [(out, number)])

    def _given(self) -> dict[str, str]:
        by_folded = {key.lower(): key for key in KEYS}
        given = {}
        for key, value in self.pairs.items():
            if key.lower() not in by_folded:
                raise OptionError(
                    f'TableRepartition has no key "{key}"{suggestion(key, KEYS)}\n'
                    f"  keys: {', '.join(KEYS)}"
                )
            given[by_folded[key.lower()]] = value
        return given


def _number(value: str | None) -> int:
    try:
        number = int(value or "")
    except ValueError:
        number = 0
    if number < 1:
        said = "missing" if value is None else f'not "{value}"'
        raise OptionError(f"partitionNum takes a whole number from 1 on, and is {said}")
    return number


def _expression(number: int, columns: list[str], given: Mapping[str, str]) -> str:
    """The number of the partition that a row is in."""
    kind = given.get("partitionType", "hash").lower()
    names = ", ".join(map(quote.identifier, columns))
    if kind not in ("hash", "range"):
        raise OptionError(f'partitionType takes one of hash, range, not "{kind}"')
    try:
        is_shuffled = coerce(given.get("shuffle", "true"), bool)
    except ValueError:
        raise OptionError(f'shuffle takes true or false, not "{given["shuffle"]}"') from None
    if kind == "range":
        if not columns:
            raise OptionError("partitionType='range' needs partitionCols: what to order by")
        return f"ntile({number}) OVER (ORDER BY {names}) - 1"
    if not is_shuffled:  # neighbours stay together
        return f"((row_number() OVER () - 1) * {number}) // count(*) OVER ()"
    return f"hash({names}) % {number}" if columns else f"(row_number() OVER () - 1) % {number}"
