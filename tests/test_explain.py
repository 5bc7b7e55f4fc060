"""EXPLAIN says what a statement would ask of its models, and asks nothing."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import duckdb
import pytest

from llmsql.errors import GenerationError
from llmsql.runtime.expected import _Past
from tests.installed import SMOLLM2, require

ECHO = "RUN command AS LLM WHERE pretrainedModelType='debug' AND "


@pytest.fixture
def table(con: Any) -> Any:
    """Fifty rows of seven texts, and models of each kind."""
    con.execute(f"{ECHO} udfName='chat' AND price_input='10' AND price_output='20'")
    con.execute(f"{ECHO} udfName='emb' AND kind='emb'; {ECHO} udfName='rr' AND kind='rerank'")
    con.execute("CREATE TABLE t AS SELECT i, 'text ' || i % 7 AS s FROM range(50) r(i)")
    return con


def estimates(con: Any, sql: str, columns: str) -> list[tuple[Any, ...]]:
    con.execute(f"EXPLAIN {sql}").fetchall()
    return con.execute(f"SELECT {columns} FROM llm_estimates()").fetchall()  # type: ignore[no-any-return]


def asked(con: Any) -> int:
    return sum(deployment.answered for deployment in con.engine.deployments)


def test_a_macro_s_calls_are_in_sight(table: Any) -> None:
    """Those of the library, too, where they stand alone."""
    sql = "SELECT ai_sentiment(s, model := 'chat'), ai_embed(s, model := 'emb') FROM t"
    assert estimates(table, sql, "site, call[:20], calls") == [
        (1, "llm_generate(('What ", 7),
        (2, "llm_embed(s, 'emb')", 7),
    ]
    sql = "SELECT ai_sentiment(s, model := 'chat') FROM t"
    assert estimates(table, sql, "site, calls") == [(1, 7)]


def test_nothing_is_asked(table: Any) -> None:
    """Model calls made: 0."""
    table.execute("EXPLAIN SELECT chat(s), emb(s), rr(s, 'x') FROM t").fetchall()
    assert asked(table) == 0


def test_the_plan_is_duckdbs_and_the_calls_are_ours(table: Any) -> None:
    """A row more than DuckDB's, with a line a call."""
    rows = table.execute("EXPLAIN SELECT chat(s) FROM t WHERE i < 3").fetchall()
    assert [key for key, _ in rows] == ["physical_plan", "model_calls"]
    assert rows[1][1] == (
        "model calls\n"
        "site  call     model  inputs  known  calls  tokens in  tokens out  seconds  cost\n"
        "1     chat(s)  chat   3       0      3      6          ~768        NULL     0.015\n"
        "      in all          3       0      3      6          ~768        NULL     0.015\n"
    )


def test_each_call_has_its_numbers(table: Any) -> None:
    """Distinct inputs, those known, and calls to make."""
    table.execute("SELECT chat(s) FROM t WHERE i < 3")
    found = estimates(
        table, "SELECT chat(s), chat('a ' || s), emb(s) FROM t", "call, inputs, known, calls"
    )
    assert found == [("chat(s)", 7, 3, 4), ("chat(('a ' || s))", 7, 0, 7), ("emb(s)", 7, 0, 7)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT chat(s), emb(s), rr(s, 'x') FROM t",
        "SELECT count(*) FROM t WHERE chat(s) = 'text 1'",
        "SELECT chat(s || i // 10) FROM t GROUP BY ALL",
        "SELECT * FROM t a JOIN t b ON a.i = b.i AND a.i < 9 WHERE rr(a.s, b.s) > 0",
        "SELECT chat(s) FROM t ORDER BY i LIMIT 4",
        "SELECT list_transform(list(s), lambda x: chat(x)) FROM t",
        "SELECT s FROM t ORDER BY array_cosine_similarity(emb(s), emb('q')) DESC LIMIT 3",
        "SELECT list_cosine_similarity(llm_embed(s), llm_embed('q')) FROM t",
        "SELECT chat(s) || chat('x'), rr(s, 'x') + rr('a', 'b') FROM t",
        "SELECT i + try_cast(chat('7') AS INT), chat('one of ' || s) FROM t",
    ],
)
def test_calls_of_independent_sites_are_exact(table: Any, sql: str) -> None:
    """What EXPLAIN says is what the statement then asks."""
    expected = estimates(table, sql, "calls, precision")
    assert {precision for _, precision in expected} == {"exact"}
    table.execute(sql).fetchall()
    assert sum(calls for calls, _ in expected) == asked(table)


