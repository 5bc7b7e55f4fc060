"""The SELECT inside a statement that writes, and the statement around it.

Only finds where things stand in the text; whether the derived SELECT binds is for DuckDB to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmsql.syntax import quote, script, tree
from llmsql.syntax.conditions import Test, is_inside
from llmsql.syntax.words import Word, words

_QUERY_STARTS = ("SELECT", "WITH", "FROM", "VALUES")
_HOW_TO_CREATE = ("OR", "REPLACE", "TEMP", "TEMPORARY")
_CONDITIONS = ("IF", "NOT", "EXISTS")
_REPORTS = ("RETURN_FILES", "RETURN_STATS")
_ALL_COLUMNS = "hash(*COLUMNS(*))"
"""What a DELETE reads: with fewer columns DuckDB plans its conditions otherwise."""


@dataclass(frozen=True)
class Write:
    """A statement that writes: the query it reads by, and the text around what stands of it.

    *part* is "query" where the whole query stands in the statement, "where" where only its
    condition does. *target* is the table a CREATE TABLE AS makes, with how it is to be made.
    """

    query: str
    head: str
    tail: str
    part: str = "query"
    target: str = ""
    replaces: bool = False

    def rebuilt(self, query: tree.Node) -> str:
        """The statement with *query* (a parsed statement) in the place of its own."""
        if self.part == "query":
            return self.head + tree.show(query) + self.tail
        condition = tree.body(query)["where_clause"]
        return self.head + (tree.condition_text(condition) if condition else "true") + self.tail


def read(sql: str) -> Write | None:
    """Find the query in INSERT, CREATE TABLE AS, COPY, UPDATE or DELETE; else None."""
    found = [word for word in words(sql) if word.depth == 0 or word.text in _QUERY_STARTS]
    if not found:
        return None
    if found[0].text == "WITH":
        return _behind_tables(sql, found)
    readers = {
        "CREATE": _create,
        "INSERT": _insert,
        "COPY": _copy,
        "UPDATE": _update,
        "DELETE": _delete,
    }
    reader = readers.get(found[0].text)
    return reader(sql, found) if reader else None


def _behind_tables(sql: str, found: list[Word]) -> Write | None:
    """What writes behind WITH, whose common tables its query reads too."""
    start = _find(found, "INSERT", "UPDATE", "DELETE")
    inner = start and read(sql[found[start].start :])
    if not (start and inner):
        return None
    tables = sql[: found[start].start]
    if inner.part != "query":
        return replace(inner, query=tables + inner.query, head=tables + inner.head)
    has_own = any(word.text == "WITH" for word in words(inner.query)[:1])
    return None if has_own else replace(inner, query=tables + inner.query)


def with_names(sql: str, is_call: Test) -> str:
    """*sql* with the names that its RETURNING would have in a SELECT, where calls stand in it.

    DuckDB makes them of what it has bound, and so of an argument that is ours.
    """
    found = [word for word in words(sql) if word.text != ";"]
    start = _find(found, "RETURNING")
    query = tree.parse(f"SELECT {sql[found[start].end :]}") if start is not None else None
    if start is None or query is None:
        return sql
    commas = [word for word in found[start:] if word.text == "," and word.depth == 0]
    ends = [*(word.start for word in commas), found[-1].end]
    items = tree.body(query)["select_list"]
    if len(items) != len(ends):
        return sql
    for item, end in reversed(list(zip(items, ends, strict=True))):
        if not item.get("alias") and is_inside(item, is_call):
            sql = f"{sql[:end]} AS {quote.identifier(tree.own_name(item))}{sql[end:]}"
    return sql


def replaces_rows(sql: str) -> bool:
    """True for an INSERT that may put values into rows that are there."""
    found = [word.text for word in words(sql) if word.depth == 0]
    pairs = set(zip(found, found[1:], strict=False))
    return not found or bool(pairs & {("OR", "REPLACE"), ("DO", "UPDATE")})


def returns_rows(sql: str) -> bool:
    """True for what writes and says what, by RETURNING or COPY's RETURN_FILES and RETURN_STATS."""
    found = words(sql)
    if found and found[0].text == "COPY" and (write := read(sql)):
        return any(word.text in _REPORTS for word in words(write.tail))
    return any(word.text == "RETURNING" and word.depth == 0 for word in found)


def makes_trigger(sql: str) -> bool:
    """True for CREATE [OR REPLACE] [TEMP] TRIGGER."""
    found = [word.text for word in words(sql)[:5] if word.text not in _HOW_TO_CREATE]
    return found[:2] == ["CREATE", "TRIGGER"]


def macro(sql: str) -> list[str]:
    """The path, in lower case, of the macro or function that *sql* creates or drops; else empty.

    One that is dropped is a scalar one.
    """
    found = [word for word in words(sql) if word.text not in (*_HOW_TO_CREATE, *_CONDITIONS)]
    verb, kind = (*(word.text for word in found[:2]), "", "")[:2]
    if verb not in ("CREATE", "DROP") or kind not in ("MACRO", "FUNCTION") or len(found) < 3:
        return []
    if verb == "DROP" and found[2].text == "TABLE" and len(found) > 3:
        return []
    end = _find(found, "(", "CASCADE", "RESTRICT", after=3)
    path = sql[found[2].start : found[end].start if end else len(sql)]
    return quote.names(script.without_comments(path).strip(" ;"))


def is_index(sql: str) -> bool:
    """True for CREATE INDEX."""
    return [word.text for word in words(sql) if word.text != "UNIQUE"][:2] == ["CREATE", "INDEX"]


