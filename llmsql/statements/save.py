"""`SAVE overwrite table AS format.`path``: a table as files. Spec D08.

A path with the format's own ending is one file; any other is a folder of parts, as Spark has it.
What is deleted to overwrite is only what a SAVE, Spark's or ours, has written: a folder that holds
anything else is refused.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from llmsql.errors import CatalogError, OptionError, StatementError, suggestion
from llmsql.statements.base import Rows, Statement
from llmsql.syntax import quote
from llmsql.workspace import Workspace

MODES = ("overwrite", "append", "ignore", "errorIfExists")
OPTIONS = {
    "csv": {"header": "HEADER", "delimiter": "DELIM", "sep": "DELIM", "quote": "QUOTE",
            "escape": "ESCAPE", "nullvalue": "NULLSTR", "compression": "COMPRESSION"},
    "json": {"compression": "COMPRESSION"},
    "parquet": {"compression": "COMPRESSION"},
}  # fmt: skip
"""The formats, and their options as Spark and as DuckDB calls them."""

COLUMNS = ("path text", "rows integer")
PART = "part-"
_WRITTEN = re.compile(r"part-[\w.=-]+|_SUCCESS|\.[\w.=-]+\.crc")
"""The names of files that a SAVE writes, Spark's marks among them."""


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

    def run(self, workspace: Workspace) -> Rows:
        """Write what the mode allows; returns the path and the rows written."""
        mode = {name.lower(): name for name in MODES}.get(self.mode.lower())
        if mode is None:
            raise StatementError(
                f'SAVE has no mode "{self.mode}"{suggestion(self.mode, MODES)}\n'
                f"  modes: {', '.join(MODES)}"
            )
        try:
            return self._saved(workspace, mode, _target(self.path))
        except OSError as error:
            raise CatalogError(f'cannot save to "{self.path}": {error.strerror}') from error

    def _saved(self, workspace: Workspace, mode: str, target: Path) -> Rows:
        options = self._options()
        if target.exists() and mode == "errorIfExists":
            raise CatalogError(f'"{target}" exists\n  SAVE overwrite or SAVE append writes to it')
        if target.exists() and mode == "ignore":
            return Rows(COLUMNS, [(str(target), 0)])
        if mode == "append" and self._is_file(target):
            raise CatalogError(f'SAVE append needs a folder, and "{target}" is a file')
        if target.exists():
            _check(target, is_file=self._is_file(target))
        count = self._written(workspace, target, options, is_added=mode == "append")
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
            if key.lower() == "filenum":  # DuckDB writes one part, whatever Spark would
                continue
            if key.lower() not in names:
                raise OptionError(
                    f'format "{self.format}" has no option "{key}"{suggestion(key, names)}\n'
                    f"  its options: {', '.join(names)}"
                )
            given.append(f"{names[key.lower()]} {quote.literal(value)}")
        if self.columns:
            columns = ", ".join(map(quote.identifier, self.columns))
            given += [f"PARTITION_BY ({columns})", f"FILENAME_PATTERN '{PART}{{i}}'"]
        return ", ".join(given)

    def _is_file(self, target: Path) -> bool:
        has_ending = target.suffix.lower() == f".{self.format.lower()}"
        return not self.columns and has_ending and not target.is_dir()

    def _written(self, workspace: Workspace, target: Path, options: str, *, is_added: bool) -> int:
        """Write beside *target* first: a failure leaves what was there."""
        mark = uuid.uuid4().hex[:12]
        if not target.parent.exists():
            workspace.refuse_without_files("make a folder")
            target.parent.mkdir(parents=True)
        beside = target.with_name(f".{target.name}.{mark}")
        part = beside
        if not self.columns and not self._is_file(target):
            beside.mkdir()
            part = beside / f"{PART}{mark}.{self.format.lower()}"
        try:
            query = f"SELECT * FROM {quote.identifier(self.table)}"
            rows = workspace.run(f"COPY ({query}) TO {quote.literal(str(part))} ({options})")
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

    def run(self, workspace: Workspace) -> Rows:
        """As SAVE errorIfExists, which is Byzer's default."""
        return Save(
            "errorIfExists", self.table, self.format, self.path, self.pairs, self.columns
        ).run(workspace)


def _target(path: str) -> Path:
    """The local file or folder that *path* names, links followed."""
    path = path.removeprefix("file://")
    if not path.strip("\0 ") or "\0" in path:
        raise CatalogError("SAVE needs the path of a file or a folder")
    if "://" in path:
        raise CatalogError(
            f"SAVE writes to this machine, not to \"{path}\"\n  COPY table TO '{path}' writes there"
        )
    return Path(path).expanduser().resolve()


def _check(target: Path, *, is_file: bool) -> None:
    """Raise CatalogError unless all that is at *target* was written by a SAVE, or is that file."""
    if is_file and target.is_file():
        return
    if not target.is_dir():
        raise CatalogError(f'"{target}" is not a folder: SAVE leaves it alone')
    if target in (Path.cwd(), *Path.cwd().parents, Path.home()):
        raise CatalogError(f'"{target}" is a folder that this process works in, no table')
    for path in _inside(target):
        if not path.is_dir() and not _WRITTEN.fullmatch(path.name):
            raise CatalogError(
                f'"{target}" holds "{path.relative_to(target)}", which no SAVE wrote\n'
                "  empty the folder yourself, or save to another"
            )


def _inside(folder: Path) -> list[Path]:
    """What is in *folder*, its own folders behind what they hold; links are not followed."""
    return [
        Path(root) / name
        for root, folders, files in os.walk(folder, topdown=False)
        for name in (*files, *folders)
    ]


def _replace(written: Path, target: Path) -> None:
    """Put *written* where *target* is, and delete what was there, file by file."""
    old = target.with_name(f"{written.name}.old")
    if target.exists():
        target.rename(old)
    try:
        written.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    if not old.is_dir():
        old.unlink(missing_ok=True)
        return
    for path in _inside(old):
        if path.is_dir():
            path.rmdir()
        elif _WRITTEN.fullmatch(path.name):
            path.unlink()
    old.rmdir()


def _add(written: Path, target: Path, mark: str) -> None:
    """Move the files of *written* into *target*, under names of their own."""
    for file in (path for path in _inside(written) if path.is_file()):
        place = target / file.relative_to(written)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(place.with_name(f"{PART}{mark}-{place.name.removeprefix(PART)}"))