def test_what_fails_on_null_is_an_upper_bound(table: Any) -> None:
    """DuckDB's distance of lists takes no array that is NULL."""
    sql = "SELECT emb(s) <=> emb('q') FROM t"
    found = [("emb(s)", 7, "at most"), ("emb('q')", 1, "exact")]
    assert estimates(table, sql, "call, calls, precision") == found
    sql = "SELECT emb(s) <=> array_value(1, 2, 3, 4, 5, 6, 7, 8)::FLOAT[] AS far FROM t ORDER BY far LIMIT 3"
    assert estimates(table, sql, "call, calls, precision") == found[:1]
    table.execute(sql).fetchall()
    assert asked(table) == 7


def test_explain_does_not_end_the_users_transaction(table: Any) -> None:
    """A text in the place of an answer may be no number; on DuckDB 2.0 an error ends all."""
    table.execute("BEGIN")
    table.execute("EXPLAIN SELECT chat('7')::INT, chat(chat(s)::INT::TEXT) FROM t")
    assert table.execute("SELECT 1").fetchall() == [(1,)]
    table.execute("ROLLBACK")


def test_a_call_is_shown_as_it_was_written(table: Any) -> None:
    """Also where it is made after a LIMIT, of rows that are chosen first."""
    sql = "SELECT upper(chat(s || i)) FROM t ORDER BY chat(s), i LIMIT 4"
    assert estimates(table, sql, "call, calls") == [("chat(s)", 7), ("chat((s || i))", 4)]


def test_an_input_that_two_calls_share_counts_once(table: Any) -> None:
    """It will be asked once."""
    found = estimates(table, "SELECT chat(s), upper(chat(lower(s))) FROM t", "inputs, calls")
    assert found == [(7, 7), (7, 0)]


def test_a_call_behind_a_condition_on_answers_is_an_upper_bound(table: Any) -> None:
    """It is counted as if the condition let every row pass, and says so."""
    sql = "SELECT emb(s) FROM t WHERE chat(s) = 'text 1' AND i < 3"
    assert estimates(table, sql, "call, calls, precision") == [
        ("chat(s)", 3, "exact"),
        ("emb(s)", 3, "at most"),
    ]


def test_a_nested_call_is_an_upper_bound(table: Any) -> None:
    """The outer call sees as many texts as the inner one answers."""
    assert estimates(table, "SELECT chat(chat('b ' || s)) FROM t", "calls, precision") == [
        (7, "exact"),
        (7, "at most"),
    ]


def test_a_limit_makes_an_upper_bound(table: Any) -> None:
    """Few answers may be enough."""
    sql = "SELECT i FROM t WHERE chat(s) = 'text 1' LIMIT 1"
    assert estimates(table, sql, "calls, precision") == [(7, "at most")]


def test_input_tokens_are_counted_by_the_models_tokenizer(table: Any) -> None:
    """Echo's are words."""
    found = estimates(table, "SELECT chat('one two ' || s) FROM t", "input_tokens, is_counted")
    assert found == [(28.0, True)]


def test_input_tokens_of_a_sample_are_estimated(table: Any) -> None:
    """Of many texts only some are counted, and their sum is said to be about right."""
    sql = "SELECT chat('one two ' || i) FROM range(5000) t(i)"
    ((tokens, is_counted),) = estimates(table, sql, "input_tokens, is_counted")
    assert not is_counted and abs(tokens - 15_000) < 150


def test_output_tokens_come_from_history(table: Any) -> None:
    """Without one an answer is as long as max_tokens."""
    before = estimates(table, "SELECT chat(s) FROM t", "output_tokens, seconds IS NULL")
    table.execute("SELECT chat('in five words or so ' || i) FROM range(10) t(i)")
    after = estimates(table, "SELECT chat(s) FROM t", "output_tokens, seconds IS NULL")
    assert (before, after) == ([(7 * 256.0, True)], [(7 * 6.0, False)])


def test_money_is_tokens_times_prices(table: Any) -> None:
    """Prices are for a million tokens."""
    ((cost,),) = estimates(table, "SELECT chat(s, {max_tokens: 1}) FROM t", "cost")
    assert cost == pytest.approx((14 * 10 + 7 * 20) / 1e6)


