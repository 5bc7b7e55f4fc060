"""What a call of a model says of rows that fail, written so that DuckDB can read it.

    chat(x) NULL ON ERROR                  llmsql_forgiving_chat(x)
    chat(x) ERROR ON ERROR                 llmsql_raising_chat(x)
    chat(x) DEFAULT 'v' ON ERROR           a CASE over the fields of llmsql_captured_chat(x)
    chat(x, {on_error: 'capture'})         llmsql_captured_chat(x)
    llm_call_id(chat(x))                   (llmsql_captured_chat(x)).call_id

Owns only text, and keeps every byte around these. What `on_error` says in options that are no
literal, and what the functions do, is theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from llmsql.errors import StatementError
from llmsql.syntax import naming, quote, tree
from llmsql.syntax.brackets import Brackets, Span

ANSWER = "llmsql_answer"
SIBLINGS = {
    "capture": "llmsql_captured_",
    "raise": "llmsql_raising_",
    "null": "llmsql_forgiving_",
}
"""For each of what a failed row may become, what begins the name of the function that does so."""

CALL_ID = "llm_call_id"
_SAID = re.compile(rf"on_error|{CALL_ID}|\bon(?:\s+|\s*(?:--|/\*).*?)error\b", re.I | re.S)
_CLAUSES = {"NULL": "null", "ERROR": "raise"}
_DEFAULT = "DEFAULT"


@dataclass(frozen=True)
class Call:
    """
    A call by the places of its words: its name, its brackets, and where its clause ends.

    *becomes* is a key of SIBLINGS, or empty where the call says nothing. *value* is that of
    DEFAULT. *inner* is the call that an llm_call_id() is asked about.
    """

    name: int
    closing: int
    last: int
    becomes: str = ""
    value: Span | None = None
    inner: Call | None = None

    @property
    def has_clause(self) -> bool:
        """True for one that DuckDB could not read."""
        return self.last > self.closing


def is_said(sql: str) -> bool:
    """True where *sql* may say anything that is to be spelled out; a cheap search."""
    return _SAID.search(sql) is not None


def spelled_out(sql: str, models: frozenset[str], texts: frozenset[str] = frozenset()) -> str:
    """
    Return *sql* with the calls of *models*, names in lower case, as DuckDB can read them.

    Those that answer in *texts* may have a DEFAULT of any type. Raises StatementError for a clause
    that stands behind anything else.
    """
    reading = _Reading(sql, models, texts)
    return reading.spelled(0, len(reading.brackets.words)) if reading.calls else sql


class _Reading:
    """One statement: the calls in it that are to be written otherwise, by where they begin."""

    def __init__(self, sql: str, models: frozenset[str], texts: frozenset[str]) -> None:
        self.sql = sql
        self.models = models
        self.texts = texts
        self.brackets = Brackets(sql)
        self.cuts: dict[int, int] = {}  # the first word of what is left out → the word behind it
        found = [call for place in range(len(self.brackets.words)) if (call := self._call(place))]
        self.calls = {call.name: call for call in found if call.becomes}
        self.numbers = self._numbers()
        self._refuse_others()
        self.names = dict(naming.names(sql, self.brackets, self.calls)) if self.calls else {}

    def spelled(self, first: int, end: int) -> str:
        """The text of the words from *first* to before *end*, with what is around them."""
        words = self.brackets.words
        is_all = (first, end) == (0, len(words))
        position = 0 if is_all else words[first - 1].end
        parts: list[str] = []
        place = first
        while place < end:
            behind, text = self._replaced(place)
            if behind > place:
                parts += [self.sql[position : words[place].start], text]
                is_cut = place in self.cuts
                position = words[behind].start if is_cut else words[behind - 1].end
            behind = max(behind, place + 1)
            if behind - 1 in self.names:
                parts.append(self.sql[position : words[behind - 1].end])
                parts.append(f" AS {quote.identifier(self.names[behind - 1])}")
                position = words[behind - 1].end
            place = behind
        stop = len(self.sql) if is_all else max(position, words[end].start)
        return "".join([*parts, self.sql[position:stop]])

    def _replaced(self, place: int) -> tuple[int, str]:
        """What stands for the words from *place* on, and the place behind them."""
        if place in self.cuts:
            return self.cuts[place], ""
        if place in self.numbers:
            return place + 1, f"${self.numbers[place]}"
        call = self.calls.get(place)
        return (call.last + 1, self._written(call)) if call else (place, "")

    def _written(self, call: Call) -> str:
        if call.inner:
            return f"({self._made(call.inner, 'capture')}).call_id"
        made = self._made(call, call.becomes)
        if call.value is None:
            return made
        first, last = call.value
        words = self.brackets.words
        gap = self.sql[words[last].end : words[last + 1].start]
        value = self.spelled(first, last + 1).removesuffix(gap).lstrip()
        is_text = first == last and value.startswith("'")
        if self._name(call.name).lower() in self.texts and not is_text:
            value = f"CAST({value} AS VARCHAR)"
        if self._is_volatile(call):  # written twice it would be evaluated twice
            chosen = f"CASE WHEN {ANSWER}.error IS NOT NULL THEN ({value}) ELSE {ANSWER}.value END"
            return f"(list_transform([{made}], lambda {ANSWER}: {chosen})[1])"
        return f"(CASE WHEN ({made}).error IS NOT NULL THEN ({value}) ELSE ({made}).value END)"

    def _is_volatile(self, call: Call) -> bool:
        """True where the arguments of *call* give another value each time."""
        places = range(call.name + 2, call.closing)
        called = (place for place in places if self.brackets.text(place + 1) == "(")
        return not tree.volatiles().isdisjoint(self._name(place).lower() for place in called)

    def _made(self, call: Call, becomes: str) -> str:
        given = self.spelled(call.name + 2, call.closing)
        return f"{SIBLINGS[becomes]}{self._name(call.name)}({given})"

    def _name(self, place: int) -> str:
        word = self.brackets.words[place]
        return _plain(self.sql[word.start : word.end])

    def _call(self, place: int) -> Call | None:
        """The call that begins at *place*, with all that it says; None for any other word."""
        brackets = self.brackets
        if brackets.text(place + 1) != "(" or place + 1 not in brackets.partner:
            return None
        name, closing = self._name(place).lower(), brackets.partner[place + 1]
        if name == CALL_ID:
            return self._asked_about(place, closing)
        if name not in self.models:
            return None
        last, becomes, value = self._clause(closing)
        if captured := self._capture(place + 1):
            if becomes:
                raise StatementError(
                    f"{name}(…) says twice what a failed row becomes\n"
                    "  leave out on_error, or the words behind the call"
                )
            becomes = "capture"
            self.cuts |= captured
        if value and brackets.text(place - 1) == ".":
            raise StatementError(f"DEFAULT … ON ERROR wants a plain call\n  {name}(…)")
        return Call(place, closing, last, becomes, value)

    def _asked_about(self, place: int, closing: int) -> Call:
        inner = self._call(place + 2)
        if inner is None or inner.inner or inner.last != closing - 1:
            raise StatementError(
                f"{CALL_ID}() takes a call of a model, and nothing else\n"
                f"  {CALL_ID}({min(self.models, default='chat')}(…))"
            )
        return Call(place, closing, closing, "capture", inner=inner)

    def _clause(self, closing: int) -> tuple[int, str, Span | None]:
        """What stands behind the bracket at *closing*: where it ends, what it says, its value."""
        text = self.brackets.text(closing + 1)
        if text in _CLAUSES and self._is_on_error(closing + 2):
            return closing + 3, _CLAUSES[text], None
        place = closing + 2
        while text == _DEFAULT and self.brackets.text(place) not in ("", ",", ")", "]", "}", ";"):
            if self._is_on_error(place):
                if place == closing + 2:
                    raise StatementError("DEFAULT … ON ERROR needs a value\n  DEFAULT '' ON ERROR")
                return place + 1, "capture", (closing + 2, place - 1)
            place = self.brackets.after(place)
        return closing, "", None

    def _is_on_error(self, place: int) -> bool:
        return (self.brackets.text(place), self.brackets.text(place + 1)) == ("ON", "ERROR")

    def _capture(self, opening: int) -> dict[int, int]:
        """What is to be cut where the arguments say `on_error: 'capture'`."""
        for first, last in self.brackets.parts(opening)[1:]:
            begin = self._options(first)
            if begin is None or self.brackets.partner.get(begin) != last:
                continue
            pairs = self.brackets.parts(begin)
            for index, (start, end) in enumerate(pairs):
                if not self._says_capture(start, end):
                    continue
                if len(pairs) == 1:
                    return {first - 1: last + 1}
                return {start: end + 2} if index + 1 < len(pairs) else {start - 1: end + 1}
        return {}

    def _options(self, place: int) -> int | None:
        """Where the bracket of a STRUCT or MAP opens that begins at *place*."""
        if self.brackets.text(place + 1) in (":=", "=>"):
            place += 2
        place += self.brackets.text(place) == "MAP"
        return place if self.brackets.text(place) == "{" else None

    def _says_capture(self, first: int, last: int) -> bool:
        said = [self.brackets.text(place).lower() for place in range(first, last + 1)]
        return len(said) == 3 and (_plain(said[0]), *said[1:]) == ("on_error", ":", "'capture'")

    def _numbers(self) -> dict[int, int]:
        """The numbers of the parameters `?`, where one stands in a call that is written twice."""
        marks = [place for place, word in enumerate(self.brackets.words) if word.text == "?"]
        twice = [call for call in self.calls.values() if call.value]
        is_wanted = any(call.name < place < call.closing for call in twice for place in marks)
        return {place: number for number, place in enumerate(marks, 1)} if is_wanted else {}

    def _refuse_others(self) -> None:
        """Say what a clause belongs to where DuckDB would only find a syntax error."""
        ours = {call.closing for call in self.calls.values()} | {
            call.inner.closing for call in self.calls.values() if call.inner
        }
        for place in self._closings():
            if place in ours or self.brackets.text(place + 1) not in ("NULL", _DEFAULT):
                continue
            if self._clause(place)[1]:
                clause = {"NULL": "NULL ON ERROR"}.get(self.brackets.text(place + 1))
                raise StatementError(
                    f"{clause or 'DEFAULT … ON ERROR'} stands behind a call of a model, "
                    f"which {self._before(place)} is not\n"
                    f"  functions that call models: {', '.join(sorted(self.models))}"
                )

    def _closings(self) -> Iterator[int]:
        return (p for p in self.brackets.partner if self.brackets.text(p) == ")")

    def _before(self, closing: int) -> str:
        place = self.brackets.partner[closing] - 1
        name = self._name(place) if place >= 0 else ""
        is_name = name.isidentifier() and name.lower() not in tree.reserved()
        return f'"{name}(…)"' if is_name else '"(…)"'


def _plain(name: str) -> str:
    """A name, or a quoted text, without its quotes."""
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"" else name
