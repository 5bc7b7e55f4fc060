"""The formats of a result, one function each.

A format takes the columns and an iterator of rows, and yields text as it goes; boxes and markdown
read all rows first, to align them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from llmsql.errors import OptionError, suggestion
from llmsql.render import cells
from llmsql.render.box import ASCII, LINES, NULL, Page, boxed
from llmsql.render.cells import Column, Row
from llmsql.render.measure import CONTROL, clean, pad, width

Columns = Sequence[Column]
Rows = Iterator[Row]

_SPECIAL = re.compile(r'[",\r\n]')


def text(result: Any, format: str, page: Page | None = None) -> Iterator[str]:
    """Yield the pending result as text in the format *format*, piece by piece.

    *page* is the terminal that will show it; without one nothing is left out.
    """
    if format not in FORMATS:
        raise OptionError(
            f'there is no format "{format}"{suggestion(format, FORMATS)}\n'
            f"  formats: {', '.join(FORMATS)}"
        )
    columns = cells.columns(result)
    if format == "box" and cells.is_plan(result):
        return (f"{row[1]}\n" for row in cells.texts(result))
    rows = cells.literals(result) if format in ("json", "jsonlines") else cells.texts(result)
    if page:
        columns = [replace(column, name=clean(column.name)) for column in columns]
        rows = _harmless(rows, _as_json if format in ("json", "jsonlines") else clean)
    return FORMATS[format](columns, rows, page or Page())


def box(columns: Columns, rows: Rows, page: Page) -> Iterator[str]:
    """A box of lines, with names and types."""
    return boxed(columns, rows, page, LINES)


def table(columns: Columns, rows: Rows, page: Page) -> Iterator[str]:
    """A box of plain ASCII, with names."""
    return boxed(columns, rows, page, ASCII)


def csv(columns: Columns, rows: Rows, page: Page) -> Iterator[str]:
    """Comma-separated values: NULL is empty, an empty text is quoted."""
    yield ",".join(_quoted(column.name) for column in columns) + "\r\n"
    for row in rows:
        yield ",".join(map(_quoted, row)) + "\r\n"


def json_array(columns: Columns, rows: Rows, page: Page) -> Iterator[str]:
    """An array of JSON objects."""
    between = "["
    for item in jsonlines(columns, rows, page):
        yield between + item.rstrip("\n")
        between = ",\n"
    yield "[]\n" if between == "[" else "]\n"


def jsonlines(columns: Columns, rows: Rows, page: Page) -> Iterator[str]:
    """One JSON object a line."""
    keys = [json.dumps(column.name, ensure_ascii=False) for column in columns]
    for row in rows:
        pairs = (f"{key}:{value}" for key, value in zip(keys, row, strict=True))
        yield "{" + ",".join(pairs) + "}\n"


def markdown(columns: Columns, rows: Rows, page: Page) -> Iterator[str]:
    """A Markdown table."""
    lines = [[_marked(column.name) for column in columns]]
    lines += [[_marked(NULL if cell is None else cell) for cell in row] for row in rows]
    widths = [max(3, *map(width, held)) for held in zip(*lines, strict=True)]
    rule = [
        "-" * (w - 1) + (":" if column.is_number else "-")
        for column, w in zip(columns, widths, strict=True)
    ]
    for line in (lines[0], rule, *lines[1:]):
        padded = (
            pad(cell, w, "right" if column.is_number else "left")
            for cell, column, w in zip(line, columns, widths, strict=True)
        )
        yield f"| {' | '.join(padded)} |\n"


def list_(columns: Columns, rows: Rows, page: Page) -> Iterator[str]:
    """Values with a bar between them."""
    yield "|".join(column.title for column in columns) + "\n"
    for row in rows:
        yield "|".join(NULL if cell is None else cell for cell in row) + "\n"


def line(columns: Columns, rows: Rows, page: Page) -> Iterator[str]:
    """One value a line, with its name."""
    widest = max(width(column.title) for column in columns)
    names = [pad(column.title, widest, "right") for column in columns]
    margin = "\n" + " " * (widest + 3)
    for index, row in enumerate(rows):
        values = ((NULL if cell is None else cell).replace("\n", margin) for cell in row)
        lines = (f"{name} = {value}\n" for name, value in zip(names, values, strict=True))
        yield ("\n" if index else "") + "".join(lines)


def _harmless(rows: Rows, cleaned: Callable[[str], str]) -> Rows:
    """*rows* for a terminal, which must not obey what a model wrote."""
    for row in rows:
        yield tuple(None if cell is None else cleaned(cell) for cell in row)


def _as_json(value: str) -> str:
    """*value*, which is JSON, with what a terminal obeys as JSON writes it."""
    return CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", value)


def _quoted(value: str | None) -> str:
    if value is None:
        return ""
    if value == "" or _SPECIAL.search(value):
        return '"' + value.replace('"', '""') + '"'
    return value


def _marked(value: str) -> str:
    escaped = clean(value).replace("\\", "\\\\").replace("|", "\\|")
    return escaped.replace("\n", "<br>")


FORMATS: dict[str, Callable[[Columns, Rows, Page], Iterator[str]]] = {
    "box": box,
    "table": table,
    "csv": csv,
    "json": json_array,
    "jsonlines": jsonlines,
    "markdown": markdown,
    "list": list_,
    "line": line,
}
