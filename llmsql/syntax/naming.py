"""The names of columns whose text is about to change: those that DuckDB would give them.

Owns what a SELECT's items without an alias are called where calls in them say ON ERROR.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from llmsql.syntax import tree
from llmsql.syntax.brackets import Brackets
from llmsql.syntax.conditions import is_inside
from llmsql.syntax.outputs import is_star

if TYPE_CHECKING:
    from llmsql.syntax.on_error import Call

_STANDS_FOR = "llmsql_said_{}_"


def names(sql: str, brackets: Brackets, calls: Mapping[int, Call]) -> Iterator[tuple[int, str]]:
    """Yield the name of each item that has none and holds one of *calls*, by its last word."""
    naming = _Naming(sql, brackets, calls)

    def jump(place: int) -> int:
        return calls[place].last + 1 if place in calls else place

    for first, last in brackets.items(jump):
        if any(place in calls for place in range(first, last + 1)):
            name = None
            with suppress(RecursionError):  # an expression of hundreds of levels
                name = naming.name(first, last)
            if name is not None:
                yield last, name


class _Naming:
    """The naming of one statement's items."""

    def __init__(self, sql: str, brackets: Brackets, calls: Mapping[int, Call]) -> None:
        self.sql = sql
        self.brackets = brackets
        self.calls = calls

    def name(self, first: int, last: int, *, inside: Call | None = None) -> str | None:
        """The name of the words from *first* to *last*; None where they have an alias, or many."""
        text, clauses = self._readable(first, last, inside)
        parsed = tree.parse(f"SELECT {text}")
        items = tree.body(parsed)["select_list"] if parsed else []
        if len(items) != 1 or items[0].get("alias") or is_inside(items[0], is_star):
            return None
        name = tree.own_name(items[0])
        for mark, call in clauses.items():
            said = self._said(call)
            if said is None:
                return None
            name = name.replace(mark, said)
        return name

    def _readable(self, first: int, last: int, inside: Call | None) -> tuple[str, dict[str, Call]]:
        """The text with a name for each call that DuckDB cannot read, and these calls."""
        words, parts, clauses = self.brackets.words, list[str](), dict[str, "Call"]()
        position, place = words[first].start, first
        while place <= last:
            call = self.calls.get(place)
            if call is not None and call.has_clause and call is not inside:
                mark = _STANDS_FOR.format(place)
                clauses[mark] = call
                parts += [self.sql[position : words[place].start], mark]
                position = words[call.last].end
                place = call.last
            place += 1
        return "".join([*parts, self.sql[position : words[last].end]]), clauses

    def _said(self, call: Call) -> str | None:
        """How a call reads, with its clause."""
        parts = [self.name(call.name, call.closing, inside=call)]
        parts.append(self.brackets.text(call.closing + 1))
        if call.value:
            parts.append(self.name(*call.value))
        known = [part for part in parts if part is not None]
        return " ".join([*known, "ON ERROR"]) if known == parts else None
