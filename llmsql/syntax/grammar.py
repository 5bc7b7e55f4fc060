"""One-line patterns for our statements: matching text against them, and printing them back.

A pattern is words, `<placeholders>` and `[optional parts]`: "!llm model remove <name>". A
placeholder takes one word or one quoted value; `<pairs>` takes `key = 'value' [AND key = 'value']
…`, where WHERE may be left out; `<columns>` takes words with commas between them,
`<statement>` all that is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmsql.errors import StatementError

ALIASES = {
    "!byzerllm": "!llm",
    "options": "where",
    "train": "run",
    "predict": "run",
    "into": "as",
}
"""Words that mean another one, wherever that stands in a pattern."""

PAIRS = "pairs"
COLUMNS = "columns"
STATEMENT = "statement"

_TOKEN = re.compile(
    r"""
    (?P<blank>\s+|--[^\n]*|/\*.*?\*/)
    | (?P<block>'''(?P<in_block>.*?)''')
    | (?P<open>''')
    | (?P<string>'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*")
    | (?P<back>`[^`]*`)
    | (?P<command>!\w+)
    | (?P<word>(?:\$\{[^{}]*\}|[\w./~<>]|-(?!-))*(?:\$\{[^{}]*\}|[\w/~<>]|-(?!-)))
    | (?P<unclosed>['"`])
    | (?P<symbol>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_PATTERN_PART = re.compile(r"\[|\]|<(\w+)>|`<(\w+)>`|[^\s\[\]<`]+")


@dataclass(frozen=True)
class Token:
    """A word, a quoted value or a symbol, with its offset in the statement."""

    kind: str
    text: str
    value: str
    start: int


@dataclass(frozen=True)
class Part:
    """A piece of a pattern: a literal word, a placeholder, or an optional run of parts."""

    kind: str
    text: str = ""
    parts: tuple[Part, ...] = ()


_WHERE = Part("literal", "WHERE")


class Mismatch(Exception):
    """A pattern does not fit: *index* says how far it did, *expected* what should follow.

    *is_word* where that is one certain word.
    """

    def __init__(self, index: int, expected: str, *, is_word: bool = False) -> None:
        super().__init__(expected)
        self.index = index
        self.expected = expected
        self.is_word = is_word


def tokens(text: str) -> list[Token]:
    """The tokens of one of our statements; raises StatementError for an unclosed quote."""
    found = []
    for match in _TOKEN.finditer(text):
        kind, written = match.lastgroup or "", match[0]
        if kind == "in_block":
            kind = "block"
        if kind in ("open", "unclosed"):
            raise StatementError(
                f"{position(text, match.start())}: the quote {written} is not closed"
            )
        if kind != "blank":
            found.append(Token(kind, written, _value(kind, written, match), match.start()))
    return found


def position(text: str, offset: int) -> str:
    """Say where *offset* is: "line 2, column 5"."""
    line_start = text.rfind("\n", 0, offset) + 1
    return f"line {text.count(chr(10), 0, offset) + 1}, column {offset - line_start + 1}"


def pattern(text: str) -> tuple[Part, ...]:
    """Read a one-line pattern."""
    stack: list[list[Part]] = [[]]
    for match in _PATTERN_PART.finditer(text):
        if match[0] == "[":
            stack.append([])
        elif match[0] == "]":
            stack[-2].append(Part("optional", parts=tuple(stack.pop())))
        elif name := match[1] or match[2]:
            stack[-1].append(Part("back" if match[2] else "placeholder", name))
        else:
            words = re.findall(r"!?\w+(?:/\w+)*|[^\w\s]", match[0])
            stack[-1] += [Part("literal", word) for word in words]
    return tuple(stack[0])


def words(parts: Sequence[Part]) -> Iterator[str]:
    """The words of a pattern that must stand as they are."""
    for part in parts:
        if part.kind == "literal":
            yield part.text
        yield from words(part.parts)


def match(parts: Sequence[Part], given: Sequence[Token]) -> dict[str, Any]:
    """Return the placeholders' values; raises Mismatch where *given* does not fit *parts*."""
    values: dict[str, Any] = {}
    end = _match(parts, given, 0, values)
    if end < len(given):
        raise Mismatch(end, "the end of the statement")
    return values


def show(parts: Sequence[Part], values: Mapping[str, Any]) -> str:
    """Print the statement that *parts* with *values* stand for, in canonical form."""
    text = " ".join(filter(None, (_shown(part, values) for part in parts)))
    return text.replace(" . ", ".")


def quote(value: str) -> str:
    """Write *value* as a quoted value of our statements."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _match(
    parts: Sequence[Part], given: Sequence[Token], index: int, values: dict[str, Any]
) -> int:
    for part in parts:
        if part.kind == "optional":
            if index < len(given) and _begins(part.parts[0], given, index):
                index = _match(part.parts, given, index, values)
            continue
        if part == _WHERE and _is_pair(given, index):
            continue
        if index >= len(given) or not _fits(part, given[index]):
            raise Mismatch(index, _expected(part), is_word=part.kind == "literal")
        if part.text == PAIRS and part.kind == "placeholder":
            values[PAIRS], index = _pairs(given, index)
            continue
        if part.text == COLUMNS and part.kind == "placeholder":
            values[COLUMNS], index = _listed(given, index)
            continue
        if part.text == STATEMENT and part.kind == "placeholder":
            values[STATEMENT] = " ".join(token.value for token in given[index:])
            return len(given)
        if part.kind != "literal":
            values[part.text] = given[index].value
        index += 1
    return index


def _begins(first: Part, given: Sequence[Token], index: int) -> bool:
    return _fits(first, given[index]) or (first == _WHERE and _is_pair(given, index))


def _is_pair(given: Sequence[Token], index: int) -> bool:
    return index + 1 < len(given) and given[index + 1].text == "="


def _fits(part: Part, token: Token) -> bool:
    if part.kind == "literal":
        word = ALIASES.get(token.text.lower(), token.text)
        return word.lower() == part.text.lower()
    if part.kind == "back":
        return token.kind in ("back", "string")
    return token.kind in ("word", "string", "block", "back")


def _listed(given: Sequence[Token], index: int) -> tuple[tuple[str, ...], int]:
    """Read words with commas between them from *index* on."""
    found = [given[index].value]
    index += 1
    while index + 1 < len(given) and given[index].text == ",":
        found.append(given[index + 1].value)
        index += 2
    return tuple(name.strip() for item in found for name in item.split(",")), index


def _pairs(given: Sequence[Token], index: int) -> tuple[dict[str, str], int]:
    """Read `[AND] key = 'value' [AND key = 'value'] …` from *index* on."""
    pairs: dict[str, str] = {}
    if _is_and(given, index):
        index += 1
    while True:
        key = given[index] if index < len(given) else None
        if key is None or key.kind not in ("word", "back"):
            raise Mismatch(index, "a key")
        if key.value.lower() in map(str.lower, pairs):
            raise StatementError(f'the key "{key.value}" is given twice')
        if index + 1 >= len(given) or given[index + 1].text != "=":
            raise Mismatch(index + 1, "=")
        if index + 2 >= len(given) or given[index + 2].kind not in ("string", "block"):
            raise Mismatch(index + 2, f"a quoted value, as in {key.value} = '…'")
        pairs[key.value] = given[index + 2].value
        index += 3
        if not _is_and(given, index):
            return pairs, index
        index += 1


def _is_and(given: Sequence[Token], index: int) -> bool:
    return index < len(given) and given[index].text.lower() == "and"


def _expected(part: Part) -> str:
    if part.kind == "literal":
        return part.text
    return "a key" if part.text == PAIRS else f"<{part.text}>"


def _shown(part: Part, values: Mapping[str, Any]) -> str:
    if part.kind == "literal":
        return part.text
    if part.kind == "optional":
        held = [p.text for p in part.parts if p.kind != "literal"]
        return (
            show(part.parts, values)
            if all(values.get(name) not in (None, {}, ()) for name in held)
            else ""
        )
    value = values[part.text]
    if part.kind == "back":
        return f"`{value}`"
    if part.text == COLUMNS:
        return ", ".join(value)
    if part.text == PAIRS:
        return " AND ".join(f"{_key(key)} = {quote(text)}" for key, text in value.items())
    return value if re.fullmatch(r"[^\W\d]\w*", value) else quote(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[\w.]+", key) else f"`{key}`"


def _value(kind: str, written: str, match: re.Match[str]) -> str:
    if kind == "block":
        return match["in_block"]
    if kind == "back":
        return written[1:-1]
    if kind == "string":
        mark = written[0]
        return re.sub(rf"\\([\\'\"])|{mark}{mark}", lambda m: m[1] or mark, written[1:-1])
    return written
