"""Prompts made of fields: how they are written, in which order, and that nothing else changes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import pytest

from llmsql.errors import OptionError
from llmsql.runtime.orders import LEAST_ROWS, Form, Orders
from llmsql.store import Store
from llmsql.types import Completion
from tests.journals import ECHO, asked, deployed, opened
from tests.oracle import CountingModel

TABLE = (
    "CREATE TABLE goods AS SELECT i AS id, 'text ' || i AS body, 'product ' || i % 7 AS product,"
    " 'maker ' || i % 7 % 3 AS maker FROM range(100) r(i)"
)
ASK = "chat(llm_fields('Good?', {'body': body, 'product': product, 'maker': maker}))"
PROMPT = "llm_fields('Good?', {'body': body, 'product': product, 'maker': maker})"


@pytest.fixture
def goods(con: Any) -> Any:
    """A table whose last fields repeat, and a model that says what it was asked."""
    con.execute(ECHO)
    con.execute(TABLE)
    return con


def names(prompts: Any) -> set[tuple[str, ...]]:
    """The orders in which the fields of *prompts*, rows of one text, stand."""
    found = [json.loads(prompt.partition("\n\n")[2]) for (prompt,) in prompts]
    return {tuple(fields) for fields in found}


def counting(con: Any) -> CountingModel:
    """Put a model behind chat() that knows its fields whatever their order is."""

    def answer(prompt: str) -> str:
        fields = json.loads(prompt.partition("\n\n")[2])
        return f"{fields['body']} of {fields['product']}"

    model = CountingModel(answer)
    con.engine.deployments.get("chat").model = model
    return model


def test_repeated_fields_come_first_in_every_row(goods: Any) -> None:
    """One order for all rows: what decides another field stands beside it, the unique one last."""
    rows = goods.execute(f"SELECT {ASK} FROM goods").fetchall()
    assert names(rows) in ({("maker", "product", "body")}, {("product", "maker", "body")})


def test_each_row_has_its_own_answer(goods: Any) -> None:
    """Rows and answers are those of the order that was given."""
    counting(goods)
    sql = f"SELECT id, {ASK} FROM goods ORDER BY id"
    ordered = goods.execute(sql).fetchall()
    goods.execute('!llm setup "order_fields=false"')
    assert goods.execute(sql).fetchall() == ordered
    assert ordered == [(i, f"text {i} of product {i % 7}") for i in range(100)]


def test_as_many_calls_as_rows(goods: Any) -> None:
    """None for choosing the order, in one batch."""
    model = counting(goods)
    goods.execute(f"SELECT {ASK} FROM goods").fetchall()
    assert model.batches == [100]
    assert model.asked == sorted(model.asked)


def test_equal_rows_are_asked_once(goods: Any) -> None:
    """Also when the table holds each row twice."""
    model = counting(goods)
    goods.execute(f"SELECT {ASK} FROM (FROM goods UNION ALL FROM goods)").fetchall()
    assert len(model.asked) == 100


def test_a_second_statement_asks_nothing(goods: Any) -> None:
    """Not with the same fields, and not with them in another order."""
    goods.execute(f"SELECT {ASK} FROM goods").fetchall()
    other = "chat(llm_fields('Good?', {'maker': maker, 'body': body, 'product': product}))"
    model = counting(goods)
    goods.execute(f"SELECT {ASK}, {other} FROM goods").fetchall()
    assert model.asked == []


def test_another_process_finds_order_and_answers(database: str, journal: Path) -> None:
    """Both are kept beside the database."""
    found = []
    for _ in range(2):
        with opened(database, deployed(journal)) as con:
            con.execute("CREATE TABLE IF NOT EXISTS" + TABLE.removeprefix("CREATE TABLE"))
            found.append(con.execute(f"SELECT {ASK} FROM goods ORDER BY id").fetchall())
    assert found[0] == found[1]
    assert len(asked(journal)) == 100


def test_a_table_that_grows_keeps_its_order(database: str, journal: Path) -> None:
    """Even where what it has become would be better off with another one."""
    with opened(database, deployed(journal)) as con:
        con.execute(TABLE)
        con.execute(f"SELECT {ASK} FROM goods").fetchall()
    with opened(database, deployed(journal)) as con:
        con.execute(
            "INSERT INTO goods SELECT i, 'one text', 'new product ' || i, 'new maker ' || i"
            " FROM range(1000, 1500) r(i)"
        )
        rows = con.execute(f"SELECT {ASK} FROM goods").fetchall()
    assert len(names(rows)) == 1
    assert len(asked(journal)) == 600


def test_the_order_is_on_disk_before_anything_is_asked(database: str, journal: Path) -> None:
    """So whoever goes on after a crash writes the same prompts."""
    kept: list[tuple[str, ...] | None] = []

    class Looking(CountingModel):
        def generate(self, prompts: Any) -> Iterator[tuple[int, Completion]]:  # type: ignore[override]
            store = Store.open(Path(database + ".llmsql"), is_read_only=True)
            kept.append(Orders().known(Form("Good?", ("body", "product", "maker")), store))
            store.close()
            return super().generate(prompts)

    with opened(database, deployed(journal)) as con:
        con.execute(TABLE)
        con.engine.deployments.get("chat").model = Looking(str)
        con.execute(f"SELECT {ASK} FROM goods").fetchall()
    assert kept and kept[0] is not None and kept[0][-1] == "body"


def test_of_two_processes_the_first_decides(tmp_path: Path) -> None:
    """The second one uses what is there, and not what it has found itself."""
    form = Form("Good?", ("a", "b"))
    with_store = [(Orders(), Store.open(tmp_path / "kept")) for _ in range(2)]
    for (orders, store), found in zip(with_store, (["b", "a"], ["a", "b"]), strict=True):
        orders.keep(form, found, store)
    assert [orders.known(form, store) for orders, store in with_store] == [("b", "a")] * 2
    for _, store in with_store:
        store.close()


def test_a_kept_order_of_other_fields_is_none(tmp_path: Path) -> None:
    """Whatever has happened to the file."""
    form, store = Form("Good?", ("a", "b")), Store.open(tmp_path / "kept")
    Orders().keep(form, ["a", "c"], store)
    assert Orders().known(form, store) is None
    store.close()


def test_an_order_may_be_forgotten_while_it_is_looked_up(tmp_path: Path) -> None:
    """Another thread may clear the cache at any time."""

    class Clearing(ExitStack):
        def __exit__(self, *_: object) -> None:
            orders._known.clear()

    form, store, orders = Form("Good?", ("a", "b")), Store.open(tmp_path / "kept"), Orders()
    orders.keep(form, ["b", "a"], store)
    orders.forget()
    orders._lock = Clearing()
    assert orders.known(form, store) == ("b", "a")
    store.close()


def test_clearing_the_cache_forgets_orders(goods: Any) -> None:
    """The next set chooses anew."""
    goods.execute(f"SELECT {ASK} FROM goods").fetchall()
    goods.execute("!llm cache clear")
    goods.execute("UPDATE goods SET body = 'one text', product = 'p' || id, maker = 'm' || id")
    rows = goods.execute(f"SELECT {ASK} FROM goods").fetchall()
    assert {order[0] for order in names(rows)} == {"body"}


def test_few_rows_keep_the_order_that_was_given(goods: Any) -> None:
    """They decide nothing for the many that may come."""
    few = f"SELECT {PROMPT} FROM goods WHERE id < {LEAST_ROWS - 1}"
    assert names(goods.execute(few).fetchall()) == {("body", "product", "maker")}
    many = goods.execute(f"SELECT {PROMPT} FROM goods").fetchall()
    assert {order[-1] for order in names(many)} == {"body"}


def test_the_order_can_be_left_as_it_is(goods: Any) -> None:
    """By a setting, also for one statement."""
    goods.execute('!llm setup next "order_fields=false"')
    rows = goods.execute(f"SELECT {ASK} FROM goods").fetchall()
    assert names(rows) == {("body", "product", "maker")}
    rows = goods.execute(f"SELECT {ASK} FROM goods").fetchall()
    assert {order[-1] for order in names(rows)} == {"body"}


def test_each_instruction_has_an_order_of_its_own(goods: Any) -> None:
    """Rows of both may come in any mixture."""
    sql = (
        "SELECT llm_fields(CASE WHEN id % 2 = 0 THEN 'Even?' ELSE 'Odd?' END, {'body': body,"
        " 'product': CASE WHEN id % 2 = 0 THEN product ELSE body || body || body END,"
        " 'same': CASE WHEN id % 2 = 0 THEN 'x' || id ELSE 'same' END}) FROM goods"
    )
    rows = goods.execute(sql).fetchall()
    firsts = {
        (p.partition("?")[0], next(iter(json.loads(p.partition("\n\n")[2])))) for (p,) in rows
    }
    assert firsts == {("Even", "product"), ("Odd", "same")}


def test_very_many_instructions_keep_the_order_given(goods: Any) -> None:
    """One for each row: there is nothing to share behind them."""
    sql = "SELECT llm_fields('Good ' || id || '?', {'body': body, 'maker': maker}) FROM goods"
    assert names(goods.execute(sql).fetchall()) == {("body", "maker")}


def test_a_field_may_be_an_answer(goods: Any) -> None:
    """The order is chosen when it is known, and nothing is asked of a placeholder."""
    model = counting(goods)
    model.answer = lambda prompt: "short" if prompt.startswith("Shorten") else "yes"
    sql = (
        "SELECT chat(concat('Be kind. ', llm_fields('Good?',"
        " {'body': body, 'said': coalesce(chat('Shorten ' || product), 'none')}))) FROM goods"
    )
    goods.execute(sql).fetchall()
    prompts = [text for text in model.asked if not text.startswith("Shorten")]
    assert len(model.asked) == 7 + 100 and len(prompts) == 100
    assert all('{"said": "short", "body": "text ' in text for text in prompts)


@pytest.mark.parametrize(
    ("sql", "calls"),
    [
        (f"SELECT {ASK} FROM goods LIMIT 3", 3),
        (f"SELECT {ASK} FROM goods LIMIT 50", 50),
        (f"SELECT {ASK} FROM goods ORDER BY id LIMIT 40", 40),
        (f"SELECT id FROM goods WHERE {ASK} LIKE '%text%' LIMIT 3", 16),
        (f"SELECT id FROM goods WHERE {ASK} IS NOT NULL AND id < 40", 40),
        (f"SELECT count(*) FROM goods GROUP BY {ASK} HAVING {ASK} <> ''", 100),
        (f"CREATE TABLE made AS SELECT {ASK} AS said FROM goods", 100),
        (f"UPDATE goods SET maker = {ASK}", 100),
        (
            f"WITH c AS (SELECT {ASK} AS said FROM goods) SELECT * FROM c a JOIN c b USING (said)",
            100,
        ),
        ("SELECT said FROM seen", 100),
        ("SELECT about(goods) FROM goods", 100),
        ("SELECT ai_about('Good?', goods) FROM goods", 100),
    ],
)
def test_calls_in_every_shape_of_statement(goods: Any, sql: str, calls: int) -> None:
    """As many as without an order to choose, through views and macros too."""
    goods.execute(f"CREATE VIEW seen AS SELECT {ASK} AS said FROM goods")
    goods.execute("CREATE MACRO about(x) AS chat(llm_fields('Good?', x))")
    model = counting(goods)
    goods.execute(sql)
    assert len(model.asked) == len(set(model.asked)) == calls


def test_the_rows_behind_a_limit_are_complete(goods: Any) -> None:
    """Those of a pass in which the order was not known yet are not taken for answers."""
    rows = goods.execute(f"SELECT {ASK} FROM goods LIMIT 60").fetchall()
    assert len(rows) == 60 and None not in {said for (said,) in rows}


@pytest.mark.parametrize(
    ("limit", "others"), [(3, 32), (60, 100)], ids=["rows are left", "no rows are left"]
)
def test_rows_that_passed_a_model_are_complete(goods: Any, limit: int, others: int) -> None:
    """What WHERE does not know of other rows keeps no order from being chosen."""
    model = counting(goods)
    model.answer = lambda prompt: str(len(prompt) % 2 == 0 or prompt.startswith("Good"))
    sql = f"SELECT {ASK} FROM goods WHERE chat('Is ' || product || id) = 'True' LIMIT {limit}"
    rows = goods.execute(sql).fetchall()
    assert rows == [("True",)] * len(rows)
    assert len(rows) == min(limit, 90)
    assert len(model.asked) <= others + len(rows)


def test_what_where_asked_before_a_limit_is_not_asked_again(goods: Any) -> None:
    """The order is chosen by all rows that WHERE sees, before the first few are asked."""
    model = counting(goods)
    goods.execute(f"SELECT id FROM goods WHERE {ASK} LIKE '%text%' LIMIT 3").fetchall()
    goods.execute(f"SELECT {ASK} FROM goods").fetchall()
    assert len(model.asked) == 100


def test_fields_behind_another_model_stay_as_given_before_a_limit(goods: Any) -> None:
    """WHERE asks a few at a time, so there are never enough rows to choose an order by."""
    model = counting(goods)
    model.answer = lambda prompt: "yes"
    where = f"chat('Is ' || id) = 'yes' AND {ASK} = 'yes'"
    rows = goods.execute(f"SELECT id FROM goods WHERE {where} LIMIT 3").fetchall()
    assert rows == [(0,), (1,), (2,)]
    prompts = [text for text in model.asked if text.startswith("Good")]
    assert prompts and all('{"body": ' in text for text in prompts)


def test_on_the_spot_fields_stand_as_given_or_as_chosen(goods: Any) -> None:
    """A prepared statement and another client's have no set to choose by."""
    goods.execute(f"PREPARE ask AS SELECT {PROMPT} FROM goods")
    other = goods.engine.root.cursor()
    for statement in (
        lambda: goods.execute("EXECUTE ask"),
        lambda: other.execute(f"SELECT {PROMPT} FROM goods"),
    ):
        assert names(statement().fetchall()) == {("body", "product", "maker")}
    goods.execute(f"SELECT {ASK} FROM goods").fetchall()
    for statement in (
        lambda: goods.execute("EXECUTE ask"),
        lambda: other.execute(f"SELECT {PROMPT} FROM goods"),
    ):
        assert {order[-1] for order in names(statement().fetchall())} == {"body"}


