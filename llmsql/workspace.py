"""What llmsql's own statements work with: models, settings, variables, and DuckDB underneath.

Owns what a statement may do with the connection it is run on. DuckDB's API around a connection is
`connection`'s, and how a statement that calls models is run is the session's.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

from llmsql.config import Settings
from llmsql.errors import CatalogError
from llmsql.functions import library
from llmsql.runtime import lookup
from llmsql.runtime.scope import Scope
from llmsql.runtime.session import Session
from llmsql.store import Store
from llmsql.syntax import quote
from llmsql.syntax.variables import Variables

_ROWS = f"llmsql_rows_{secrets.token_hex(8)}"  # a name that no table has


class Workspace:
    """One connection's session and variables, and what statements do with them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.engine = session.engine
        self.variables = Variables()
        self.kept: set[str] = set()  # tables that a script may make again, by their names
        self._con = session.con
        self._use_library(self.settings)
        self._con.execute("")  # drops the result that is pending: nobody asked for it

    @property
    def settings(self) -> Settings:
        """What models are deployed with, and statements run with."""
        return self.session.settings

    def change_settings(self, settings: Settings, field: str = "") -> None:
        """Deploy and run with *settings* from now on; *field* is the one that was said anew."""
        # Said again, a folder is read again: its files may have changed.
        if field == "udf_folder" or settings.udf_folder != self.settings.udf_folder:
            self._use_library(settings)
        self.session.change_settings(settings)

    @property
    def next_settings(self) -> Settings:
        """The settings of the next statement that calls models, if they differ from the others."""
        return self.session.next_settings or self.settings

    @next_settings.setter
    def next_settings(self, settings: Settings) -> None:
        self.session.next_settings = settings

    @property
    def store(self) -> Store:
        """Where the answers are kept."""
        return self.session.conditions.store

    def install_library(self) -> list[library.Macro]:
        """Create the library's macros in the database itself."""
        return library.install_permanently(self._con, self.settings.udf_folder)

    def refuse_in_transaction(self, what: str) -> None:
        """Raise CatalogError inside a transaction: its rollback would lose a function."""
        if self.session.in_transaction():
            raise CatalogError(f"cannot {what} inside a transaction\n  COMMIT or ROLLBACK first")

    def refuse_without_files(self, what: str) -> None:
        """Raise CatalogError where DuckDB is told to leave the machine's files alone."""
        if not self.run("SELECT current_setting('enable_external_access')")[0][0]:
            raise CatalogError(f"cannot {what}: the setting enable_external_access is off")

    def has_macro(self, name: str) -> bool:
        """True when the database has a macro of that name which is not ours."""
        if not lookup.may_have(self._con, [name]):
            return False
        rows = self._con.execute(
            "SELECT count(*) FROM duckdb_functions() WHERE lower(function_name) = lower(?)"
            " AND NOT internal",
            [name],
        )
        return bool(rows.fetchone()[0])

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Run DuckDB's statement *sql*, which may call models, and return its rows."""
        self.session.execute(sql, None, Scope())
        return self._con.fetchall() if self._con.description else []

    def keep_query(self, query: str, name: str) -> None:
        """Keep the rows of *query*, which may call models, as the temporary table *name*."""
        self.run(f"CREATE OR REPLACE TEMP TABLE {quote.identifier(name)} AS {query}")
        self.kept.add(name.lower())

    def keep(self, rows: Any, name: str) -> None:
        """Keep the Arrow table *rows* as the temporary table *name*."""
        text = f"CREATE OR REPLACE TEMP TABLE {quote.identifier(name)} AS FROM {_ROWS}"
        self._read_rows(rows, text)
        self.kept.add(name.lower())

    def copy(self, rows: Any, path: str, form: str) -> int:
        """Write the Arrow stream *rows* to the file *path* in DuckDB's format *form*."""
        self._read_rows(rows, f"COPY (FROM {_ROWS}) TO {quote.literal(path)} (FORMAT {form})")
        return int(self._con.fetchall()[0][0])

    def show(self, rows: Any) -> None:
        """Make the Arrow table *rows* the pending result."""
        self._read_rows(rows, f"SELECT * FROM {_ROWS}")
        self.session.rows_are_ours = True

    def _read_rows(self, rows: Any, text: str) -> None:
        """Let DuckDB run *text*, for which *rows* is a table."""
        Scope(locals={_ROWS: rows}).call(partial(self._con.execute, text))

    def _use_library(self, settings: Settings) -> None:
        installed = library.install(self._con, settings.udf_folder)
        library.remove(self._con, self.session.macros.keys() - installed.keys())
        self.session.macros = installed
