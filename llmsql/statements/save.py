"""`SAVE overwrite table AS format.`path``: a table as files. Spec D08.

A path with the format's own ending is one file; any other is a folder of parts, as Spark has it.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from llmsql.errors import CatalogError, OptionError, StatementError, suggestion
from llmsql.statements.base import Rows, Statement
from llmsql.syntax import quote

if TYPE_CHECKING:
    from llmsql.connection import Connection

MODES = ("overwrite", "append", "ignore", "errorIfExists")
OPTIONS = {
    "csv": {"header": "HEADER", "delimiter": "DELIM", "sep": "DELIM", "quote": "QUOTE",
            "escape": "ESCAPE", "nullvalue": "NULLSTR", "compression": "COMPRESSION"},
    "json": {"compression": "COMPRESSION"},
    "parquet": {"compression": "COMPRESSION"},
}  # fmt: skip
"""The formats, and their options as Spark and as DuckDB calls them."""

COLUMNS = ("path text", "rows integer")


@dataclass(frozen=True)
class Save(Statement):
    """Write a table to files; overwrite replaces them only once all is written."""

    syntax: ClassVar[str] = (
        "SAVE <mode> <table> AS <format>.`<path>` [WHERE <pairs>] [PARTITIONBY <columns>]"
    )
    is_byzer: ClassVar[bool] = True
    mode: str
    table: str
    format: str
    path: str
    pairs: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    def run(self, connection: Connection) -> Rows:
        """Write what the mode allows; returns the path and the rows written."""
        mode = {name.lower(): name for name in MODES}.get(self.mode.lower())
        if mode is None:
            raise StatementError(
                f'SAVE has no mode "{self.mode}"{suggestion(self.mode, MODES)}\n'
                f"  modes: {', '.join(MODES)}"
            )
        options = self._options()
        target = Path(self.path.removeprefix("file://")).expanduser()
        if target.exists() and mode == "errorIfExists":
            raise CatalogError(f'"{target}" exists\n  SAVE overwrite or SAVE append writes to it')
        if target.exists() and mode == "ignore":
            return Rows(COLUMNS, [(str(target), 0)])
        if mode == "append" and (target.is_file() or self._is_file(target)):
            raise CatalogError(f'SAVE append needs a folder, and "{target}" is a file')
        count = self._written(connection, target, options, is_added=mode == "append")
        return Rows(COLUMNS, [(str(target), count)])

    def _options(self) -> str:
        if self.format.lower() not in OPTIONS:
            raise StatementError(
                f'there is no format "{self.format}" to save{suggestion(self.format, OPTIONS)}\n'
                f"  formats: {', '.join(OPTIONS)}"
            )
        names = OPTIONS[self.format.lower()]
        given = [f"FORMAT {self.format}"]
        if self.format.lower() == "csv" and "header" not in map(str.lower, self.pairs):
            given.append("HEADER false")  # Spark's default
        for key, value in self.pairs.items():
            if key.lower() not in names:
                raise OptionError(
                    f'format "{self.format}" has no option "{key}"{suggestion(key, names)}\n'
                    f"  its options: {', '.join(names)}"
                )
            given.append(f"{names[key.lower()]} {quote.literal(value)}")
        if self.columns:
            given.append(f"PARTITION_BY ({', '.join(map(quote.identifier, self.columns))})")
        return ", ".join(given)

    def _is_file(self, target: Path) -> bool:
        return not self.columns and target.suffix.lower() == f".{self.format.lower()}"

    def _written(
        self, connection: Connection, target: Path, options: str, *, is_added: bool
    ) -> int:
        """Write beside *target* first: a failure leaves what was there."""
        mark = uuid.uuid4().hex[:12]
        if not target.parent.exists():
            connection.refuse_without_files("make a folder")
            target.parent.mkdir(parents=True)
        beside = target.with_name(f".{target.name}.{mark}")
        part = beside
        if not self.columns and not self._is_file(target):
            beside.mkdir()
            part = beside / f"part-{mark}.{self.format.lower()}"
        try:
            query = f"SELECT * FROM {quote.identifier(self.table)}"
            rows = connection.run(f"COPY ({query}) TO {quote.literal(str(part))} ({options})")
            if is_added:
                _add(beside, target, mark)
            else:
                _replace(beside, target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            beside.unlink(missing_ok=True)
        return int(rows[0][0])


@dataclass(frozen=True)
class SaveNew(Statement):
    """Write a table to files that do not exist yet."""

    syntax: ClassVar[str] = (
        "SAVE <table> AS <format>.`<path>` [WHERE <pairs>] [PARTITIONBY <columns>]"
    )
    is_byzer: ClassVar[bool] = True
    table: str
    format: str
    path: str
    pairs: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    def run(self, connection: Connection) -> Rows:
        """As SAVE errorIfExists, which is Byzer's default."""
        return Save(
            "errorIfExists", self.table, self.format, self.path, self.pairs, self.columns
        ).run(connection)


def _replace(written: Path, target: Path) -> None:
    old = target.with_name(f"{written.name}.old")
    if target.exists():
        target.rename(old)
    written.rename(target)
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)


def _add(written: Path, target: Path, mark: str) -> None:
    """Move the files of *written* into *target*, under names of their own."""
    for file in sorted(path for path in written.rglob("*") if path.is_file()):
        place = target / file.relative_to(written)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(place.with_name(f"{mark}-{place.name}"))
