"""What an EXPLAIN explains."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmsql.syntax import tree
from llmsql.syntax.words import Word, words

_OPTIONS = frozenset({"ANALYZE", "ANALYSE", "FORMAT"})
_MAY_BE = re.compile(r"\s*(explain\b|--|/\*)", re.IGNORECASE)


@dataclass(frozen=True)
class Explained:
    """The statement behind an EXPLAIN, and what the EXPLAIN says of how."""

    head: str
    statement: str
    is_analyzed: bool
    is_json: bool


def read(sql: str) -> Explained | None:
    """The statement that *sql*, an EXPLAIN, is about; None where it is none."""
    found = words(sql) if _MAY_BE.match(sql) else []
    names = [_name(word) for word in found]
    if names[:1] != ["EXPLAIN"]:
        return None
    is_analyzed = names[1:2] in (["ANALYZE"], ["ANALYSE"])
    first = 1 + is_analyzed
    options = _options(names[first:])
    begin = found[first + len(options)].start if first + len(options) < len(found) else len(sql)
    return Explained(
        head=sql[:begin],
        statement=sql[begin:],
        is_analyzed=is_analyzed or not {"ANALYZE", "ANALYSE"}.isdisjoint(options),
        is_json="JSON" in options,
    )


def _options(names: list[str]) -> list[str]:
    """The words of the options that *names* begin with, their brackets too."""
    if names[:1] != ["("] or names[1:2] == [] or names[1] not in _OPTIONS:
        return []
    depth = 0
    for place, name in enumerate(names):
        depth += (name == "(") - (name == ")")
        if depth == 0:
            return names[: place + 1]
    return names


def _name(word: Word) -> str:
    """What *word* says, in quotes or not."""
    return word.text.strip("'\"").upper()


def is_recursive(sql: str) -> bool:
    """True where answers may decide how often a part of the query *sql* runs."""
    statement = tree.parse(sql)
    return any(node.get("type") == "RECURSIVE_CTE_NODE" for node in tree.nodes(statement))