def test_an_unknown_price_is_null(table: Any) -> None:
    """Never 0."""
    assert estimates(table, "SELECT emb(s) FROM t", "cost") == [(None,)]


@pytest.mark.parametrize(
    "write",
    [
        "INSERT INTO t SELECT 1, chat('x ' || s) FROM t",
        "CREATE TABLE u AS SELECT chat('x ' || s) FROM t",
        "UPDATE t SET s = chat('x ' || s)",
        "DELETE FROM t WHERE chat('x ' || s) = 'y'",
        "COPY (SELECT chat('x ' || s) FROM t) TO '/nowhere/at/all.csv'",
    ],
)
def test_explain_of_a_write_writes_nothing(table: Any, write: str) -> None:
    """Its calls are counted all the same."""
    before = table.execute("SELECT count(*), count(DISTINCT s) FROM t").fetchall()
    assert estimates(table, write, "calls") == [(7,)]
    assert table.execute("SELECT count(*), count(DISTINCT s) FROM t").fetchall() == before
    assert table.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(1,)]


def test_what_may_be_read_once_is_not_counted(table: Any) -> None:
    """It says so, and gives no numbers."""
    rows = table.execute("EXPLAIN SELECT chat(s || random()) FROM t").fetchall()
    assert rows[-1][1] == (
        "model calls: not counted: the statement is a PIVOT, may be read only once, or fails while "
        "answers are unknown, or its rows may fail, which would end the transaction\n"
    )
    assert table.execute("FROM llm_estimates()").fetchall() == []


def test_json_is_json(table: Any) -> None:
    """FORMAT JSON gives the calls as JSON as well."""
    rows = table.execute("EXPLAIN (FORMAT JSON) SELECT chat(s) FROM t").fetchall()
    (call,) = json.loads(rows[-1][1])
    assert (call["call"], call["calls"], call["seconds"]) == ("chat(s)", 7, None)


def test_explain_leaves_the_users_transaction(table: Any) -> None:
    """It goes on, and nothing is asked."""
    table.execute("BEGIN; INSERT INTO t VALUES (50, 'text 50')")
    assert estimates(table, "SELECT chat(s) FROM t", "calls") == [(8,)]
    table.execute("ROLLBACK")
    assert asked(table) == 0


def test_explain_takes_parameters(table: Any) -> None:
    """As DuckDB's does."""
    table.execute("EXPLAIN SELECT chat(s || $1) FROM t WHERE i < $2", ["!", 2]).fetchall()
    assert table.execute("SELECT calls FROM llm_estimates()").fetchall() == [(2,)]


def test_analyze_adds_what_happened(table: Any) -> None:
    """Calls made, tokens and money beside those expected."""
    sql = "ANALYZE SELECT chat('a ' || s) FROM t WHERE chat(s) = 'text 1' AND i < 20"
    found = estimates(table, sql, "calls, precision, calls_made, tokens_read, tokens_written")
    assert found == [(7, "exact", 7, 14, 14), (7, "at most", 1, 3, 3)]


def test_analyze_adds_what_happened_to_json_too(table: Any) -> None:
    """Under the names that llm_estimates() has for it, behind those that a plain EXPLAIN gives."""
    sql = "SELECT chat(s) FROM t WHERE i < 3"
    plain, made, reused = [
        json.loads(table.execute(f"EXPLAIN ({head}FORMAT JSON) {sql}").fetchall()[-1][1])[0]
        for head in ("", "ANALYZE, ", "ANALYZE, ")
    ]
    names = ["calls_made", "tokens_read", "tokens_written", "spent"]
    assert list(made) == [*plain, *names]
    assert [made[name] for name in names] == [3, 6, 6, pytest.approx(0.00018)]
    assert [reused[name] for name in names] == [0, 0, 0, 0]


def test_analyze_of_a_write_writes_once(table: Any) -> None:
    """DuckDB runs what it analyzes."""
    table.execute("EXPLAIN ANALYZE INSERT INTO t SELECT 1, chat('x ' || s) FROM t").fetchall()
    assert table.execute("SELECT count(*) FROM t").fetchall() == [(100,)]
    assert asked(table) == 7


def test_analyze_counts_what_a_view_asked(table: Any) -> None:
    """The calls in it have no place in the statement's text."""
    table.execute("CREATE VIEW v AS SELECT chat(s) AS answer FROM t")
    found = estimates(table, "ANALYZE SELECT answer FROM v", "call, calls_made, tokens_read")
    assert found == [("in a view or macro", 7, 14)]


