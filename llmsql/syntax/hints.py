"""[NOT] MATERIALIZED, which DuckDB 1.5 leaves out of its tree: read off the text, and put back.

DuckDB 1.5 prints the word where the tree has it. Where the text does not say beyond doubt which
CTE a word belongs to, that is said, and the statement is better left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from llmsql.syntax import tree
from llmsql.syntax.tree import Node
from llmsql.syntax.words import Word, words

_WORD = "MATERIALIZED"
_MENTIONED = re.compile(_WORD, re.IGNORECASE)
_ALWAYS, _NEVER = "CTE_MATERIALIZE_ALWAYS", "CTE_MATERIALIZE_NEVER"


def restore(statement: Node, sql: str) -> bool:
    """Write into *statement*, in place, which of its CTEs *sql* wants materialized, or does not.

    False where a word of *sql* may be meant for any of several CTEs, or for one that is not there.
    """
    if not _MENTIONED.search(sql):
        return True
    found = [table for _, table in tree.common_tables(statement)]
    if any(each["materialized"] in (_ALWAYS, _NEVER) for each in found):
        return True  # DuckDB 2.0 keeps the word
    said = words(sql)
    hints = [place for place, word in enumerate(said) if word.text == _WORD]
    return bool(said) and all(_is_put_back(found, said, place, sql) for place in hints)


def _is_put_back(found: Sequence[Node], said: Sequence[Word], place: int, sql: str) -> bool:
    """Give the word at *place* to the CTE whose query stands in the brackets behind it."""
    before = [word.text for word in said[max(place - 2, 0) : place]]
    is_hint = "AS" in (before[-1:] if before[-1:] != ["NOT"] else before[:1])
    opening = said[place + 1 : place + 2]
    if not is_hint or not opening or opening[0].text != "(":
        return True  # a name
    inside = list(takewhile(lambda word: word.depth > opening[0].depth, said[place + 2 :]))
    first, last = (len(sql[:end].encode()) for end in (opening[0].end, inside[-1].end))
    fitting = [each for each in found if _is_between(each, first, last)]
    outermost = [each for each in fitting if not any(_has(other, each) for other in fitting)]
    for each in outermost:
        each["materialized"] = _NEVER if before[-1] == "NOT" else _ALWAYS
    return len(outermost) == 1


def _is_between(definition: Node, first: int, last: int) -> bool:
    """True when all places that the query of *definition* tells, if any, are in that range.

    An implied `*` is at 0, and what nobody has written at the highest number there is.
    """
    query = definition.get("query") or definition["query_node"]
    told = [node["query_location"] for node in tree.nodes(query) if "query_location" in node]
    places = [place for place in told if 0 < place < 1 << 63]
    return bool(places) and all(first <= place < last for place in places)


def _has(outer: Node, inner: Node) -> bool:
    return outer is not inner and any(node is inner for node in tree.nodes(outer))
