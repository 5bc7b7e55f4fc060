"""Golden pairs of tests/syntax, and what splitting a script must not do."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmsql.errors import StatementError
from llmsql.statements import parse
from llmsql.syntax import script, tree

FOLDER = Path(__file__).parent / "syntax"


def pairs(name: str) -> list[object]:
    """The golden pairs of one file."""
    return [pytest.param(*pair, id=pair[0].split("\n")[0]) for pair in _read(FOLDER / name)]


def _read(path: Path) -> Iterator[tuple[str, str]]:
    for block in path.read_text(encoding="utf-8").split("\n\n")[1:]:
        typed, _, meant = block.rstrip("\n").rpartition("\n")
        yield typed, meant


@pytest.mark.parametrize(("typed", "meant"), pairs("statements.sql"))
def test_golden(typed: str, meant: str) -> None:
    """What is typed means what is written below it, and printing that changes nothing."""
    if meant.startswith("-- error: "):
        with pytest.raises(StatementError) as raised:
            parse(_one(typed))
        assert str(raised.value).split("\n")[0] == meant.removeprefix("-- error: ")
        return
    assert f"{parse(_one(typed))};" == meant
    assert f"{parse(_one(meant))};" == meant


def _one(text: str) -> str:
    (piece,) = script.split(text)
    assert piece.is_ours
    return piece.text


DUCKDB_TEXTS = [
    "SELECT ';'",
    "SELECT 'it''s ;'",
    r"SELECT E'\';'",
    r"SELECT e'a\\' || ';'",
    "SELECT $$ ; ' $$",
    "SELECT $tag$ ; $$ ; $tag$",
    "SELECT $1 + $2",
    'SELECT ";" FROM "a;""b"',
    "SELECT /* ; /* nested ; */ ; */ 1",
    "SELECT 1 -- ; not the end\n + 1",
    "SELECT 5 - -1",
    "SELECT a$b$c FROM t",
    "SELECT '''; '''",
    "SELECT 1 AS run",
    "RESET threads",
    "SELECT 'ünï; 😀'",
    "SELECT x'00' || ';'",
    "FROM t SELECT a[1:2], {'k;': 1}",
]


@pytest.mark.parametrize("text", DUCKDB_TEXTS)
def test_duckdb_text_is_only_cut(text: str) -> None:
    """DuckDB's statements come out byte for byte, whatever stands before and after them."""
    pieces = list(script.split(f"!llm model list; {text};\n{text} ; !llm backends"))
    assert [piece.text for piece in pieces] == ["!llm model list", text, text, "!llm backends"]
    assert [piece.is_ours for piece in pieces] == [True, False, False, True]


def test_lines_are_those_of_the_first_word() -> None:
    """A statement's line is where its first word stands, not the comment before it."""
    pieces = list(script.split("-- one\n\nSELECT 1;\n/* two\n*/ !llm model list;\n\n\nSELECT 2"))
    assert [piece.line for piece in pieces] == [3, 5, 8]


@pytest.mark.parametrize("text", ["", "  ", ";;", "-- only a comment", "/* ; */ ;"])
def test_nothing_is_no_statement(text: str) -> None:
    """Blanks, comments and stray semicolons are no statements."""
    assert list(script.split(text)) == []


@pytest.mark.parametrize(
    ("text", "is_complete"),
    [
        ("SELECT 1;", True),
        ("SELECT 1", False),
        ("SELECT ';", False),
        ("SELECT $$ ;", False),
        ("SELECT 1; -- done", True),
        ("", True),
        ("RUN command AS LLM WHERE a='x;", False),
        ("RUN command AS LLM WHERE a='x';", True),
        ("SELECT /* ;", False),
    ],
)
def test_complete(text: str, is_complete: bool) -> None:
    """A text is complete when its last statement is closed."""
    assert script.is_complete(text) is is_complete


def test_a_long_script_is_split_in_linear_time() -> None:
    """Ten thousand statements are cut in about ten times the time of a thousand."""
    import time

    def seconds(count: int) -> float:
        text = "INSERT INTO t VALUES (1, 'some text; here', 2.5);\n" * count
        started = time.process_time()
        assert sum(1 for _ in script.split(text)) == count
        return time.process_time() - started

    seconds(100)
    assert seconds(10_000) < 40 * max(seconds(1_000), 0.001)


@pytest.mark.parametrize(
    "sql",
    ["SELECT a FROM t WHERE b IN (m(a), {})", "FROM (VALUES (m('a')), ({})) v(x)"],
    ids=["IN", "VALUES"],
)
def test_long_lists_of_constants_are_walked_by_nobody(sql: str) -> None:
    """What is no constant among them is; they are compared and printed all the same."""
    joint = ", " if "IN" in sql else "), ("
    texts = [sql.format(joint.join(map(str, numbers))) for numbers in (range(999), range(1, 1000))]
    one, other = map(tree.parse, texts)
    assert one and other
    assert len(list(tree.nodes(one))) < 100
    assert [n["function_name"] for n in tree.nodes(one) if "function_name" in n] == ["m"]
    copied = copy.deepcopy(one)
    assert tree.text_key(copied) == tree.text_key(one) != tree.text_key(other)
    assert tree.show(copied).count(",") >= 999
    next(n for n in tree.nodes(copied) if "function_name" in n)["function_name"] = "g"
    assert "m(" in tree.show(one)
