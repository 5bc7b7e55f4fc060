"""EXPORT DATABASE writes the user's data: what the file remembers of models is its own.

DuckDB would export the schema `llmsql` as well, and could not import it where a model has been
deployed; and a view over a model cannot be imported before one has.
"""

from __future__ import annotations

import re
from pathlib import Path

from llmsql.catalog.table import SCHEMA, TABLE
from llmsql.syntax import script

_EXPORTS = re.compile(r"export\s+database\b", re.IGNORECASE)
_OURS = re.compile(
    rf'(CREATE SCHEMA (IF NOT EXISTS )?"?{SCHEMA}"?|CREATE TABLE "?{SCHEMA}"?\."?{TABLE}"?\(.*'
    rf'|COPY "?{SCHEMA}"?\."?{TABLE}"? FROM \'(?P<data>(?:[^\']|\'\')+)\'.*)',
    re.DOTALL,
)


def is_export(sql: str) -> bool:
    """True for EXPORT DATABASE."""
    return _EXPORTS.match(script.uncommented(sql)) is not None


def clean(sql: str) -> None:
    """Take what is llmsql's out of the folder that *sql* has just exported to."""
    quoted = [text for mark, text in script.stretches(sql) if mark == "'"]
    folder = Path(quoted[0][1:-1].replace("''", "'")) if quoted else Path()
    files = [folder / name for name in ("schema.sql", "load.sql")]
    if not all(file.is_file() for file in files):
        return  # in some cloud
    for file in files:
        pieces = [piece.text for piece in script.split(file.read_text(encoding="utf-8"))]
        kept = [text for text in pieces if not _OURS.fullmatch(text)]
        file.write_text("".join(f"{text};\n" for text in kept), encoding="utf-8")
        for data in filter(None, map(_data, pieces)):
            (folder / data).unlink(missing_ok=True)


def _data(text: str) -> str:
    """The file that *text* loads if that is ours: a table of the user's may have one like it."""
    ours = _OURS.fullmatch(text)
    return Path(ours["data"] or "").name if ours else ""