def test_explain_counts_and_chooses_nothing(goods: Any) -> None:
    """Distinct prompts are as many in any order."""
    goods.execute(f"EXPLAIN SELECT {ASK} FROM goods").fetchall()
    found = goods.execute("SELECT inputs, known, calls, precision FROM llm_estimates()").fetchall()
    assert found == [(100, 0, 100, "exact")]
    store = goods._session.conditions.store
    assert goods.engine.orders.known(Form("Good?", ("body", "product", "maker")), store) is None


def test_more_rows_than_a_pass_notes(goods: Any) -> None:
    """The order of the first rows holds for those of the later passes."""
    goods._session.max_noted = 40
    model = counting(goods)
    rows = goods.execute(f"SELECT {ASK} FROM goods").fetchall()
    assert len(rows) == len(model.asked) == 100
    assert len({tuple(json.loads(text.partition("\n\n")[2])) for text in model.asked}) == 1


LOST = {
    "340282366920938463463374607431768211455::UHUGEINT": "340282366920938463463374607431768211455",
    "'12:00:00+02'::TIMETZ": '"12:00:00+02"',
    "'101'::BIT": '"101"',
    """'{"k": [1, null]}'::JSON""": '{"k":[1,null]}',
    "NULL::JSON": "null",
    "[{'of': '[1]'::JSON}, NULL]": '[{"of":[1]},null]',
    "MAP {'of': 1::UHUGEINT}": '{"of":1}',
}
"""Values whose types Arrow has not, and how they stand in a prompt."""


