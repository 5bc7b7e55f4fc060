"""Writing names and texts into DuckDB's SQL, and reading names out of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def identifier(name: str) -> str:
    """*name* as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def names(path: str) -> list[str]:
    """The names in *path*, as `db.schema."my table"`, unquoted and in lower case."""
    parts = re.findall(r'"((?:[^"]|"")*)"|([^."\s]+)', path)
    return [(quoted.replace('""', '"') or plain).lower() for quoted, plain in parts]


def literal(value: Any) -> str:
    """*value*, a text, a number, a boolean or a list of them, as a literal."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(literal, value)) + "]"
    return "'" + str(value).replace("'", "''") + "'"


def text_map(values: Mapping[str, str]) -> str:
    """*values* as a MAP(VARCHAR, VARCHAR)."""
    items = ", ".join(f"{literal(key)}: {literal(value)}" for key, value in values.items())
    return f"MAP {{{items}}}"


def arguments(given: Mapping[str, Any]) -> str:
    """*given* as named arguments that follow another: `, header = true`."""
    return "".join(f", {name} = {literal(value)}" for name, value in given.items())