def test_analyze_adds_up_what_it_took(table: Any) -> None:
    """Behind what was expected, in the last line too; of a statement that asks nothing, nothing."""
    shown = [
        table.execute(f"EXPLAIN ANALYZE SELECT chat(s) FROM t LIMIT {rows}").fetchall()[-1][1]
        for rows in (100, 0)
    ]
    assert shown[0].splitlines()[1].split()[-4:] == ["made", "read", "written", "paid"]
    assert shown[0].splitlines()[-1].split()[-4:] == ["7", "14", "14", "0.00042"]
    assert shown[1].splitlines()[-1].split()[-4:] == ["0", "0", "0", "0"]


def test_calls_in_views_are_counted(table: Any) -> None:
    """By their model, as their text is the view's."""
    table.execute("CREATE VIEW v AS SELECT chat(s) AS answer FROM t")
    assert estimates(table, "SELECT answer FROM v", "call, calls") == [("in a view or macro", 7)]


@pytest.mark.models
def test_tokens_of_a_real_model(con: Any) -> None:
    """What EXPLAIN counts is what the model then reads."""
    require(*SMOLLM2)
    con.execute("RUN command AS LLM WHERE localModelDir='smollm2' AND udfName='chat'")
    con.execute("""CREATE TABLE t AS SELECT repeat('The kettle leaks. ', 1 + i % 5) || i AS s
        FROM range(24) t(i)""")
    sql = "SELECT chat('Good or bad? ' || s, {max_tokens: 1}) FROM t"
    ((expected, is_counted),) = estimates(con, sql, "input_tokens, is_counted")
    with pytest.warns(UserWarning, match="cut at max_tokens"):
        con.execute(sql).fetchall()
    ((read,),) = con.execute("SELECT sum(input_tokens) FROM llm_usage()").fetchall()
    assert is_counted
    assert expected == read


def test_one_short_call_says_little_about_long_texts() -> None:
    """
    What a short prompt had beyond its text stood around it, and does not grow with the next one.
    """
    past = _Past(calls=1, tokens_in=32, characters=len("Say hi"))
    assert past.input_tokens(57, characters=5_700, estimated=1_425) == pytest.approx(3_160, abs=30)


def test_texts_that_are_fewer_tokens_than_estimated_stay_so() -> None:
    """
    Of texts alike, as many tokens as the ones before had, where those had less than is estimated.
    """
    past = _Past(calls=10, tokens_in=1_000, characters=10_000)
    assert past.input_tokens(20, characters=20_000, estimated=5_000) == pytest.approx(2_000)


def test_a_sample_is_within_two_percent(con: Any) -> None:
    """Of many inputs some are counted, of every length alike."""
    con.execute(f"{ECHO} udfName='chat'")
    sql = "SELECT chat(repeat('word ', 1 + (i * i) % 97) || i) FROM range(20000) t(i)"
    ((expected,),) = estimates(con, sql, "input_tokens")
    ((read,),) = con.execute("SELECT sum(2 + (i * i) % 97) FROM range(20000) t(i)").fetchall()
    assert expected == pytest.approx(read, rel=0.02)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT i FROM t WHERE chat(s) = 'text 1' AND emb(s || '!') IS NOT NULL",
        "SELECT i FROM t WHERE chat(s) = ANY (SELECT chat('a ' || s) FROM t)",
        "SELECT i FROM t WHERE (i, chat(s)) IN (SELECT i, chat('a ' || s) FROM t)",
        "SELECT i FROM t WHERE chat(s) <> 'x' QUALIFY row_number() OVER (PARTITION BY chat('q' || s)) = 1",
        "SELECT sum(i) FROM t GROUP BY chat(s) HAVING chat('h ' || min(s)) <> ''",
        "WITH RECURSIVE r AS (SELECT 'x' AS x UNION SELECT chat(x || 'y') FROM r WHERE len(x) < 5) FROM r",
        "SELECT CASE WHEN i < 3 THEN chat(s) WHEN chat('g' || s) > 'x' THEN 'y' ELSE chat(s) END FROM t",
        "SELECT coalesce(nullif(chat('a' || s), 'z'), chat(s)), coalesce(nullif(s, ''), chat(s)) FROM t",
        "SELECT a.i, chat('q' || b.s) FROM t a JOIN t b ON a.i = b.i + 1"
        " WHERE chat(a.s) <> '' AND chat(b.s) <> 'x' AND b.i > 2",
        "SELECT i FROM t WHERE (i < 3 OR chat(s) <> 'x') AND chat('a' || s) <> ''",
        "SELECT i FROM t WHERE s BETWEEN chat(s) AND chat('z' || s) AND i < 4",
        "SELECT chat('h' || count(*)) FROM (SELECT chat(s) AS y FROM t) GROUP BY y",
    ],
)  # fmt: skip
def test_what_is_called_exact_is_exact_and_no_call_is_left_out(table: Any, sql: str) -> None:
    """Where answers decide what is asked, the numbers say "at most" or "estimate"."""
    expected = estimates(table, sql, "calls, precision")
    table.execute(f"EXPLAIN ANALYZE {sql}").fetchall()
    made = [row for (row,) in table.execute("SELECT calls_made FROM llm_estimates()").fetchall()]
    for (calls, precision), actual in zip(expected, made, strict=True):
        assert (actual or 0) == calls if precision == "exact" else True
        assert (actual or 0) <= calls if precision == "at most" else True
    assert sum(row or 0 for row in made) == asked(table)


