"""What a script may say beyond DuckDB's SQL: our statements, `${name}`, macros, cells, Spark's SQL.

Owns the variables of a connection and which statement is read how. DuckDB's SQL that DuckDB can
read and bind is never translated. How a statement runs is its own and the session's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import duckdb

from llmsql.errors import StatementError, suggestion
from llmsql.runtime.session import Scope, Session
from llmsql.statements import Rows, classes, parse
from llmsql.syntax import cell, grammar, positional, quote, script, spark
from llmsql.syntax.script import Piece
from llmsql.syntax.variables import Variables

if TYPE_CHECKING:
    from llmsql.connection import Connection

_UNREADABLE = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
BYZER = "!byzerllm"


class Dialect:
    """The reading of one connection's scripts.

    *is_byzer* becomes true with the first statement that only Byzer has. From then on a table's
    alias at the end of a SELECT also names its result, as it does there.
    """

    def __init__(self, connection: Connection, session: Session, variables: Variables) -> None:
        self.connection = connection
        self.session = session
        self.variables = variables
        self.is_byzer = False
        self._running: list[str] = []  # macros, the innermost last

    def pieces(self, text: str) -> Iterator[Piece]:
        """Yield the statements of *text*; a chat cell is one."""
        if cell.read(text) is not None:
            yield Piece(text, line=1, is_ours=False, is_closed=True)
        else:
            yield from script.split(text)

    def concerns(self, piece: Piece) -> bool:
        """True when DuckDB must not be given *piece* as it stands."""
        return (
            piece.is_ours
            or self.variables.splice(piece.text) != piece.text
            or cell.read(piece.text) is not None
            or self._named(piece.text) is not None
        )

    def run(self, piece: Piece, parameters: Any, scope: Scope) -> Rows | None:
        """Run one statement; returns the rows of one of ours, else they are pending."""
        if piece.is_ours:
            self.session.clear()
            return self._ours(piece.text, scope)
        if (text := cell.read(piece.text)) is not None:
            return self._script(text, scope)
        self._duckdb(self.variables.splice(piece.text), parameters, scope)
        return None

    def _ours(self, text: str, scope: Scope) -> Rows | None:
        first = grammar.tokens(text)[0].text
        self.is_byzer |= first.lower() == BYZER
        if first.startswith("!") and not _is_command(first):
            return self._macro(first.removeprefix("!"), text, scope)
        statement = parse(text, self.variables.expand)
        self.is_byzer |= statement.is_byzer
        return statement.run(self.connection)

    def _macro(self, name: str, text: str, scope: Scope) -> Rows | None:
        """Run the script that the variable *name* holds, with the words of *text* put in."""
        if name not in self.variables:
            known = [f"!{variable}" for variable in self.variables] + sorted(_commands())
            raise StatementError(
                f'there is no command "!{name}"{suggestion(f"!{name}", known)}\n'
                "  !llm help; shows what there is; set NAME='''…'''; makes a command !NAME"
            )
        if name in self._running:
            raise StatementError(f'the command "!{name}" calls itself')
        words = [self.variables.expand(token.value) for token in grammar.tokens(text)[1:]]
        self._running.append(name)
        try:
            return self._script(positional.fill(self.variables[name], words), scope)
        finally:
            self._running.pop()

    def _script(self, text: str, scope: Scope) -> Rows | None:
        rows = None
        for piece in script.split(text):
            rows = self.run(piece, None, scope)
        return rows

    def _named(self, sql: str) -> spark.Named | None:
        found = spark.named(sql)
        return found if found and (found.is_foreign or self.is_byzer) else None

    def _duckdb(self, sql: str, parameters: Any, scope: Scope) -> None:
        found = self._named(sql)
        if found is not None:
            self._keep(found, sql, parameters, scope)
            return
        try:
            self.session.execute(sql, parameters, scope)
        except duckdb.Error as error:
            translated = spark.translate(sql) if spark.is_likely(sql) else None
            if translated is None or not is_unreadable(error):
                raise
            self.session.execute(translated, parameters, scope)

    def _keep(self, found: spark.Named, sql: str, parameters: Any, scope: Scope) -> None:
        """Run `select … as t`: its rows become the temporary table t, and are then pending.

        A view, which Byzer makes of it, would ask the models again at every reading.
        """
        name = quote.identifier(found.name)
        head = f"CREATE OR REPLACE TEMP TABLE {name} AS "
        try:
            self.session.execute(head + found.body, parameters, scope)
        except duckdb.Error as error:
            if not is_unreadable(error):
                raise
            translated = spark.translate(found.body)
            if translated is None:  # what DuckDB says of the user's own text is what helps
                self.session.execute(sql, parameters, scope)
                raise
            self.session.execute(head + translated, parameters, scope)
        self.is_byzer = True
        self.session.execute(f"SELECT * FROM temp.main.{name}", None, scope)


def is_unreadable(error: duckdb.Error) -> bool:
    """True when DuckDB could not read or bind a statement, and so ran nothing of it."""
    if isinstance(error, duckdb.InvalidInputException):  # the schema of DuckDB's from_json
        return "Malformed JSON" in str(error)
    return isinstance(error, _UNREADABLE)


def _commands() -> set[str]:
    return {cls.syntax.split()[0] for cls in classes() if cls.syntax.startswith("!")}


def _is_command(word: str) -> bool:
    return grammar.ALIASES.get(word.lower(), word.lower()) in _commands()
