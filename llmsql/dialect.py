"""What a script may say beyond DuckDB's SQL: our statements, `${name}`, macros, cells, Spark's SQL.

Owns the variables of a connection and which statement is read how. DuckDB's SQL that DuckDB can
read and bind is never translated. How a statement runs is its own and the session's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import duckdb

from llmsql.errors import StatementError, suggestion
from llmsql.runtime.scope import Scope
from llmsql.statements import Rows, classes, parse
from llmsql.syntax import cell, grammar, positional, quote, script, spark
from llmsql.syntax.script import Piece
from llmsql.workspace import Workspace

_UNREADABLE = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
_TABLES = """
    SELECT 1 FROM duckdb_tables() WHERE lower(table_name) = $1
    UNION ALL SELECT 1 FROM duckdb_views() WHERE lower(view_name) = $1 AND NOT internal
"""
BYZER = "!byzerllm"


class Dialect:
    """The reading of one connection's scripts.

    *is_byzer* becomes true with the first statement that only Byzer has. From then on a table's
    alias at the end of a SELECT also names its result, as it does there.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.session = workspace.session
        self.variables = workspace.variables
        self.is_byzer = False
        self._running: list[str] = []  # macros, the innermost last

    def pieces(self, text: str) -> Iterator[Piece]:
        """Yield the statements of *text*; a chat cell is one."""
        return script.split(text)

    def concerns(self, piece: Piece) -> bool:
        """True when DuckDB must not be given *piece* as it stands."""
        return (
            piece.is_ours
            or self.variables.splice(piece.text) != piece.text
            or cell.is_cell(piece.text)
            or self._named(piece.text) is not None
            or self.session.calls_models(piece.text)
        )

    def may_concern(self, piece: Piece) -> bool:
        """True where DuckDB must not be given *piece*, or may not be able to read it."""
        return self.concerns(piece) or self.may_be_spark(piece.text)

    def may_be_spark(self, sql: str) -> bool:
        """True when *sql* is worth a second reading if DuckDB cannot bind it."""
        return spark.may_be(sql, is_byzer=self.is_byzer)

    def run(self, piece: Piece, parameters: Any, scope: Scope) -> Rows | None:
        """Run one statement; returns the rows of one of ours, else they are pending."""
        if piece.is_ours:
            self.session.clear()
            return self._ours(piece.text, scope)
        if (text := cell.read(piece.text)) is not None:
            return self._script(text, scope)
        self._duckdb(piece.text, parameters, scope)
        return None

    def run_many(self, pieces: Sequence[Piece], sets: Sequence[Any], scope: Scope) -> bool:
        """Run a script with each of *sets* where that is one INSERT, which asks models together.

        Returns False where it is not, and nothing was done.
        """
        if len(pieces) != 1 or pieces[0].is_ours or cell.read(pieces[0].text) is not None:
            return False
        return self.session.insert_many(self.variables.splice(pieces[0].text), sets, scope)

    def _ours(self, text: str, scope: Scope) -> Rows | None:
        if self._is_setting(text, scope):
            return None
        first = grammar.tokens(text)[0].text
        self.is_byzer |= first.lower() == BYZER
        if first.startswith("!") and not _is_command(first):
            return self._macro(first.removeprefix("!"), text, scope)
        statement = parse(text, self.variables.expand)
        self.is_byzer |= statement.is_byzer
        return statement.run(self.workspace)

    def _is_setting(self, text: str, scope: Scope) -> bool:
        """Run *text* where it is a SET that DuckDB takes: an extension not loaded yet has some."""
        if not script.is_plain_set(text) or self.session.in_transaction():
            return False
        try:
            self.session.execute(text, None, scope)
        except (duckdb.CatalogException, duckdb.ParserException):
            return False
        return True

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
        words = [self._word(token.value) for token in grammar.tokens(text)[1:]]
        self._running.append(name)
        try:
            return self._script(positional.fill(self.variables[name], words), scope)
        finally:
            self._running.pop()

    def _word(self, word: str) -> str:
        """*word* with its variables, none of which may end what the macro puts it into."""
        expanded = self.variables.expand(word)
        if expanded != word and re.search(r"['\"`;\\$]|--|/\*", expanded):
            raise StatementError(f'the value of "{word}" holds what no word of a command may')
        return expanded

    def _script(self, text: str, scope: Scope) -> Rows | None:
        rows = None
        for piece in self.pieces(text):
            rows = self.run(piece, None, scope)
        return rows

    def _named(self, sql: str) -> spark.Named | None:
        """The name that a SELECT gives its result; none of a table that something else has made."""
        found = spark.named(sql, is_byzer=self.is_byzer)
        if found is None or found.is_foreign or found.name.lower() in self.workspace.kept:
            return found
        return None if self._is_taken(found.name) else found

    def _is_taken(self, name: str) -> bool:
        try:
            rows = self.session.con.execute(_TABLES, [name.lower()]).fetchall()
        except duckdb.Error:  # an aborted transaction
            return True
        return bool(rows)

    def _duckdb(self, sql: str, parameters: Any, scope: Scope) -> None:
        text = self.variables.splice(sql)
        found = self._named(text)
        try:
            if found is None:
                self.session.execute(text, parameters, scope)
            else:
                self._keep(found, parameters, scope)
        except duckdb.Error as error:
            if not is_unreadable(error):
                raise
            translated = self._translated(sql, found)
            if translated is None:
                if found is not None and found.is_foreign:
                    self.session.execute(text, parameters, scope)  # to say it of the user's text
                raise
            try:
                if found is None:
                    self.session.execute(translated, parameters, scope)
                else:
                    self._keep(replace(found, body=translated), parameters, scope)
            except duckdb.TransactionException:  # the first error has ended the user's transaction
                raise error from None

    def _translated(self, sql: str, found: spark.Named | None) -> str | None:
        """*sql*, or the query of *found*, read as Spark's; None where that is not to be.

        Values go into quoted texts afterwards: Spark's end elsewhere than DuckDB's.
        """
        text = self.session.engine.spelled_out(self.variables.splice(sql, is_code_only=True))
        if found is not None:
            named = self._named(text)
            body = named.body if named else ""
            translated = spark.translate(body) if spark.is_spark(body) else None
        else:
            is_wanted = spark.may_be(text, is_byzer=self.is_byzer)
            translated = spark.translate(text) if is_wanted else None
        return translated and self.variables.splice(translated)

    def _keep(self, found: spark.Named, parameters: Any, scope: Scope) -> None:
        """Run `select … as t`: its rows become the temporary table t, and are then pending.

        A view, which Byzer makes of it, would ask the models again at every reading.
        """
        name = quote.identifier(found.name)
        text = f"CREATE OR REPLACE TEMP TABLE {name} AS {found.body}"
        self.session.execute(text, parameters, scope)
        self.is_byzer = True
        self.workspace.kept.add(found.name.lower())
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