def takes_no_rows(sql: str) -> bool:
    """True for CREATE TABLE … AS … WITH NO DATA, which only wants the types of its query."""
    found = words(sql)
    is_create = bool(found) and found[0].text == "CREATE"
    return is_create and _ends_without_data([word for word in found if word.depth == 0])


def _ends_without_data(found: Sequence[Word]) -> bool:
    return [word.text for word in found[-3:]] == ["WITH", "NO", "DATA"]


def _find(found: Sequence[Word], *texts: str, after: int = 0, depth: int = 0) -> int | None:
    """The index of the first of *texts* from *after* on."""
    for index in range(after, len(found)):
        if found[index].text in texts and found[index].depth == depth:
            return index
    return None


def _create(sql: str, found: list[Word]) -> Write | None:
    table, as_ = _find(found, "TABLE"), _find(found, "AS")
    if table is None or as_ is None or as_ < table:
        return None
    texts = [word.text for word in found]
    if _ends_without_data(found):
        return None
    end = found[-2].start if texts[-2:] == ["WITH", "DATA"] else len(sql)
    name = table + 1
    if texts[name : name + 3] == ["IF", "NOT", "EXISTS"]:
        name += 3
    bracket = _find(found, "(", after=name)
    stop = found[min(as_, bracket if bracket is not None else as_)].start
    return Write(
        query=sql[found[as_].end : end],
        head=sql[: found[as_].end] + " ",
        tail=" " + sql[end:],
        target=sql[found[name].start : stop].strip(),
        replaces="REPLACE" in texts[:table],
    )


def _insert(sql: str, found: list[Word]) -> Write | None:
    start = _find(found, *_QUERY_STARTS)
    if start is None:
        return _bracketed(sql, found)
    if found[start - 1].text == "DEFAULT":
        return None
    end = len(sql)
    for index in range(start, len(found)):
        word = found[index]
        follows = found[index + 1].text if index + 1 < len(found) else ""
        if word.depth == 0 and (
            word.text == "RETURNING" or (word.text, follows) == ("ON", "CONFLICT")
        ):
            end = word.start
            break
    return Write(sql[found[start].start : end], sql[: found[start].start], " " + sql[end:])


def _copy(sql: str, found: list[Word]) -> Write | None:
    return _bracketed(sql, found) if len(found) > 1 and found[1].text == "(" else None


def _bracketed(sql: str, found: list[Word]) -> Write | None:
    """A query in brackets: `COPY (SELECT …) TO`, `INSERT INTO t (SELECT …)`."""
    for index, word in enumerate(found[:-1]):
        if word.text == "(" and word.depth == 0 and found[index + 1].text in _QUERY_STARTS:
            close = _find(found, ")", after=index + 1)
            if close is not None:
                inside = slice(word.end, found[close].start)
                return Write(sql[inside], sql[: word.end], sql[found[close].start :])
    return None


def _update(sql: str, found: list[Word]) -> Write | None:
    set_ = _find(found, "SET")
    if set_ is None:
        return None
    ends = {name: _find(found, name, after=set_) for name in ("FROM", "WHERE", "RETURNING")}
    first_end = min((i for i in ends.values() if i is not None), default=len(found))
    values = _values(sql, found[set_ + 1 : first_end], _start(sql, found, first_end))
    if values is None:
        return None
    source = sql[found[0].end : found[set_].start]
    extra = _clause(sql, found, ends["FROM"], ends["WHERE"], ends["RETURNING"])
    return _by_condition(sql, found, f"SELECT {values}", source, extra, ends)


def _delete(sql: str, found: list[Word]) -> Write | None:
    if len(found) < 3 or found[1].text != "FROM":
        return None
    ends = {name: _find(found, name) for name in ("USING", "WHERE", "RETURNING")}
    if ends["WHERE"] is None:
        return None
    first_end = min(i for i in ends.values() if i is not None)
    source = sql[found[1].end : found[first_end].start]
    extra = _clause(sql, found, ends["USING"], ends["WHERE"], ends["RETURNING"])
    return _by_condition(sql, found, f"SELECT {_ALL_COLUMNS}", source, extra, ends)


def _by_condition(
    sql: str,
    found: list[Word],
    select: str,
    source: str,
    extra: str | None,
    ends: dict[str, int | None],
) -> Write:
    query = f"{select} FROM {source}" + (f", {extra}" if extra else "")
    where = ends["WHERE"]
    if where is None:
        return Write(query, sql, "", part="none")
    stop = _start(sql, found, ends["RETURNING"] if ends["RETURNING"] is not None else len(found))
    start = found[where].end
    return Write(
        f"{query} WHERE {sql[start:stop]}", sql[:start] + " ", " " + sql[stop:], part="where"
    )


def _clause(sql: str, found: list[Word], start: int | None, *ends: int | None) -> str | None:
    """The text after the word at *start*, up to the first of *ends* behind it."""
    if start is None:
        return None
    stop = min((end for end in ends if end is not None and end > start), default=len(found))
    return sql[found[start].end : _start(sql, found, stop)]


def _start(sql: str, found: list[Word], index: int) -> int:
    return found[index].start if index < len(found) else len(sql)


def _values(sql: str, found: list[Word], end: int) -> str | None:
    """The right sides of `a = x, (b, c) = (y, z)`, as a SELECT list; None for another form."""
    values = []
    commas = [word for word in found if word.text == "," and word.depth == 0]
    starts = [found[0].start if found else end, *(word.end for word in commas)]
    stops = [*(word.start for word in commas), end]
    for start, stop in zip(starts, stops, strict=True):
        equals = next((w for w in found if w.text == "=" and start <= w.start < stop), None)
        if equals is None:
            return None
        values.append(sql[equals.end : stop].strip())
    return ", ".join(values)
