"""Where one statement of a script ends, and whether it is ours or DuckDB's.

Owns the lexical rules of both: DuckDB's strings, `E''`, dollar quotes and nested comments; our
block strings, backslash escapes and back quotes. DuckDB's text is never changed, only cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

OUR_WORDS = frozenset({"RUN"})  # no statement of DuckDB starts with one of these

_WORD = re.compile(r"\w+")
_COMMENT_MARK = re.compile(r"/\*|\*/")
_SPACE_OR_COMMENT = re.compile(r"\s+|--[^\n]*")
_DUCKDB_TOKEN = re.compile(
    r"""
    (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z))
    | (?P<word>[^\W\d][\w$]*)
    | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
    | (?P<quoted>'(?:[^']|'')*(?:'|\Z) | "(?:[^"]|"")*(?:"|\Z))
    | (?P<end>;)
    | (?P<other>[\d.]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OUR_TOKEN = re.compile(
    r"""
    (?P<quoted>'''.*?(?:'''|\Z) | '(?:[^'\\]|\\.|'')*(?:'|\Z) | "(?:[^"\\]|\\.|"")*(?:"|\Z)
              | `[^`]*(?:`|\Z))
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Piece:
    """One statement of a script: its text without the semicolon, and the line it starts on."""

    text: str
    line: int
    is_ours: bool
    is_closed: bool


def split(script: str) -> Iterator[Piece]:
    """Yield the statements of *script*; stretches of only comments and blanks are dropped."""
    position, line, counted = 0, 1, 0
    while position < len(script):
        first = _skip_blank(script, position)
        if first >= len(script):
            return
        is_ours = _is_ours(script, first)
        end, next_position = _end(script, first, is_ours)
        line, counted = line + script.count("\n", counted, first), first
        if end > first:
            yield Piece(
                text=script[position:end].strip(),
                line=line,
                is_ours=is_ours,
                is_closed=next_position > end,
            )
        position = next_position


def is_complete(text: str) -> bool:
    """True when every statement of *text* is closed by a semicolon, or there is none."""
    return all(piece.is_closed for piece in split(text))


def _skip_blank(text: str, position: int) -> int:
    """The position of the first character that is neither blank nor in a comment."""
    while position < len(text):
        if text.startswith("/*", position):
            position = _comment_end(text, position)
        elif match := _SPACE_OR_COMMENT.match(text, position):
            position = match.end()
        else:
            break
    return position


def _comment_end(text: str, start: int) -> int:
    """The end of the block comment at *start*; they nest."""
    depth = 0
    for match in _COMMENT_MARK.finditer(text, start):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return len(text)


def _is_ours(text: str, first: int) -> bool:
    if text[first] == "!":
        return True
    word = _WORD.match(text, first)
    return word is not None and word[0].upper() in OUR_WORDS


def _end(text: str, position: int, is_ours: bool) -> tuple[int, int]:
    """Where the statement at *position* ends, without its semicolon and with it."""
    token = _OUR_TOKEN if is_ours else _DUCKDB_TOKEN
    while position < len(text):
        after_blank = _skip_blank(text, position)
        if after_blank != position:
            position = after_blank
            continue
        match = token.match(text, position)
        assert match, "the last alternative matches anything"
        if match.lastgroup == "end":
            return match.start(), match.end()
        position = match.end()
        if match.lastgroup == "dollar":  # only DuckDB's text has those
            closing = text.find(match[0], position)
            position = len(text) if closing < 0 else closing + len(match[0])
    return len(text), len(text)
