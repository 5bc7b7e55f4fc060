"""The prompt: statements over several lines, and the dot commands.

Owns what is typed, and its history. Running statements and showing results is up to `console`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb

import llmsql
from llmsql.console import Console, notes
from llmsql.errors import suggestion
from llmsql.render import FORMATS
from llmsql.syntax import cell, script

PROMPT = "llmsql> "
CONTINUED = "   ...> "
_LEAVING = ("exit", "quit")  # as in other shells
HISTORY_LENGTH = 2000


class Shell:
    """A prompt on a console, until somebody leaves."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._pending = ""
        self._is_left = False

    def run(self) -> None:
        """Read and run until `.quit` or Ctrl-D; errors and Ctrl-C do not end it."""
        self.console.say(
            f"llmsql {llmsql.__version__} on DuckDB {duckdb.__version__}. "
            "Statements end with a semicolon; .help shows more, .quit leaves."
        )
        self.console.connection.confirm = self._confirm
        history = _open_history()
        try:
            while not self._is_left:
                self._turn()
        finally:
            _save_history(history)

    def _turn(self) -> None:
        """Take one line; run it when it completes a statement."""
        try:
            line = self._line(CONTINUED if self._pending else PROMPT)
            if not self._pending and (line.startswith(".") or line.strip(" ;") in _LEAVING):
                self._command(line if line.startswith(".") else f".{line.strip(' ;')}")
                return
            self._pending += line + "\n"
            if not _is_complete(self._pending):
                return
            text, self._pending = self._pending, ""
            self.console.run(text)
        except EOFError:
            self.console.say("")
            self._is_left = True
        except KeyboardInterrupt as error:
            said = "\n  ".join(["\ninterrupted", *notes(error)])
            self.console.say("" if self._pending else said)
            self._pending = ""

    def _confirm(self, said: str) -> bool:
        """Ask whether a statement of very many priced calls is meant."""
        self.console.say(said)
        try:
            return self._line("Go on? [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            return False

    def _line(self, prompt: str) -> str:
        if sys.stdout.isatty():
            return input(prompt)
        self.console.err.write(prompt)  # input() would write it among the results
        self.console.err.flush()
        return input()

    def _command(self, line: str) -> None:
        word, _, argument = line.strip().partition(" ")
        command = COMMANDS.get(word)
        if command is None:
            near = suggestion(word, COMMANDS)
            self.console.say(f'there is no command "{word}"{near}\n  .help shows them')
        else:
            command(self, argument.strip().rstrip(";"))

    def _help(self, argument: str) -> None:
        """.help             show this"""
        commands = dict.fromkeys(COMMANDS.values())  # .quit and .exit are one
        self.console.say("\n".join(str(command.__doc__) for command in commands))
        self.console.say("!llm help;        show llmsql's statements")

    def _mode(self, argument: str) -> None:
        """.mode NAME        show results as box, csv, json, markdown, …"""
        if argument in FORMATS:
            self.console.format = argument
        else:
            near = suggestion(argument, FORMATS)
            self.console.say(f'there is no mode "{argument}"{near}\n  modes: {", ".join(FORMATS)}')

    def _timer(self, argument: str) -> None:
        """.timer on|off     show how long statements take"""
        if argument in ("on", "off"):
            self.console.is_timed = argument == "on"
        else:
            self.console.say(f'.timer takes on or off, not "{argument}"')

    def _tables(self, argument: str) -> None:
        """.tables           list tables and views"""
        self.console.run("SHOW TABLES")

    def _read(self, argument: str) -> None:
        """.read FILE        run a script"""
        try:
            text = Path(argument).expanduser().read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            self.console.say(f'cannot read script "{argument}": {error}\n  .read FILE')
        else:
            self.console.run(text, argument)

    def _quit(self, argument: str) -> None:
        """.quit, .exit      leave; so does Ctrl-D"""
        self._is_left = True


COMMANDS: dict[str, Callable[[Shell, str], None]] = {
    ".help": Shell._help,
    ".mode": Shell._mode,
    ".timer": Shell._timer,
    ".tables": Shell._tables,
    ".read": Shell._read,
    ".quit": Shell._quit,
    ".exit": Shell._quit,
}


def _is_complete(text: str) -> bool:
    is_cell_complete = cell.is_complete(text)
    return script.is_complete(text) if is_cell_complete is None else is_cell_complete


def _open_history() -> Path | None:
    """Load the lines of earlier prompts; None where the platform cannot edit lines."""
    try:
        import readline
    except ImportError:
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    history = cache / "llmsql" / "history"
    try:
        readline.read_history_file(history)
    except OSError:  # the first time, or a file of another library
        readline.clear_history()
    return history


def _save_history(history: Path | None) -> None:
    """Keep the last lines; a home that cannot be written is no reason to complain on leaving."""
    if history is None:
        return
    import readline

    readline.set_history_length(HISTORY_LENGTH)
    try:
        history.parent.mkdir(parents=True, exist_ok=True)
        history.touch(mode=0o600)  # before anything is in it
        history.chmod(0o600)
        readline.write_history_file(history)
    except OSError:
        return
