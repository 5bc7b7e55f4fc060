"""Scalar macros that call models are taken apart, and left whole where that could mean another thing."""

from __future__ import annotations

import zlib

import pytest

from llmsql.syntax import tree
from llmsql.syntax.inlining import Macro, inline
from tests.oracle import Ours, Plain


def macro(parameters: str, body: str, **defaults: str) -> Macro:
    known = {name: tree.expression(value) for name, value in defaults.items()}
    return Macro(tree.expression(body), tuple(parameters.split()), known)


MACROS = {
    "label": macro("x", "m('Label: ' || x)"),
    "ask": macro("x kind model", "m(kind || x, model)", kind="'a '", model="NULL"),
    "twice": macro("x", "label(label(x))"),
    "first": macro("x", "list_transform([m(x)], lambda answer: upper(answer))[1]"),
    "field": macro("x", "m(x.name)"),
    "best": macro("x", "(SELECT max(m(w)) FROM u WHERE w < x)"),
}


def inlined(expression: str) -> str:
    parsed = tree.parse(f"SELECT {expression} FROM t")
    assert parsed
    inline(tree.body(parsed), lambda node: node.get("function_name") in MACROS, MACROS.get)
    return tree.show(parsed).removeprefix("SELECT ").removesuffix(" FROM t")


def written(expression: str) -> str:
    parsed = tree.parse(f"SELECT {expression} FROM t")
    assert parsed
    return tree.show(parsed).removeprefix("SELECT ").removesuffix(" FROM t")


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("label(s)", "m('Label: ' || s)"),
        ("label(upper(t.s)) LIKE 'x%'", "m('Label: ' || upper(t.s)) LIKE 'x%'"),
        ("ask(s)", "m('a ' || s, NULL)"),
        ("ask(s, model := 'b')", "m('a ' || s, 'b')"),
        ("ask(s, 'c ', 'b')", "m('c ' || s, 'b')"),
        ("twice(s)", "m('Label: ' || m('Label: ' || s))"),
        ("label(label(s))", "m('Label: ' || m('Label: ' || s))"),
        ("first(s)", "list_transform([m(s)], lambda answer: upper(answer))[1]"),
        ("label(s) AS named", "m('Label: ' || s) AS named"),
        ("(SELECT label(w) FROM u)", "(SELECT m('Label: ' || w) FROM u)"),
    ],
)
def test_a_call_becomes_what_it_is_made_of(call: str, body: str) -> None:
    assert inlined(call) == written(body)


@pytest.mark.parametrize(
    "call",
    [
        "first(answer)",  # the lambda would take the column for its own variable
        "field(s)",  # a field of the parameter, and not a column of the table x
        "best(s)",  # a query in which s may be something else
        "label()",
        "label(s, s)",
        "label(y := s)",
    ],
)
def test_a_call_that_could_mean_another_thing_stays(call: str) -> None:
    assert inlined(call) == written(call)


TABLES = """
CREATE TABLE many AS SELECT i, 'row ' || i AS s FROM range(3000) r(i);
CREATE MACRO is_yes(x) AS m('macro ' || x) = 'true';
CREATE MACRO label(x) AS g('label ' || x);
CREATE MACRO typed(x INTEGER) AS g('typed ' || x);
CREATE MACRO said(x, kind := 'kind ') AS g(kind || x);
CREATE MACRO top(x) AS (SELECT max(g(v.s || x)) FROM many v WHERE v.i < 3);
CREATE MACRO many_of(x) AS g(x), (x, y) AS g(x || y);
"""


@pytest.mark.parametrize(
    ("sql", "batches"),
    [
        ("SELECT CASE WHEN is_yes(s) THEN label(s) ELSE m(s) END FROM many", 3),
        ("SELECT coalesce(label(s), m(s)) FROM many", 1),
        ("SELECT label(s) FROM many WHERE is_yes(s) AND m(s) = 'true'", 3),
        ("SELECT label(label(s)) FROM many", 2),
    ],
)
def test_what_macros_hide_is_asked_in_whole_sets(sql: str, batches: int) -> None:
    """Calls in macros wait for one another as if they were written out: no more, and all at once."""
    ours, plain = Ours(TABLES), Plain(TABLES)
    one, other = ours.run(sql), plain.run(sql)
    plain.close()
    assert (one.rows, one.names) == (other.rows, other.names)
    assert one.calls <= other.calls
    assert sum(len(model.batches) for model in ours.models.values()) == batches


@pytest.mark.parametrize("call", ["typed(i)", "said(s)", "top(s)", "many_of(s)", "many_of(s, 'b')"])
def test_a_macro_of_which_something_is_unusual_answers_all_the_same(call: str) -> None:
    """Types, defaults that nobody tells and overloads are DuckDB's business."""
    ours, plain = Ours(TABLES), Plain(TABLES)
    sql = f"SELECT i, CASE WHEN is_yes(s) THEN {call} ELSE m(s) END FROM many ORDER BY i"
    one, other = ours.run(sql), plain.run(sql)
    plain.close()
    assert (one.rows, one.names) == (other.rows, other.names)
    assert one.calls <= other.calls


def test_defaults_of_the_library_are_known() -> None:
    """Of `ai_filter(text, question, model := NULL)` what is left out is known to be NULL."""
    ours = Ours(TABLES)
    ours.con.execute("CREATE TABLE few AS FROM many LIMIT 40")
    sql = "SELECT coalesce(ai_complete(s), ai_complete('again ' || s)) FROM few"
    ours.forget()
    ours.con.execute(sql).fetchall()
    assert ours.calls == 40


def test_defaults_of_a_macro_in_place_of_the_librarys_are_not() -> None:
    """Whoever makes a macro of such a name knows its defaults, and nobody else."""
    ours = Ours("CREATE TABLE few AS SELECT 'row ' || i AS s FROM range(9) r(i)")
    ours.con.execute(
        "CREATE OR REPLACE TEMP MACRO ai_fix_grammar(text, max_tokens := 5, model := 'm') AS"
        " g(text || max_tokens || model)"
    )
    sql = "SELECT coalesce(ai_fix_grammar(s), m(s)) FROM few"
    digits = [str(zlib.crc32(f"row {i}5m".encode()) % 7) for i in range(9)]
    assert [answer for (answer,) in ours.con.execute(sql).fetchall()] == digits