@pytest.mark.parametrize("value", LOST)
def test_values_that_arrow_has_not_are_as_duckdb_writes_them(con: Any, value: str) -> None:
    """The others beside them are written as they are without."""
    beside = """'s': 'say "JSON"', 'JSON': 'BIT'::ENUM('BIT', 'x'), 'f': 1e20, 'c': chr(127)"""
    (alone,) = con.execute(f"SELECT llm_fields('Q', {{{beside}}})").fetchone()
    (prompt,) = con.execute(f"SELECT llm_fields('Q', {{{beside}, 'it': {value}}})").fetchone()
    assert prompt == f'{alone[:-1]}, "it": {LOST[value]}}}'


@pytest.mark.skipif(duckdb.__version__ < "2", reason="DuckDB 1.5 passes no VARIANT to functions")
def test_a_variant_is_as_duckdb_writes_it(con: Any) -> None:
    """And not as the bytes it is kept in."""
    rows = con.execute("SELECT llm_fields('Q', {'it': [1, 2]::VARIANT})").fetchall()
    assert rows == [('Q\n\n{"it": [1,2]}',)]


@pytest.mark.skipif(duckdb.__version__ >= "2", reason="DuckDB 2.0 passes a VARIANT to functions")
def test_a_variant_that_cannot_be_passed_is_told_of(con: Any) -> None:
    """With what can be written in its place."""
    with pytest.raises(duckdb.NotImplementedException, match="VARIANT\nA cast .* value::JSON"):
        con.execute("SELECT llm_fields('Q', {'it': 1::VARIANT})").fetchall()
    rows = con.execute("SELECT llm_fields('Q', {'it': 1::VARIANT::JSON})").fetchall()
    assert rows == [('Q\n\n{"it": 1}',)]


