"""The SQL functions of `udfs/`: files with one macro each, installed on every connection.

A file is its comment, a `CREATE OR REPLACE MACRO`, a `COMMENT ON MACRO`, and its tested examples
in a block comment. Folders are topics only; a user's own folder comes later and wins.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import duckdb

from llmsql.errors import CatalogError
from llmsql.syntax import quote, script

log = logging.getLogger("llmsql")

_HEADER = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP(?:ORARY)?\s+)?(?:MACRO|FUNCTION)\s+", re.IGNORECASE
)
_COMMENT = re.compile(r"COMMENT\s+ON\s+MACRO\s+(?:TABLE\s+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Macro:
    """One file of the library: the macro's name is the file's."""

    name: str
    path: Path
    text: str

    @cached_property
    def statements(self) -> list[str]:
        """Its SQL statements, without the examples; kept, as every connection runs them."""
        return [piece.text for piece in script.split(self.text)]

    @property
    def comment(self) -> str:
        """Its first line: what it is for."""
        return self.text.split("\n", 1)[0].removeprefix("--").strip()

    @cached_property
    def signature(self) -> str:
        """Its name and parameters."""
        match = re.search(r"MACRO\s+(\w+\([^)]*\))", self.text)
        return match[1] if match else self.name

    @property
    def examples(self) -> str:
        """Its tested examples, in sqllogictest form."""
        match = re.search(r"/\*\n(query.*?)\*/", self.text, re.DOTALL)
        return match[1] if match else ""


def folder() -> Path:
    """Where the library's files are: inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent.parent
    return package / "udfs" if (package / "udfs").is_dir() else package.parent / "udfs"


def macros(path: Path) -> Iterator[Macro]:
    """Yield the macros under *path*, by name."""
    for file in sorted(path.rglob("*.sql"), key=lambda file: file.stem):
        try:
            yield Macro(file.stem, file, file.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            log.warning("%s is left out: %s", file, error)


@cache
def shipped() -> tuple[Macro, ...]:
    """The macros that come with llmsql."""
    return tuple(macros(folder()))


def install(con: Any, own_folder: str | None) -> dict[str, str]:
    """Make the library's macros, and those of *own_folder*, temporary macros of *con*.

    Returns their signatures by name.

    A broken file is logged by its name and left out; raises CatalogError when there is no such
    folder.
    """
    installed = all_macros(own_folder)
    for macro, error in _failed(con, installed, _temporary):
        log.warning("%s is left out: %s", macro.path, error)
    return {macro.name: macro.signature for macro in installed}


def remove(con: Any, names: Iterable[str]) -> None:
    """Drop the temporary macros *names* of *con*, scalar or table."""
    for name in names:
        for kind in ("MACRO", "MACRO TABLE"):
            with suppress(duckdb.CatalogException):
                con.execute(f"DROP {kind} IF EXISTS temp.main.{quote.identifier(name)}")


def install_permanently(con: Any, own_folder: str | None) -> list[Macro]:
    """Create the macros in the database of *con*, for its other clients; returns them."""
    installed = all_macros(own_folder)
    for _, error in _failed(con, installed, str):
        raise error
    return installed


def all_macros(own_folder: str | None) -> list[Macro]:
    """The shipped macros and those of *own_folder*, which win by name.

    Raises CatalogError when it is no folder.
    """
    found = {macro.name: macro for macro in shipped()}
    if own_folder:
        path = Path(own_folder).expanduser()
        if not path.is_dir():
            raise CatalogError(
                f'udf_folder "{own_folder}" is no folder\n  to make one: mkdir -p "{path}"'
            )
        found |= {macro.name: macro for macro in macros(path)}
    return list(found.values())


def _failed(
    con: Any, macros: Sequence[Macro], spelled: Callable[[str], str]
) -> list[tuple[Macro, duckdb.Error]]:
    """Run the statements of *macros* as *spelled*; returns those of which one fails, and why.

    They are tried again as long as others succeed: DuckDB makes no macro before what it calls.
    """
    while True:
        failed = []
        for macro in macros:
            try:
                for statement in macro.statements:
                    con.execute(spelled(statement))
            except duckdb.Error as error:
                failed.append((macro, error))
        is_aborted = any(isinstance(error, duckdb.TransactionException) for _, error in failed)
        if is_aborted or len(failed) in (0, len(macros)):
            return failed
        macros = [macro for macro, _ in failed]


def _temporary(statement: str) -> str:
    text = script.uncommented(statement)
    if header := _HEADER.match(text):
        return "CREATE OR REPLACE TEMP MACRO " + text[header.end() :]
    if comment := _COMMENT.match(text):
        return f"{comment[0]}temp.main.{text[comment.end() :]}"
    raise CatalogError("a file of the library makes one macro, and says what it is for")