BEHIND = """
CREATE MACRO judged(z) AS judge(z);
CREATE VIEW v AS SELECT i, x, judge(x) AS y FROM t;
CREATE TABLE made(i INT, x VARCHAR, y VARCHAR AS (judge(x)));
INSERT INTO made FROM t;
CREATE MACRO tm() AS TABLE SELECT i, x, judge(x) AS y FROM t;
"""


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT d(x) FROM t WHERE judged(x) = 'k3'",
        "SELECT d(x) FROM t WHERE judged(x) <> 'k3' AND d('a' || x) = 'none'",
        "SELECT CASE judge(x) WHEN 'k1' THEN d(x) ELSE d('e' || x) END FROM t",
        "SELECT CASE WHEN judge(x) = 'k3' THEN d(x) END AS z, count(*) FROM t GROUP BY z ORDER BY z",
        "SELECT if(judge(x) = 'k3', upper(d(x)), 'no') FROM t",
        "SELECT CASE WHEN i < 5 THEN d(x) WHEN judge(x) = 'k9'"
        " THEN CASE WHEN judge('n' || x) = '' THEN d('q' || x) ELSE d('r' || x) END END FROM t",
        "SELECT d(x) FROM t WHERE (judge(x) = 'k1' AND judge('b' || x) = 'bk1') OR i = 2",
        "SELECT d(max(x)) FROM t GROUP BY i HAVING judged(max(x)) = 'k3'",
        "SELECT d(x) FROM (SELECT x, judge(x) AS y FROM t) WHERE y = 'k3'",
        "WITH q AS (SELECT x, judged(x) AS y FROM t) SELECT d(x) FROM q WHERE y = 'k3'",
        "SELECT d(x) FROM v WHERE y = 'k3'",
        "SELECT d(x) FROM made WHERE y = 'k3'",
        "SELECT d(x) FROM tm() WHERE y = 'k3'",
        "UPDATE t SET x = d(x) WHERE judged(x) = 'k4'",
    ],
)  # fmt: skip
def test_what_waits_for_an_answer_is_said_beforehand(con: Any, sql: str) -> None:
    """However the condition is written: a stand-in for the answer keeps no call from being seen."""
    con.execute(f"{ECHO} udfName='judge'; {ECHO} udfName='d'")
    con.execute("CREATE TABLE t AS SELECT i, 'k' || i AS x FROM range(20) r(i);" + BEHIND)
    con.execute("!llm cache clear")
    said = Counter[str]()
    for model, calls in estimates(con, sql, "model, calls"):
        said[model] += calls
    before = dict(con.execute("SELECT model, calls FROM llm_usage()").fetchall())
    con.execute(sql).fetchall()
    after = dict(con.execute("SELECT model, calls FROM llm_usage()").fetchall())
    made = {model: calls - before.get(model, 0) for model, calls in after.items()}
    assert made["judge"] > 0
    assert all(calls <= said[model] for model, calls in made.items())
    assert said["d"] >= 5


