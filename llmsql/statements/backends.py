"""`!llm backends`: what can run models here."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any, ClassVar

from llmsql import backends
from llmsql.statements.base import Rows, Statement
from llmsql.workspace import Workspace


@dataclass(frozen=True)
class Backends(Statement):
    """Show the backends: the kinds they run, whether they are installed, their options."""

    syntax: ClassVar[str] = "!llm backends"

    def run(self, workspace: Workspace) -> Rows:
        """One row a backend; an option is shown as `name type = default`."""
        rows = []
        for name in backends.names():
            backend = backends.get(name)
            install = f"pip install 'duckdb-llmsql[{backend.extra}]'" if backend.extra else ""
            rows.append(
                (
                    name,
                    ", ".join(backend.kinds),
                    backend.is_installed,
                    install,
                    ", ".join(described(backend.options)),
                    ", ".join(described(backend.sampling)) if "chat" in backend.kinds else "",
                )
            )
        columns = ("name", "kinds", "is_installed", "install", "options", "call_options")
        types = ("text", "text", "boolean", "text", "text", "text")
        return Rows(tuple(f"{c} {t}" for c, t in zip(columns, types, strict=True)), rows)


def described(options: type[Any]) -> list[str]:
    """Each option of a backend as `name type = default`."""
    hints = typing.get_type_hints(options)
    return [
        f"{field.name} {_type(hints[field.name])}" + _default(field.default)
        for field in dataclasses.fields(options)
    ]


def _type(hint: Any) -> str:
    names = {int: "integer", float: "number", str: "text", bool: "boolean"}
    arguments = [a for a in typing.get_args(hint) if a is not type(None)]
    if hint in names:
        return names[hint]
    if typing.get_origin(hint) is tuple:
        return f"list of {_type(arguments[0])}"
    if typing.get_origin(hint) is typing.Literal:
        return "|".join(map(str, arguments))
    return _type(arguments[0]) if arguments else "text"


def _default(value: Any) -> str:
    if value is None or value is dataclasses.MISSING or value == ():
        return ""
    return f" = {str(value).lower() if isinstance(value, bool) else value}"
