"""`SET name = '''…'''`: variables for `${name}`. Spec D03, D04.

What DuckDB knows as a setting stays DuckDB's.
"""

from __future__ import annotations

import difflib
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from llmsql.errors import CatalogError, OptionError, StatementError, suggestion
from llmsql.statements.base import Rows, Statement
from llmsql.syntax import quote, tree
from llmsql.workspace import Workspace

TYPES = ("literal", "sql", "shell", "conf", "defaultParam")
KEYS = ("type", "scope", "mode", "visibility")
ALLOW_SHELL = "LLMSQL_ALLOW_SHELL"


@dataclass(frozen=True)
class Set(Statement):
    """Define a variable: a text, or with type = 'sql' the first cell of a query."""

    syntax: ClassVar[str] = "SET <name> = <value> [WHERE <pairs>]"
    is_byzer: ClassVar[bool] = True
    expands: ClassVar[bool] = False  # a value may refer to what is defined later
    name: str
    value: str
    pairs: Mapping[str, str] = field(default_factory=dict)

    def run(self, workspace: Workspace) -> Rows:
        """Define the variable, for this connection; returns its name."""
        kind = self._type()
        self._refuse_misspelt()
        if kind == "conf":
            value = workspace.variables.expand(self.value)
            workspace.run(f"SET {self.name} = {quote.literal(value)}")
        elif kind != "defaultParam" or self.name not in workspace.variables:
            workspace.variables.define(self.name, self._defined(kind, workspace))
        return Rows(("variable text",), [(self.name,)])

    def _type(self) -> str:
        given = {key.lower(): value for key, value in self.pairs.items()}
        for key in given:
            if key not in KEYS:
                raise OptionError(
                    f'SET has no key "{key}"{suggestion(key, KEYS)}\n  keys: {", ".join(KEYS)}'
                )
        kind = given.get("type", "literal")
        by_folded = {name.lower(): name for name in TYPES}
        if kind.lower() not in by_folded:
            raise OptionError(
                f'SET has no type "{kind}"{suggestion(kind, TYPES)}\n  types: {", ".join(TYPES)}'
            )
        return by_folded[kind.lower()]

    def _refuse_misspelt(self) -> None:
        """Refuse what looks like a setting of DuckDB's with a letter wrong."""
        near = difflib.get_close_matches(self.name.lower(), tree.settings(), 1, 0.85)
        if near and not self.pairs:
            raise CatalogError(
                f'DuckDB has no setting "{self.name}"; did you mean "{near[0]}"?\n'
                f"  set {self.name}='…' where type='literal'; makes a variable of that name"
            )

    def _defined(self, kind: str, workspace: Workspace) -> str:
        if kind == "sql":
            rows = workspace.run(workspace.variables.expand(self.value))
            return "" if not rows or rows[0][0] is None else str(rows[0][0])
        if kind == "shell":
            return _shell(workspace.variables.expand(self.value))
        return self.value


def _shell(command: str) -> str:
    """What *command* prints; refused unless whoever runs the process allowed it."""
    if os.environ.get(ALLOW_SHELL, "").lower() not in ("1", "true"):
        raise StatementError(
            "type = 'shell' would run a program on this machine, which is not allowed here\n"
            f"  {ALLOW_SHELL}=true in the environment allows it"
        )
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StatementError(f"the command ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()