def test_two_names_of_one_model_count_once(con: Any) -> None:
    """An answer of one is an answer of the other only where answers are kept: not in memory."""
    con.execute(f"{ECHO} udfName='chat'; {ECHO} udfName='talk'")
    con.execute("CREATE TABLE t AS SELECT 'text ' || i AS s FROM range(7) r(i)")
    expected = estimates(con, "SELECT chat(s), talk(s) FROM t", "calls")
    con.execute("SELECT chat(s), talk(s) FROM t").fetchall()
    assert sum(calls for (calls,) in expected) == asked(con)


def test_analyze_stops_at_a_limit(table: Any) -> None:
    """As the statement does."""
    table.execute("CREATE TABLE long AS SELECT i FROM range(3000) r(i)")
    sql = "SELECT i FROM long WHERE chat('x ' || i) LIKE '%7' LIMIT 1"
    table.execute(f"EXPLAIN ANALYZE {sql}").fetchall()
    assert asked(table) == 16


@pytest.mark.parametrize(
    "write",
    ["UPDATE t SET s = chat('x ' || s)", "INSERT OR REPLACE INTO k SELECT i, chat('x ' || s) FROM t"],
)  # fmt: skip
def test_analyze_of_a_write_keeps_values(con: Any, write: str) -> None:
    """A row that fails ends it, as it ends the write itself."""
    con.execute(f"{ECHO} udfName='chat' AND fail_on='x text 3'")
    con.execute("CREATE TABLE t AS SELECT i, 'text ' || i AS s FROM range(7) r(i)")
    con.execute("CREATE TABLE k(i BIGINT PRIMARY KEY, s TEXT)")
    with pytest.raises(GenerationError):
        con.execute(f"EXPLAIN ANALYZE {write}").fetchall()
    assert con.execute("SELECT count(*) FROM t WHERE s IS NULL").fetchall() == [(0,)]


def test_explain_leaves_no_table(table: Any) -> None:
    """Neither in the user's transaction nor after an ANALYZE."""
    table.execute("BEGIN; EXPLAIN SELECT chat(s) FROM t").fetchall()
    table.execute("COMMIT; EXPLAIN ANALYZE SELECT chat(s) FROM t").fetchall()
    table.execute("SELECT 1")
    assert table.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("t",)]


def test_explain_of_execute_asks_nothing(table: Any) -> None:
    """A constant in a prepared statement is no reason to ask."""
    table.execute("PREPARE p AS SELECT chat($1); EXPLAIN EXECUTE p('zz')").fetchall()
    assert asked(table) == 0


def test_what_was_made_under_each_options_is_told_apart(table: Any) -> None:
    """One place in a statement, three samplings: each has its own numbers."""
    sql = "ANALYZE SELECT chat(s, {'max_tokens': (i + 10)::INTEGER}) FROM t WHERE i < 3"
    assert estimates(table, sql, "calls, calls_made") == [(1, 1)] * 3


RAISING = [
    "SELECT chat(s) FROM t WHERE s::INT > 1",
    "SELECT chat(s), s::INT AS n FROM t",
    "SELECT chat(s) FROM t WHERE error('x') IS NULL",
    "SELECT chat(s) FROM t WHERE s = (SELECT s FROM t)",
    "SELECT chat(s) FROM numbers",
    "SELECT chat(s) FROM t WHERE i - 9223372036854775807 < i",
]


@pytest.mark.parametrize("sql", RAISING)
def test_rows_that_may_fail_are_not_counted_in_a_transaction(table: Any, sql: str) -> None:
    """Plain DuckDB's EXPLAIN looks at none; on 2.0 any error ends the transaction."""
    table.execute("CREATE VIEW numbers AS SELECT s::INT AS n, s FROM t")
    table.execute("BEGIN; CREATE TABLE work AS SELECT 1 AS a")
    table.execute(f"EXPLAIN {sql}").fetchall()
    table.execute("COMMIT")
    assert table.execute("FROM work").fetchall() == [(1,)]


def test_others_are_counted_there_too(table: Any) -> None:
    sql = "SELECT chat(s || i) FROM t WHERE i > 1 AND s LIKE 'text%' ORDER BY i LIMIT 2"
    table.execute("BEGIN")
    assert estimates(table, sql, "calls") == [(2,)]
    table.execute("COMMIT")


def test_an_explain_that_ends_a_transaction_says_why(table: Any) -> None:
    """As plain DuckDB does: the error is the user's."""
    table.execute("BEGIN")
    with pytest.raises(duckdb.BinderException, match="none"):
        table.execute("EXPLAIN SELECT chat(none) FROM t")
    table.execute("ROLLBACK")