def test_json_in_a_whole_row(goods: Any) -> None:
    """Also where the order of the fields is chosen, and rows are NULL."""
    goods.execute("ALTER TABLE goods ADD COLUMN notes JSON")
    goods.execute("UPDATE goods SET notes = json_object('of', id % 2) WHERE id < 50")
    sql = "SELECT n, llm_fields('Good?', goods) FROM range(101) r(n) LEFT JOIN (FROM goods) goods ON n = id"
    rows = dict(goods.execute(sql).fetchall())
    said = [json.loads(rows[n].partition("\n\n")[2])["notes"] for n in range(101)]
    assert said == [{"of": n % 2} if n < 50 else None for n in range(101)]


def test_fields_that_are_null_without_a_type_are_no_prompt(goods: Any) -> None:
    """NULL in, NULL out; fields that are forgotten are refused."""
    model = counting(goods)
    sql = "SELECT llm_fields('Good?', NULL), ai_about('Good?', NULL), ai_about(NULL, NULL)"
    assert goods.execute(sql).fetchall() == [(None, None, None)]
    assert model.asked == []
    with pytest.raises(duckdb.BinderException, match="llm_fields"):
        goods.execute("SELECT llm_fields('Good?')").fetchall()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ("'text'", "a text"),
        ("MAP {'a': 1}", "a MAP"),
        ("['a']", "a list"),
        ("1", "a value"),
    ],
)
def test_what_is_no_struct_is_refused(goods: Any, fields: str, named: str) -> None:
    """The message shows one."""
    with pytest.raises(OptionError) as caught:
        goods.execute(f"SELECT llm_fields('Good?', {fields})").fetchall()
    assert str(caught.value) == (
        f"the fields of llm_fields() are a STRUCT with names, not {named}\n"
        "  for example: llm_fields('Is this a complaint?', {'title': title, 'body': body})"
    )


@pytest.mark.parametrize("seed", range(4))
def test_answers_do_not_depend_on_the_order(con: Any, seed: int) -> None:
    """On generated tables, of texts that JSON must escape, with NULLs and repetitions."""
    chance = random.Random(seed)
    values = ['say "no"', "a\\b", "two\nlines", "ü", "", None, "plain", "x, y", '{"k": 1}']
    rows = [[chance.choice(values) for _ in range(5)] + [i] for i in range(200)]
    con.execute(ECHO)
    con.execute("CREATE TABLE t(a TEXT, b TEXT, c TEXT, d TEXT, e TEXT, i INTEGER)")
    con.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)
    sql = "SELECT i, chat(llm_fields('What?', t), {'max_tokens': 9999}) FROM t"
    said = [(i, json.loads(text.partition("\n\n")[2])) for i, text in con.execute(sql).fetchall()]
    assert sorted((i, *(fields[name] for name in "abcde")) for i, fields in said) == sorted(
        (row[5], *row[:5]) for row in rows
    )
    assert len({tuple(fields) for _, fields in said}) == 1
