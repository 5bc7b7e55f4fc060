"""`${name}`: what it stands for, and how its value is written where it stands. Spec D03, D04.

A value is put into a token of our statements, where it cannot break out, or into DuckDB's text:
inside a quoted text its quotes are doubled, elsewhere it is SQL.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Iterable, Iterator

from llmsql.errors import StatementError, suggestion
from llmsql.syntax import script, tree

_REFERENCE = re.compile(r"\$\{\s*((?:env:)?[\w.]+)\s*\}")
ENVIRONMENT = "env:"


def _day(offset: int) -> Callable[[], str]:
    return lambda: (datetime.date.today() + datetime.timedelta(days=offset)).isoformat()


PREDEFINED: dict[str, Callable[[], str]] = {
    "theDayBeforeYesterday": _day(-2),
    "yesterday": _day(-1),
    "today": _day(0),
    "tomorrow": _day(1),
    "date": _day(0),
    "HOME": lambda: os.path.expanduser("~"),
    "OWNER": lambda: os.environ.get("USER", ""),
}


class Variables:
    """The variables of one connection. Values are kept as written and expanded where used."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def define(self, name: str, value: str) -> None:
        """Let *name* stand for *value*, which may refer to variables that come later."""
        self._values[name] = value

    def update(self, others: Variables) -> None:
        """Take over what *others* has now."""
        self._values.update(others._values)

    def names(self) -> list[str]:
        """The names that are defined, the predefined ones last."""
        return [*self._values, *PREDEFINED]

    def expand(self, text: str) -> str:
        """Return *text* with every `${name}` replaced.

        Raises StatementError for a name that is not defined, and for one that contains itself.
        """
        return _REFERENCE.sub(lambda match: self._value(match[1], ()), text)

    def splice(self, sql: str, *, is_code_only: bool = False) -> str:
        """Return DuckDB's *sql* with the names that are defined replaced; others stay.

        Where nobody has defined any, the predefined ones stay too: `${…}` is DuckDB's text then.

        With *is_code_only* those in quoted texts wait for a second call. Raises StatementError
        where a value would not stay in its place, or make more than one statement.
        """
        if not self._values or "${" not in sql:
            return sql
        parts = []
        for mark, text in script.stretches(sql):
            is_left = mark == "comment" or (is_code_only and mark != "code")
            parts.append((mark, text if is_left else _REFERENCE.sub(self._written(mark), text)))
        spliced = "".join(text for _, text in parts)
        if spliced != sql:
            self._check(sql, parts, spliced)
        return spliced

    def _check(self, sql: str, parts: list[tuple[str, str]], spliced: str) -> None:
        """Raise StatementError unless *spliced* is read as the *parts* that it was made of."""
        names = ", ".join(f'"{name}"' for name in dict.fromkeys(_names(sql)) if name in self)
        kept = {part for part in _placed(parts) if part[1] != "code"}
        if not kept <= set(_placed(script.stretches(spliced))):
            raise StatementError(f"the value of {names} does not stay inside the quotes it is in")
        if sum(1 for _ in script.split(spliced)) > 1 or tree.count(spliced) > 1:
            raise StatementError(f"the value of {names} holds a semicolon: that is two statements")

    def _written(self, mark: str) -> Callable[[re.Match[str]], str]:
        def written(match: re.Match[str]) -> str:
            if match[1] not in self and match[1] not in PREDEFINED:
                return match[0]
            value = self._value(match[1], ())
            if mark == "code" or mark.startswith("$"):
                return value
            if mark == "e'":
                value = value.replace("\\", "\\\\")
            return value.replace(mark[-1], mark[-1] * 2)

        return written

    def _value(self, name: str, inside: tuple[str, ...]) -> str:
        if name in inside:
            raise StatementError(f'the variable "{name}" contains itself')
        if name.startswith(ENVIRONMENT):
            return _environment(name.removeprefix(ENVIRONMENT))
        if name not in self:
            if name in PREDEFINED:
                return PREDEFINED[name]()
            known = ", ".join(self.names())
            raise StatementError(
                f'there is no variable "{name}"{suggestion(name, self.names())}\n'
                f"  defined: {known}\n  set {name}='''…'''; defines it"
            )
        return _REFERENCE.sub(
            lambda match: self._value(match[1], (*inside, name)), self._values[name]
        )


def _placed(parts: Iterable[tuple[str, str]]) -> Iterator[tuple[int, str, int]]:
    """Where each of *parts* begins, what it is, and how long."""
    position = 0
    for mark, text in parts:
        yield position, mark, len(text)
        position += len(text)


def _names(text: str) -> Iterator[str]:
    return (match[1] for match in _REFERENCE.finditer(text))


def _environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise StatementError(f'there is no environment variable "{name}"')
    return value
