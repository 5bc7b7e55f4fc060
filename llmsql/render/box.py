"""Boxes around rows: as wide as what they hold, or as the page allows.

Owns the layout: which rows and columns are shown, how wide, on how many lines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from llmsql.render.cells import Column, Row
from llmsql.render.measure import ELLIPSIS, clean, cut, pad, width, wrap

NULL = "NULL"
CELL_LINES = 12
_MOST_PER_COLUMN = 16  # code points: a family of emoji has eleven, in two columns
NARROWEST = 8
HEADER = 24


@dataclass(frozen=True)
class Page:
    """What a terminal can show at once: columns, and rows of a result. None is no limit."""

    width: int | None = None
    rows: int | None = None


@dataclass(frozen=True)
class Frame:
    """The characters of a box: its three rules, corner to corner, and the wall between cells."""

    top: str
    middle: str
    bottom: str
    wall: str
    has_types: bool

    def rule(self, ends: str, widths: Sequence[int]) -> str:
        """A horizontal rule: *ends* holds its left end, line, crossing and right end."""
        left, line, crossing, right = tuple(ends)
        return left + crossing.join(line * (columns + 2) for columns in widths) + right + "\n"

    def row(self, cells: Sequence[str]) -> str:
        """One line of cells, already padded."""
        return f"{self.wall} " + f" {self.wall} ".join(cells) + f" {self.wall}\n"


LINES = Frame("┌─┬┐", "├─┼┤", "└─┴┘", "│", has_types=True)
ASCII = Frame("+-++", "+-++", "+-++", "|", has_types=False)


@dataclass(frozen=True)
class Shown:
    """The rows that a page has room for, and how many there are."""

    head: list[Row]
    tail: list[Row]
    total: int

    @property
    def is_whole(self) -> bool:
        return len(self.head) + len(self.tail) == self.total


def boxed(
    columns: Sequence[Column], rows: Iterator[Row], page: Page, frame: Frame
) -> Iterator[str]:
    """Yield the lines of a box around *rows*."""
    shown = _shown(rows, page.rows)
    total = len(columns)
    kept = _kept(total, page.width)
    if kept is not None:
        columns, shown = _narrowed(columns, shown, kept)
    head = [[_lines(cell) for cell in row] for row in shown.head]
    tail = [[_lines(cell) for cell in row] for row in shown.tail]
    widths = _widths(columns, head + tail, page.width, frame)
    head, tail = (_fitted(part, columns, widths, page) for part in (head, tail))

    yield frame.rule(frame.top, widths)
    yield frame.row([pad(cut(c.title, w), w, "center") for c, w in _pairs(columns, widths)])
    if frame.has_types:
        types = [cut(column.short_type, w) for column, w in _pairs(columns, widths)]
        yield frame.row([pad(text, w, "center") for text, w in zip(types, widths, strict=True)])
    yield frame.rule(frame.middle, widths)
    is_ruled = any(len(cell) > 1 for row in head + tail for cell in row)
    for index, row in enumerate(head + tail):
        if index == len(head) and not shown.is_whole:
            dots = [pad("·", w, _align(column)) for column, w in _pairs(columns, widths)]
            yield frame.row(dots) * 3
        elif index and is_ruled:
            yield frame.rule(frame.middle, widths)
        yield from _drawn(row, columns, widths, frame)
    yield frame.rule(frame.bottom, widths)
    yield _footer(shown, total, kept, page)


def _shown(rows: Iterator[Row], limit: int | None) -> Shown:
    """Read all *rows*, keep the first and the last ones."""
    if limit is None:
        head = list(rows)
        return Shown(head, [], len(head))
    head = list(islice(rows, limit // 2))
    tail: deque[Row] = deque(maxlen=limit - len(head))
    total = len(head)
    for row in rows:
        tail.append(row)
        total += 1
    return Shown(head, list(tail), total)


def _kept(total: int, limit: int | None) -> int | None:
    """How many of *total* columns a page of *limit* has room for; None for all."""
    room = total if limit is None else max(2, (limit - 1) // (NARROWEST + 3))
    return None if total <= room else room - 1


def _narrowed(columns: Sequence[Column], shown: Shown, kept: int) -> tuple[Sequence[Column], Shown]:
    """The first and last columns, *kept* in all, with dots for those between."""
    left = (kept + 1) // 2
    right = len(columns) - (kept - left)

    def narrow(row: Row) -> Row:
        return (*row[:left], ELLIPSIS, *row[right:])

    parts = Shown([narrow(r) for r in shown.head], [narrow(r) for r in shown.tail], shown.total)
    return [*columns[:left], Column(ELLIPSIS, ""), *columns[right:]], parts


def _lines(cell: str | None) -> list[str]:
    return clean(NULL if cell is None else cell).split("\n")


def _widths(
    columns: Sequence[Column], rows: list[list[list[str]]], limit: int | None, frame: Frame
) -> list[int]:
    """How wide each column is: what it holds, or, where that is too much, its share of *limit*."""
    held = [
        max((width(line) for row in rows for line in row[index]), default=0)
        for index in range(len(columns))
    ]
    heads = [
        max(width(column.title), width(column.short_type) if frame.has_types else 0)
        for column in columns
    ]
    natural = [max(pair) for pair in zip(held, heads, strict=True)]
    if limit is None:
        return natural
    room = limit - 3 * len(columns) - 1
    if sum(natural) <= room:
        return natural
    # A long expression as a name should not take the room of what it computed.
    wanted = [max(h, min(name, HEADER)) for h, name in zip(held, heads, strict=True)]
    return _shared(wanted, room)


def _shared(wanted: list[int], room: int) -> list[int]:
    """*wanted* with the widest made equal, so that all fit in *room*."""
    cap, left = room, room
    for index, columns in enumerate(sorted(wanted)):
        cap = left // (len(wanted) - index)
        if columns > cap:
            break
        left -= columns
    else:
        return wanted
    cap = max(cap, NARROWEST if len(wanted) > 1 else 1)
    return [min(columns, cap) for columns in wanted]


def _fitted(
    rows: list[list[list[str]]], columns: Sequence[Column], widths: Sequence[int], page: Page
) -> list[list[list[str]]]:
    """*rows* with each cell on as many lines as it takes: texts wrap, other values are cut."""
    if page.width is None:
        return rows
    return [
        [_cell(lines, column, w) for lines, column, w in zip(row, columns, widths, strict=True)]
        for row in rows
    ]


def _cell(lines: list[str], column: Column, columns: int) -> list[str]:
    if column.type not in ("VARCHAR", "JSON"):
        return [cut(line, columns) for line in lines]
    whole = "\n".join(lines)
    text = whole[: _MOST_PER_COLUMN * CELL_LINES * columns]
    wrapped = list(islice(wrap(text, columns), CELL_LINES + 1))
    if len(wrapped) > CELL_LINES or len(text) < len(whole):
        wrapped[CELL_LINES - 1 :] = [ELLIPSIS]
    return wrapped


def _drawn(
    row: list[list[str]], columns: Sequence[Column], widths: Sequence[int], frame: Frame
) -> Iterator[str]:
    for index in range(max(map(len, row))):
        yield frame.row(
            [
                pad(lines[index] if index < len(lines) else "", w, _align(column))
                for lines, column, w in zip(row, columns, widths, strict=True)
            ]
        )


def _footer(shown: Shown, columns: int, kept: int | None, page: Page) -> str:
    """How much there is, where not all of it is seen or it is tedious to count."""
    notes = []
    if not shown.is_whole:
        notes.append(f"{shown.total:,} rows ({len(shown.head) + len(shown.tail)} shown)")
    elif shown.total == 0 or (page.rows and shown.total >= 10):
        notes.append(f"{shown.total} rows")
    if kept is not None:
        notes.append(f"{columns} columns ({kept} shown)")
    return f"  {', '.join(notes)}\n" if notes else ""


def _pairs(columns: Sequence[Column], widths: Sequence[int]) -> Iterator[tuple[Column, int]]:
    return zip(columns, widths, strict=True)


def _align(column: Column) -> str:
    return "right" if column.is_number else "left"
