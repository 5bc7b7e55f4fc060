"""The command `llmsql`: its options, where scripts are read from, and the code it exits with.

Runs what it is given on one connection, in order. What a run prints is up to `console`; what
somebody types is up to `shell`.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import duckdb

import llmsql
from llmsql.console import Console, message, notes, silence
from llmsql.errors import CatalogError, LlmsqlError
from llmsql.render import FORMATS

MEMORY = ":memory:"
DESCRIPTION = """\
Run SQL in which each deployed language model is a function.

  llmsql                        type statements, in memory
  llmsql shop.duckdb            the same, on a database file, made if missing
  llmsql shop.duckdb a.sql b.sql -c "FROM t"
                                run scripts, then a statement, on one connection
  llmsql a.sql                  run a script in memory: a first argument that ends in .sql
                                is a script, not a database
  llmsql < a.sql                run what comes from standard input; so does the script -

Results go to standard output, all else to standard error. The first error ends the run."""
EPILOG = "Every option may be written with one dash or two. `!llm help;` lists the statements."


class Exit(IntEnum):
    """What the command exits with."""

    DONE = 0
    FAILED = 1
    """A statement failed, or a file could not be read."""
    MISUSED = 2
    """The command line makes no sense; argparse exits with this too."""
    INTERRUPTED = 130
    """Ctrl-C."""
    CUT = 141
    """The reader of the results has gone, as `head` does."""


@dataclass(frozen=True)
class Script:
    """SQL to run, and what errors call it."""

    text: str
    source: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_intermixed_args(
        [_one_dash(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    )
    for stream in (sys.stdout, sys.stderr):
        # What we write is UTF-8, and csv brings its own line ends.
        stream.reconfigure(encoding="utf-8", errors="replace", newline="")  # type: ignore[union-attr]
    try:
        return _run(options)
    except BrokenPipeError:
        silence(sys.stdout)
        return Exit.CUT
    except KeyboardInterrupt as error:
        sys.stderr.write("\n  ".join(["interrupted", *notes(error)]) + "\n")
        return Exit.INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    database, names = _positionals(options.files)
    is_prompt = not names and not options.command and sys.stdin.isatty()
    if not names and not options.command and not is_prompt:
        names = ["-"]
    try:
        scripts = [_read(name) for name in ([options.init] if options.init else []) + names]
        # Where the locale is not UTF-8, Python has not decoded the arguments.
        given = [os.fsencode(text).decode("utf-8", "replace") for text in options.command]
        scripts += [Script(text, "-c") for text in given]
        connection = _connect(database, options.readonly)
    except LlmsqlError as error:
        sys.stderr.write(f"llmsql: {error}\n")
        return Exit.FAILED
    with connection:
        console = Console(
            connection,
            sys.stdout,
            sys.stderr,
            format=options.format,
            is_timed=options.timer,
            is_echoing=options.echo,
        )
        if not all(console.run(script.text, script.source) for script in scripts):
            return Exit.FAILED
        if is_prompt:
            from llmsql.shell import Shell

            Shell(console).run()
    return Exit.DONE


def _positionals(files: list[str]) -> tuple[str, list[str]]:
    """Tell the database from the scripts."""
    if not files:
        return MEMORY, []
    if files[0] == "-" or files[0].lower().endswith(".sql"):
        return MEMORY, files
    return files[0], files[1:]


def _read(name: str) -> Script:
    try:
        # Bytes, so that the line ends in quoted texts stay as they are.
        given = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return Script(given.decode("utf-8-sig"), "stdin" if name == "-" else name)
    except FileNotFoundError:
        raise CatalogError(
            f'there is no script "{name}"\n  usage: llmsql [DATABASE] [SCRIPT ...]'
        ) from None
    except IsADirectoryError:
        raise CatalogError(f'script "{name}" is a directory\n  name a file in it') from None
    except UnicodeDecodeError as error:
        raise CatalogError(f'script "{name}" is not UTF-8 text\n  {error}') from error
    except OSError as error:
        raise CatalogError(f'cannot read script "{name}": {error.strerror}') from error


def _connect(database: str, read_only: bool) -> llmsql.Connection:
    try:
        return llmsql.connect(database, read_only=read_only)
    except LlmsqlError:
        raise
    except duckdb.Error as error:
        raise CatalogError(f'cannot open database "{database}"\n  {message(error)}') from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llmsql",
        usage="llmsql [OPTIONS] [DATABASE] [SCRIPT ...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("files", nargs="*", help=argparse.SUPPRESS)
    add("-c", dest="command", action="append", default=[], metavar="SQL", help="run SQL and leave")
    add("-init", metavar="FILE", help="run FILE first")
    add("-readonly", action="store_true", help="do not change the database")
    for name, render in FORMATS.items():
        about = (render.__doc__ or "").rstrip(".")
        about = f"results as {about[:1].lower()}{about[1:]}"
        add(f"-{name}", dest="format", action="store_const", const=name, default="box", help=about)
    add("-echo", action="store_true", help="show each statement before it runs")
    add("-timer", action="store_true", help="show how long each statement took")
    add("-bail", action="store_true", help="stop at the first error, as is done anyway")
    version = f"llmsql {llmsql.__version__} (DuckDB {duckdb.__version__})"
    add("-version", action="version", version=version, help="show the version")
    add("-help", "-h", action="help", help="show this")
    return parser


def _one_dash(argument: str) -> str:
    """*argument* with one dash where it is an option that came with two."""
    return argument[1:] if re.fullmatch("--[a-z]+(=.*)?", argument) else argument


if __name__ == "__main__":
    sys.exit(main())
