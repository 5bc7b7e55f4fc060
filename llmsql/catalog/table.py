"""The table `llmsql.deployments` of a database file: one row a deployed model.

A database in memory keeps nothing, and one that is opened read-only is only read.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import duckdb

from llmsql.catalog.record import VERSION, Broken, Record
from llmsql.errors import CatalogError
from llmsql.syntax import quote

SCHEMA, TABLE = "llmsql", "deployments"
COLUMNS: Mapping[str, str] = {
    "name": "VARCHAR",
    "kind": "VARCHAR",
    "backend": "VARCHAR",
    "source": "VARCHAR",
    "path": "VARCHAR",
    "model_type": "VARCHAR",
    "options": "JSON",
    "defaults": "JSON",
    "withheld": "JSON",
    "gpus": "DOUBLE",
    "replicas": "INTEGER",
    "concurrency": "INTEGER",
    "dimension": "INTEGER",
    "created": "TIMESTAMP",
    "version": "INTEGER",
}


class Catalog:
    """What one database remembers. It is reached by *root*, of which a cursor is made each time."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._lock = threading.Lock()
        with closing(root.cursor()) as con:
            ((self._database, path, self._is_read_only),) = con.execute(
                "SELECT database_name, path, readonly FROM duckdb_databases()"
                " WHERE database_name = current_database()"
            ).fetchall()
        self._is_file = bool(path)

    @property
    def is_writable(self) -> bool:
        """True where something can be remembered."""
        return self._is_file and not self._is_read_only

    def records(self) -> tuple[list[Record], list[str]]:
        """What is remembered, in the order of deploying, and what is wrong with the rest."""
        if not self._is_file:
            return [], []
        try:
            with closing(self._root.cursor()) as con:
                rows = self._rows(con)
        except CatalogError as error:
            return [], [f"what the database remembers is left alone: {error}"]
        records: list[Record] = []
        problems: list[str] = []
        for row in rows:
            try:
                records.append(Record.read(row))
            except Broken as error:
                problems.append(
                    f'the row of model "{row["name"]}" in {SCHEMA}.{TABLE} is skipped: {error}\n'
                    f"  deploy the model again, or DELETE FROM {SCHEMA}.{TABLE} the row"
                )
        return records, problems

    def put(self, record: Record) -> None:
        """Remember *record* in place of another of its name."""
        if not self.is_writable:
            return
        row = record.row()
        columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
        with self._lock, closing(self._root.cursor()) as con:
            con.begin()
            self._rows(con)  # raises where the table is not ours to change
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")
            con.execute(f"CREATE TABLE IF NOT EXISTS {self._table} ({columns})")
            self._delete(con, record.name)
            con.execute(
                f"INSERT INTO {self._table} ({', '.join(row)})"
                f" VALUES ({', '.join('?' * len(row))})",
                list(row.values()),
            )
            con.commit()

    def forget(self, name: str) -> None:
        """Remember no deployment called *name*; raises CatalogError where that cannot be."""
        if not self._is_file:
            return
        with self._lock, closing(self._root.cursor()) as con:
            if not any(str(row["name"]).lower() == name.lower() for row in self._rows(con)):
                return
            if self._is_read_only:
                raise CatalogError("the database is opened read-only")
            self._delete(con, name)

    @property
    def _schema(self) -> str:
        """The schema's name with its database's: that one may be called llmsql as well."""
        return f"{quote.identifier(self._database)}.{SCHEMA}"

    @property
    def _table(self) -> str:
        return f"{self._schema}.{TABLE}"

    def _rows(self, con: Any) -> list[dict[str, Any]]:
        """The table's rows, none where it is missing; raises CatalogError where it is not ours."""
        found = con.execute(
            "SELECT 1 FROM duckdb_tables()"
            " WHERE database_name = ? AND schema_name = ? AND table_name = ?",
            [self._database, SCHEMA, TABLE],
        ).fetchall()
        if not found:
            return []
        try:
            result = con.execute(f"FROM {self._table}")
            names = [column[0] for column in result.description]
            rows = [dict(zip(names, values, strict=True)) for values in result.fetchall()]
        except duckdb.Error as error:
            raise CatalogError(f"{SCHEMA}.{TABLE} cannot be read: {error}") from error
        versions = [row["version"] for row in rows if isinstance(row.get("version"), int)]
        if max(versions, default=0) > VERSION:
            raise CatalogError(
                f"{SCHEMA}.{TABLE} is of version {max(versions)}, and this llmsql reads {VERSION}\n"
                "  pip install --upgrade duckdb-llmsql"
            )
        if missing := COLUMNS.keys() - set(names):
            raise CatalogError(f"{SCHEMA}.{TABLE} has no column {', '.join(sorted(missing))}")
        return rows

    def _delete(self, con: Any, name: str) -> None:
        con.execute(f"DELETE FROM {self._table} WHERE lower(name) = lower(?)", [name])
