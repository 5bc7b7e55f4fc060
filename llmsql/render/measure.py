"""How many columns of a terminal a text takes, and how to cut and wrap it to fit.

Owns the width of characters, with what the standard library knows of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

JOINER = "\u200d"
EMOJI = "\ufe0f"
ELLIPSIS = "…"

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_WORD = re.compile(r"\S+\s*|\s+")


def width(text: str) -> int:
    """The columns that *text*, a single line, takes."""
    return len(text) if text.isascii() else sum(columns for _, columns in _clusters(text))


def clean(text: str) -> str:
    """*text* without what moves the cursor or changes colours: a model may answer anything."""
    text = text.replace("\r\n", "\n").replace("\t", "    ")
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def pad(text: str, columns: int, align: str = "left") -> str:
    """*text* with blanks around it, *columns* wide."""
    blanks = max(0, columns - width(text))
    before = {"left": 0, "right": blanks, "center": blanks // 2}[align]
    return " " * before + text + " " * (blanks - before)


def cut(text: str, columns: int) -> str:
    """*text*, or its beginning and an ellipsis where it is wider than *columns*."""
    if width(text) <= columns:
        return text
    return _beginning(text, columns - 1).rstrip() + ELLIPSIS


def wrap(text: str, columns: int) -> Iterator[str]:
    """Yield the lines of *text*, broken between words where wider than *columns*."""
    for line in text.split("\n"):
        yield from _wrapped(line, columns)


def _wrapped(line: str, columns: int) -> Iterator[str]:
    current, used = "", 0
    for word in _WORD.findall(line):
        bare = width(word.rstrip())
        if current and used + bare > columns:
            yield current.rstrip()
            current, used = "", 0
        while bare > columns:
            start = _beginning(word, columns)
            yield start
            word = word[len(start) :]
            bare = width(word.rstrip())
        current += word
        used += width(word)
    yield current.rstrip()


def _beginning(text: str, columns: int) -> str:
    """The longest beginning of *text* within *columns*, and at least one character."""
    taken = used = 0
    for cluster, more in _clusters(text):
        if used + more > columns and taken:
            break
        taken += len(cluster)
        used += more
    return text[:taken]


def _clusters(text: str) -> Iterator[tuple[str, int]]:
    """Yield what a terminal draws in one place, with its width: é, 👍🏽, 👩‍💻."""
    start = 0
    for end in range(1, len(text) + 1):
        if end < len(text) and (_joins(text[end]) or text[end - 1] == JOINER):
            continue
        cluster = text[start:end]
        widest = 2 if EMOJI in cluster else max(map(_character, cluster))
        yield cluster, widest
        start = end


@lru_cache(maxsize=4096)
def _joins(character: str) -> bool:
    """True when *character* is drawn over the one before it."""
    return _character(character) == 0 or "\U0001f3fb" <= character <= "\U0001f3ff"


@lru_cache(maxsize=4096)
def _character(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf") and character != "\u00ad":
        return 0
    if "\u1160" <= character <= "\u11ff":  # vowels and finals of a Hangul syllable
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
