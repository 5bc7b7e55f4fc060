"""`!llm help`: what there is to type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from llmsql.errors import CatalogError, suggestion
from llmsql.statements.base import Rows, Statement
from llmsql.workspace import Workspace


@dataclass(frozen=True)
class Help(Statement):
    """Show the statements, or those that have these words: `!llm help model`."""

    syntax: ClassVar[str] = "!llm help [<statement>]"
    statement: str | None = None

    def run(self, workspace: Workspace) -> Rows:
        """One row a statement: its syntax and what it does."""
        from llmsql.statements import classes

        rows = [(cls.syntax + ";", (cls.__doc__ or "").split("\n", 1)[0]) for cls in classes()]
        if self.statement:
            asked = self.statement.lower().removeprefix("!llm ").split()
            found = [row for row in rows if set(asked) <= set(row[0].lower().rstrip(";").split())]
            if not found:
                words = {w for row in rows for w in row[0].rstrip(";").split() if w.isalpha()}
                unknown = next(
                    (w for w in asked if w not in {known.lower() for known in words}), asked[-1]
                )
                raise CatalogError(
                    f"no statement has {'the words' if asked[1:] else 'the word'} "
                    f'"{" ".join(asked)}"{suggestion(unknown, words)}'
                    "\n  !llm help; shows them all"
                )
            rows = found
        return Rows(("syntax text", "meaning text"), rows)
