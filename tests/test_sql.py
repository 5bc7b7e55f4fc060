"""Every file of tests/sql, and the examples inside every file of udfs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmsql.functions import library
from tests import sqllogic

FILES = sorted((Path(__file__).parent / "sql").glob("*.test"))
MACROS = library.shipped()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file(con: object, path: Path, tmp_path: Path) -> None:
    """The statements of the file do what stands below them."""
    assert sqllogic.check_file(con, path, tmp_path) > 0


@pytest.mark.parametrize("macro", MACROS, ids=lambda macro: macro.name)
def test_macro(con: object, macro: library.Macro) -> None:
    """The examples in the macro's file hold, with echoing models called echo_*."""
    for kind in ("chat", "emb", "rerank"):
        con.execute(  # type: ignore[attr-defined]
            f"RUN command AS LLM WHERE pretrainedModelType='debug' AND kind='{kind}'"
            f" AND udfName='echo_{kind}'"
        )
    records = list(sqllogic.read(macro.examples))
    assert records, f"{macro.path} has no examples"
    for record in records:
        sqllogic.run(con, record)


@pytest.mark.parametrize("macro", MACROS, ids=lambda macro: macro.name)
def test_macro_file(macro: library.Macro) -> None:
    """A file of udfs defines the macro it is named after, and its comment is the macro's."""
    assert macro.signature.startswith(macro.name + "(")
    assert re.search(rf"COMMENT ON MACRO (TABLE )?{macro.name} IS '", macro.text)
    assert macro.comment.replace("'", "''") in macro.text.split("COMMENT ON", 1)[1]
