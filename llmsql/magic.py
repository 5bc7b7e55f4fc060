"""`%%llmsql` in notebooks: a cell of statements, the last result as a DataFrame.

Owns which connection a cell runs on, and how its errors look. Needs no import of IPython.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Mapping
from typing import Any

import duckdb

import llmsql
from llmsql import render
from llmsql.console import interruptible, message, warned
from llmsql.errors import CatalogError, StatementError, suggestion
from llmsql.progress_bar import ProgressBar


def load_ipython_extension(ipython: Any) -> None:
    """Add the magics `%llmsql` and `%%llmsql`; IPython calls this for `%load_ext llmsql`."""
    magic = Magic(ipython)
    atexit.register(magic.close)  # IPython itself lives on until nobody can

    def run(line: str, cell: str | None = None) -> Any:
        """
        Run statements of llmsql and DuckDB; the last result comes back as a DataFrame.

          %llmsql SELECT 42                     one line, on a connection in memory
          %%llmsql                              a cell, on that same connection
          %%llmsql shop.duckdb                  on a database file
          %%llmsql con                          on a connection of this notebook

        DataFrames of the notebook can be read as tables.
        """
        return magic.run(line, cell)

    # IPython would replace {'a': 1} and $1 in the SQL by variables.
    run._ipython_magic_no_var_expand = True  # type: ignore[attr-defined]
    ipython.register_magic_function(run, "line_cell", "llmsql")


class Magic:
    """The connections of one notebook: a shared one, and one for each database file."""

    def __init__(self, ipython: Any) -> None:
        self.ipython = ipython
        self.connections: dict[str, Any] = {}

    def run(self, line: str, cell: str | None) -> Any:
        """Run *cell* on the connection that *line* names, or *line* itself without a cell."""
        namespace = self.ipython.user_ns
        try:
            connection = self._connection(line if cell is not None else "", namespace)
            with interruptible(connection), warned(_warn):
                return _result(connection, line if cell is None else cell, namespace)
        except (duckdb.Error, KeyboardInterrupt) as error:
            # A traceback through our files says nothing about somebody's SQL. This is the hook that
            # IPython has for it; the error itself still stops "run all".
            text = message(error)
            error._render_traceback_ = lambda: [text]  # type: ignore[union-attr]
            raise

    def close(self) -> None:
        """Close the connections that cells have opened."""
        while self.connections:
            self.connections.popitem()[1].close()

    def _connection(self, argument: str, namespace: Mapping[str, Any]) -> Any:
        argument = argument.strip().rstrip("; \t")  # habit types a semicolon
        name = argument.strip("'\"") or ":memory:"
        if argument.startswith("-"):
            raise StatementError(
                f'%%llmsql takes no option "{name}", only a connection or a database file'
            )
        if " " in name and name == argument:
            raise StatementError(
                f'a cell runs on one connection or database file, not "{name}"\n'
                "  a path with spaces is written in quotes"
            )
        if isinstance(found := namespace.get(name), llmsql.Connection):
            return found
        if name.isidentifier() and argument == name:
            known = [
                key for key, value in namespace.items() if isinstance(value, llmsql.Connection)
            ]
            raise CatalogError(
                f'there is no connection "{name}"{suggestion(name, known)}\n'
                f"  con = llmsql.connect() makes one; a database file is written '{name}'"
            )
        if name not in self.connections:
            self.connections[name] = llmsql.connect(name)
            in_notebook = hasattr(self.ipython, "kernel")
            self.connections[name].on_progress = ProgressBar(in_notebook=in_notebook)
        return self.connections[name]


def _result(connection: Any, script: str, namespace: Mapping[str, Any]) -> Any:
    """Run *script*, and return the last statement's rows if it has any to show."""
    pieces = list(connection.statements(script))
    for piece in pieces:
        connection.execute(piece.text, namespace=namespace)
    if not pieces or not render.is_shown(connection, pieces[-1].text):
        return None
    if render.is_plan(connection):
        return Plan("".join(render.text(connection, "box")))
    return connection.df()


class Plan(str):
    """The text of a plan, which a notebook shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")
