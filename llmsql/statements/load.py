"""`LOAD format.`path` AS table`: files as a temporary table. Spec D06 to D08."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import duckdb

from llmsql.errors import CatalogError, LlmsqlError, OptionError, StatementError, suggestion
from llmsql.statements.base import Rows, Statement
from llmsql.syntax import quote
from llmsql.types import coerce
from llmsql.workspace import Workspace

WITHOUT_EFFECT = frozenset({"multiline", "mode", "charset"})
"""What Spark's readers need and DuckDB's find out."""

CSV_OPTIONS = {
    "header": "header",
    "delimiter": "delim",
    "sep": "delim",
    "quote": "quote",
    "escape": "escape",
    "comment": "comment",
    "nullvalue": "nullstr",
    "encoding": "encoding",
    "dateformat": "dateformat",
    "timestampformat": "timestampformat",
}
"""Spark's names of CSV options, and DuckDB's."""


@dataclass(frozen=True)
class Load(Statement):
    """Read files into a temporary table: csv, json, parquet, text, binaryFile, jsonStr."""

    syntax: ClassVar[str] = "LOAD <format>.`<path>` [WHERE <pairs>] AS <table>"
    is_byzer: ClassVar[bool] = True
    format: str
    path: str
    table: str
    pairs: Mapping[str, str] = field(default_factory=dict)

    def run(self, workspace: Workspace) -> Rows:
        """Make the table, in place of an earlier one; returns its name and its rows."""
        readers = {name.lower(): name for name in READERS}
        if self.format.lower() not in readers:
            raise StatementError(
                f'there is no format "{self.format}" to load{suggestion(self.format, READERS)}\n'
                f"  formats: {', '.join(READERS)}"
            )
        with tempfile.TemporaryDirectory() as folder:
            path = self.path
            if self.format.lower() == "jsonstr":
                path = _written(workspace.variables.expand(f"${{{path}}}"), Path(folder))
            read = READERS[readers[self.format.lower()]]
            try:
                query = read(_files(path), _Options(self.pairs), workspace)
                workspace.keep_query(query, self.table)
            except LlmsqlError:
                raise
            except duckdb.Error as error:
                raise CatalogError(f'load of "{self.path}" failed: {error}') from error
        count = workspace.run(f"SELECT count(*) FROM temp.{quote.identifier(self.table)}")[0][0]
        return Rows(("table text", "rows integer"), [(self.table, count)])


class _Options:
    """The WHERE of a LOAD, in any letter case; what is not taken is an error in the end."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self.pairs = {key.lower(): value for key, value in pairs.items()}

    def flag(self, name: str, default: bool) -> bool:
        """Take the option *name*, true or false."""
        value = self.pairs.pop(name, str(default))
        try:
            return bool(coerce(value, bool))
        except ValueError:
            raise OptionError(f'option "{name}" takes true or false, not "{value}"') from None

    def named(self, names: Mapping[str, str]) -> dict[str, Any]:
        """Take the options of *names*, called as DuckDB does."""
        return {names[key]: self.pairs.pop(key) for key in list(self.pairs) if key in names}

    def done(self, known: tuple[str, ...]) -> None:
        """Raise OptionError for an option that nobody took."""
        for key in self.pairs.keys() - WITHOUT_EFFECT:
            raise OptionError(
                f'this format has no option "{key}"{suggestion(key, known)}\n'
                f"  its options: {', '.join(known) or 'none'}"
            )


def _csv(files: list[str], options: _Options, workspace: Workspace) -> str:
    header = options.flag("header", False)
    given = {"delim": ",", "quote": '"', "escape": '"', **options.named(CSV_OPTIONS)}
    is_typed = options.flag("inferschema", False)
    options.done((*CSV_OPTIONS, "inferSchema"))
    given |= {"header": header, "all_varchar": not is_typed}
    given |= {"skip": 0, "allow_quoted_nulls": False}  # nothing is guessed
    source = f"read_csv({quote.literal(files)}{quote.arguments(given)})"
    if header:
        return f"SELECT * FROM {source}"
    columns = workspace.run(f"DESCRIBE SELECT * FROM {source}")
    names = ", ".join(
        f"{quote.identifier(row[0])} AS _c{index}" for index, row in enumerate(columns)
    )
    return f"SELECT {names} FROM {source}"


def _json(files: list[str], options: _Options, _: Workspace) -> str:
    options.flag("inferschema", True)
    options.done(("inferSchema",))
    return f"SELECT * FROM read_json({quote.literal(files)})"


def _parquet(files: list[str], options: _Options, _: Workspace) -> str:
    options.done(())
    return f"SELECT * FROM read_parquet({quote.literal(files)}, hive_partitioning = {_hive(files)})"


def _text(files: list[str], options: _Options, _: Workspace) -> str:
    is_whole = options.flag("wholetext", False)
    options.done(("wholetext",))
    read = f"read_text({quote.literal(files)})"
    if is_whole:
        return f"SELECT filename AS file, content AS value FROM {read}"
    text = r"regexp_replace(replace(content, chr(13) || chr(10), chr(10)), '\n\z', '')"
    lines = f"unnest(string_split({text}, chr(10)))"
    return f"SELECT filename AS file, {lines} AS value FROM {read} WHERE content <> ''"


def _binary(files: list[str], options: _Options, _: Workspace) -> str:
    options.done(())
    return (
        "SELECT filename AS path, last_modified AS modificationTime, size AS length, content"
        f" FROM read_blob({quote.literal(files)})"
    )


READERS: dict[str, Callable[[list[str], _Options, Any], str]] = {
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "text": _text,
    "binaryFile": _binary,
    "jsonStr": _json,
}
"""What can be loaded, and the query over the files."""


def _files(paths: str) -> list[str]:
    """The files of *paths*, which may be several with commas, globs and folders."""
    found: list[str] = []
    whole = paths.removeprefix("file://")
    parts = [whole] if os.path.exists(whole) else paths.split(",")
    for path in (part.strip().removeprefix("file://") for part in parts):
        if "://" in path:
            found.append(path)
            continue
        matches = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
        if not matches:
            raise CatalogError(f'there is no file "{path}"')
        for match in map(Path, matches):
            found += _inside(match) if match.is_dir() else [str(match)]
    return found


def _inside(folder: Path) -> list[str]:
    """The files of a folder that Spark or we may have written, without their marks."""
    files = [
        str(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(p[0] in "._" for p in file.relative_to(folder).parts)
    ]
    if not files:
        raise CatalogError(f'the folder "{folder}" has no files')
    return files


def _hive(files: list[str]) -> str:
    return str(all("=" in Path(file).parent.name for file in files)).lower()


def _written(text: str, folder: Path) -> str:
    file = folder / "lines.json"
    file.write_text(text, encoding="utf-8")
    return str(file)
