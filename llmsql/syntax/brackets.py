"""What stands in which brackets of one DuckDB statement, by the places of its words.

Owns matching brackets and finding lists: of arguments, of what is selected. What is in them is for
others to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llmsql.syntax.words import CLOSING, OPENING, Word, words

Span = tuple[int, int]
"""The places of a first word and of a last one."""

_LISTS = frozenset({"SELECT", "RETURNING"})
_ENDS = frozenset(
    {"FROM", "WHERE", "GROUP", "HAVING", "WINDOW", "QUALIFY", "ORDER", "LIMIT", "OFFSET", "UNION",
     "INTERSECT", "EXCEPT", "USING", "ON", "RETURNING", ";"}
)  # fmt: skip
_NO_ENDS = frozenset({("DISTINCT", "FROM"), ("WITHIN", "GROUP"), ("*", "EXCEPT")})


class Brackets:
    """The words of a statement, and for each bracket the place of its other half."""

    def __init__(self, sql: str) -> None:
        self.words: list[Word] = words(sql)
        self.partner: dict[int, int] = {}
        opened: list[int] = []
        for place, word in enumerate(self.words):
            if word.text in OPENING:
                opened.append(place)
            elif word.text in CLOSING and opened:
                self.partner[place] = opened.pop()
                self.partner[self.partner[place]] = place

    def text(self, place: int) -> str:
        """The word at *place*; empty where there is none."""
        return self.words[place].text if 0 <= place < len(self.words) else ""

    def parts(self, opening: int) -> list[Span]:
        """What commas divide in the brackets that begin at *opening*."""
        return list(self._divided(opening + 1, self.partner[opening], self.after))

    def after(self, place: int) -> int:
        """The place behind the word at *place*, and behind the brackets that it opens."""
        is_opening = self.text(place) in OPENING
        return (self.partner.get(place, place) if is_opening else place) + 1

    def items(self, jump: Callable[[int], int]) -> Iterator[Span]:
        """Yield what each SELECT and RETURNING lists.

        *jump* gives the place behind what begins at a place and is to be read as one; that place
        where nothing does.
        """

        def after(place: int) -> int:
            behind = jump(place)
            return behind if behind != place else self.after(place)

        for place, word in enumerate(self.words):
            if word.text in _LISTS:
                first = self._behind_distinct(place + 1)
                end = self._end(first, after)
                yield from self._divided(first, end, after)

    def _behind_distinct(self, place: int) -> int:
        place += self.text(place) in ("ALL", "DISTINCT")
        if self.text(place - 1) == "DISTINCT" and self.text(place) == "ON":
            place = self.after(place + 1)
        return place

    def _end(self, place: int, after: Callable[[int], int]) -> int:
        """Where the list ends that begins at *place*."""
        while place < len(self.words):
            text = self.text(place)
            is_end = text in _ENDS and (self.text(place - 1), text) not in _NO_ENDS
            if text in CLOSING or is_end:
                break
            place = after(place)
        return place

    def _divided(self, first: int, end: int, after: Callable[[int], int]) -> Iterator[Span]:
        place = begin = first
        while place < end:
            if self.text(place) == ",":
                if begin < place:
                    yield begin, place - 1
                begin = place + 1
            place = after(place)
        if begin < end:
            yield begin, end - 1
