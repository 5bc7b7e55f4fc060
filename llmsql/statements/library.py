"""`!llm library`: the SQL functions of `udfs/`, shown, copied and made permanent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from llmsql.errors import CatalogError, suggestion
from llmsql.functions import library
from llmsql.statements.base import Rows, Statement
from llmsql.workspace import Workspace

COLUMNS = ("function text", "meaning text")


@dataclass(frozen=True)
class LibraryList(Statement):
    """Show the SQL functions that come with llmsql, and those of your own folder."""

    syntax: ClassVar[str] = "!llm library list"

    def run(self, workspace: Workspace) -> Rows:
        """One row a function: its signature and what it is for."""
        found = library.all_macros(workspace.settings.udf_folder)
        return Rows(COLUMNS, [(macro.signature, macro.comment) for macro in found])


@dataclass(frozen=True)
class LibraryInstall(Statement):
    """Make the library's functions permanent in this database, for its other clients."""

    syntax: ClassVar[str] = "!llm library install"

    def run(self, workspace: Workspace) -> Rows:
        """Create the macros; one row each."""
        installed = workspace.install_library()
        return Rows(COLUMNS, [(macro.signature, macro.comment) for macro in installed])


@dataclass(frozen=True)
class LibraryCopy(Statement):
    """Copy a library function into your own folder, to be changed there."""

    syntax: ClassVar[str] = "!llm library copy <name>"
    name: str

    def run(self, workspace: Workspace) -> Rows:
        """Write the file; raises CatalogError for an unknown name, or where no folder is set."""
        by_name = {macro.name: macro for macro in library.shipped()}
        if self.name not in by_name:
            raise CatalogError(
                f'the library has no function "{self.name}"{suggestion(self.name, by_name)}'
                "\n  !llm library list shows them"
            )
        folder = workspace.settings.udf_folder
        if not folder:
            raise CatalogError(
                'there is no folder to copy to\n  !llm setup "udf_folder=PATH" names one'
            )
        target = Path(folder).expanduser() / f"{self.name}.sql"
        if target.exists():
            raise CatalogError(f'"{target}" is there already')
        try:
            target.write_text(by_name[self.name].text, encoding="utf-8")
        except OSError as error:
            raise CatalogError(f'"{target}" cannot be written: {error.strerror}') from error
        return Rows(("path text",), [(str(target),)])
