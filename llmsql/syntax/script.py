"""Where one statement of a script ends, and whether it is ours or DuckDB's.

Owns the lexical rules of both: DuckDB's strings, `E''`, dollar quotes and nested comments; our
block strings, backslash escapes and back quotes. DuckDB's text is never changed, only cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from llmsql.syntax import tree

OUR_WORDS = frozenset({"RUN", "TRAIN", "PREDICT", "SAVE"})  # no statement of DuckDB starts so

_WORD = re.compile(r"\w+")
_LOAD = re.compile(r"load\s+\w+\s*\.\s*[`'\"]", re.IGNORECASE)  # DuckDB's names an extension
_SET = re.compile(
    r"""set\s+(?P<name>[\w.]+)\s*=\s*(?=['"`])(?P<where>('(?:[^']|'')*'|"[^"]*")\s*where\b)?""",
    re.IGNORECASE,
)
_PLAIN_SET = re.compile(r"""set\s+[\w.]+\s*=\s*('[^'\\]*'|"[^"\\]*")\s*""", re.IGNORECASE)
_CELL = re.compile(r"^\ufeff?[ \t]*--%chat[ \t\r]*$", re.MULTILINE)
_COMMENT_MARK = re.compile(r"/\*|\*/")
_SPACE_OR_COMMENT = re.compile(r"[\s\ufeff]+|--[^\r\n]*")
_DUCKDB_TOKEN = re.compile(
    r"""
    (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z))
    | (?P<word>(?:[^\W\d]|[^\x00-\x7f\s\ufeff])(?:[\w$]|[^\x00-\x7f\s\ufeff])*)
    | (?P<dollar>\$(?:(?:[^\W\d]|[^\x00-\x7f\s])(?:\w|[^\x00-\x7f\s])*)?\$)
    | (?P<quoted>'(?:[^']|'')*(?:'|\Z) | "(?:[^"]|"")*(?:"|\Z) | `[^`]*(?:`|\Z))
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
    """Yield the statements of *script*; stretches of only comments and blanks are dropped.

    A line `--%chat` ends one and begins a cell, which goes on to the next such line.
    """
    position, line, counted = 0, 1, 0
    while position < len(script):
        first = _skip_blank(script, position)
        if (cell := _cell(script, position, first)) is not None:
            next_cell = _CELL.search(script, script.index("--", cell) + 2)
            end = next_cell.start() if next_cell else len(script)
            line, counted = line + script.count("\n", counted, cell), cell
            text = script[cell:end].lstrip("\ufeff")
            yield Piece(text=text, line=line, is_ours=False, is_closed=True)
            position = end
            continue
        if first >= len(script):
            return
        is_ours = _is_ours(script, first)
        end, next_position = _end(script, first, is_ours)
        line, counted = line + script.count("\n", counted, first), first
        if end > first:
            yield Piece(
                text=script[position:end].strip().lstrip("\ufeff"),
                line=line,
                is_ours=is_ours,
                is_closed=end < len(script),
            )
        position = next_position


def is_complete(text: str) -> bool:
    """True when every statement of *text* is closed by a semicolon, or there is none."""
    return all(piece.is_closed for piece in split(text))


def is_plain_set(text: str) -> bool:
    """True for `SET name = 'value'`, which may as well be DuckDB's."""
    return _PLAIN_SET.fullmatch(without_comments(text).strip()) is not None


def uncommented(text: str) -> str:
    """*text* from its first character that is neither blank nor in a comment."""
    return text[_skip_blank(text, 0) :]


def without_comments(sql: str) -> str:
    """*sql* with a blank in place of each comment."""
    if "--" not in sql and "/*" not in sql:
        return sql
    return "".join(" " if mark == "comment" else text for mark, text in stretches(sql))


def stretches(sql: str) -> Iterator[tuple[str, str]]:
    """Yield the statement *sql*, ours or DuckDB's, in stretches, each with what it is.

    That is "code", "comment", or the mark that opens a quoted text: "'", "e'", '"', "$tag$".
    """
    position = start = 0
    first = _skip_blank(sql, 0)
    token = _OUR_TOKEN if first < len(sql) and _is_ours(sql, first) else _DUCKDB_TOKEN
    while position < len(sql):
        mark, end = _stretch(sql, position, token)
        if mark != "code":
            if start < position:
                yield "code", sql[start:position]
            yield mark, sql[position:end]
            start = end
        position = end
    if start < len(sql):
        yield "code", sql[start:]


def _stretch(sql: str, position: int, token: re.Pattern[str]) -> tuple[str, int]:
    if sql.startswith("--", position):
        match = _SPACE_OR_COMMENT.match(sql, position)
        assert match, "a comment begins here"
        return "comment", match.end()
    if sql.startswith("/*", position):
        return "comment", _comment_end(sql, position)
    match = token.match(sql, position)
    assert match, "the last alternative matches anything"
    if match.lastgroup == "dollar":
        closing = sql.find(match[0], match.end())
        return match[0], len(sql) if closing < 0 else closing + len(match[0])
    if match.lastgroup in ("quoted", "escaped"):
        return match[0][: 2 if match.lastgroup == "escaped" else 1].lower(), match.end()
    return "code", match.end()


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


def _cell(text: str, position: int, end: int) -> int | None:
    """Where a chat cell begins in the blanks and comments from *position* to *end*; or None."""
    while position < end:
        if text.startswith("/*", position):
            position = _comment_end(text, position)
            continue
        line = text.rfind("\n", 0, position) + 1
        if text.startswith("--", position) and _CELL.match(text, line):
            return line
        blank = _SPACE_OR_COMMENT.match(text, position)
        position = blank.end() if blank else end
    return None


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
    if setting := _SET.match(text, first):
        is_setting = setting["name"].lower() in tree.settings()
        return not is_setting or setting["where"] is not None
    word = _WORD.match(text, first)
    return bool(word and word[0].upper() in OUR_WORDS) or _LOAD.match(text, first) is not None


def _end(text: str, position: int, is_ours: bool) -> tuple[int, int]:
    """Where the statement at *position* ends, without its semicolon and with it."""
    token = _OUR_TOKEN if is_ours else _DUCKDB_TOKEN
    while position < len(text):
        after_blank = _skip_blank(text, position)
        if after_blank != position:
            if (cell := _cell(text, position, after_blank)) is not None:
                return cell, cell
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
