"""Which keys of the environment this user has sent where: nobody else's database may send others.

What a database remembers may name any variable and any server. So what it would send must have been
sent by a statement of this user's before, and that is kept in a file of his, a line each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from llmsql.errors import warn
from llmsql.sources import conversions
from llmsql.types import Disclosure

FILE = "keys-sent"
_here: set[str] = set()  # in this process: the file may be out of reach


def give(sent: Iterable[Disclosure]) -> None:
    """Let what the environment has of these be sent from now on, by other databases as well."""
    new = {_line(each) for each in missing(sent)}
    _here.update(new)
    if not new:
        return
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        with _file().open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in sorted(new)))
    except OSError as error:
        warn(
            f'where keys may be sent cannot be kept in "{_file()}" ({error}): another process asks '
            "again\n  set LLMSQL_CACHE to a directory that can be written"
        )


def missing(sent: Iterable[Disclosure]) -> list[Disclosure]:
    """Those of *sent* that the environment has, and that this user never sent there himself."""
    asked = [each for each in sent if os.environ.get(each.variable)]
    known = _here | _written() if asked else set()
    return [each for each in asked if _line(each) not in known]


def _line(sent: Disclosure) -> str:
    return f"{sent.variable} {sent.address}"


def _file() -> Path:
    return conversions.directory() / FILE


def _written() -> set[str]:
    try:
        return set(_file().read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return set()
