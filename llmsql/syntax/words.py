"""The words of one DuckDB statement, each with its place and its depth in brackets.

sqlglot's tokenizer does the reading; what it cannot read has no words.
"""

from __future__ import annotations

from dataclasses import dataclass

OPENING = frozenset({"(", "[", "{"})
CLOSING = frozenset({")", "]", "}"})

_FIRST = ", "
"""Behind EXPLAIN or PREPARE as its first word, sqlglot would take the rest for one text."""


@dataclass(frozen=True)
class Word:
    """A word (upper case), a quoted text or a symbol, and how many brackets are around it."""

    text: str
    start: int
    end: int
    depth: int


def words(sql: str) -> list[Word]:
    """Return the words of *sql*, or nothing where it cannot be read."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        tokens = sqlglot.tokenize(_FIRST + sql, read="duckdb")[1:]
    except SqlglotError:
        return []
    found, depth = [], 0
    for token in tokens:
        start, end = token.start - len(_FIRST), token.end + 1 - len(_FIRST)
        text = sql[start:end]
        depth -= text in CLOSING
        found.append(Word(text.upper() if text.isidentifier() else text, start, end, depth))
        depth += text in OPENING
    return found
