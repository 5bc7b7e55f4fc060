"""The Python API: what `llmsql.connect()` returns."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import warnings
import weakref
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import llmsql
from llmsql.errors import CatalogError, ClosedError, LimitError, LlmsqlWarning, StatementError
from llmsql.runtime.answers import Answers
from llmsql.runtime.engine import reaper
from tests.oracle import Ours

DEPLOY = "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='{}' AND kind='{}'"


@pytest.fixture
def models(con: Any) -> Any:
    for kind in ("chat", "emb", "rerank"):
        con.execute(DEPLOY.format(kind if kind != "rerank" else "rr", kind))
    con.execute("CREATE TABLE t AS SELECT i, 'text ' || i AS s FROM range(5) r(i)")
    return con


def test_a_run_returns_one_row(con: Any) -> None:
    """Deploying answers with what was deployed, on what, and how long it took."""
    row = con.execute(DEPLOY.format("chat", "chat")).fetchall()
    assert [column[0] for column in con.description] == [
        "name",
        "kind",
        "backend",
        "replicas",
        "device",
        "seconds",
    ]
    assert row[0][:5] == ("chat", "chat", "echo", 1, "cpu")


def test_result_types_are_those_of_the_kinds(models: Any) -> None:
    """chat gives VARCHAR, emb FLOAT[n], rerank FLOAT."""
    types = models.execute(
        "SELECT typeof(chat('a')), typeof(emb('a')), typeof(rr('a', 'b')), typeof(llm_embed('a'))"
    )
    assert types.fetchall() == [("VARCHAR", "FLOAT[8]", "FLOAT", "FLOAT[]")]


@pytest.mark.parametrize(
    "options",
    [
        "{'max_tokens': 2}",
        "MAP {'max_tokens': 2}",
        "MAP {'max_tokens': '2'}",
        "'{\"max_tokens\": 2}'",
        "'{\"max_tokens\": 2}'::JSON",
        "json_object('max_tokens', 2)",
        "{'max_tokens': 2, 'seed': NULL}",
    ],
)
def test_options_come_in_three_forms(models: Any, options: str) -> None:
    """STRUCT, MAP and JSON options mean the same; a NULL option is the default."""
    with pytest.warns(LlmsqlWarning, match="1 of 1 answers were cut at max_tokens"):
        assert models.execute(f"SELECT chat('a b c', {options})").fetchall() == [("a b",)]


def test_a_cut_answer_is_told_of_again(models: Any) -> None:
    """Reused it is as short as it was."""
    sql = "SELECT chat('a b ' || i, {'max_tokens': 2}), chat('a') FROM range(3) r(i)"
    for _ in range(3):
        with pytest.warns(LlmsqlWarning, match="3 of 4 answers were cut at max_tokens"):
            models.execute(sql).fetchall()


def test_options_may_differ_from_row_to_row(models: Any) -> None:
    """Each row is answered under its own options."""
    with pytest.warns(LlmsqlWarning, match="3 of 4 answers were cut"):
        rows = models.execute(
            "SELECT chat('a b c d', {'max_tokens': i}) FROM range(1, 5) r(i) ORDER BY i"
        ).fetchall()
    assert rows == [("a",), ("a b",), ("a b c",), ("a b c d",)]


def test_options_that_differ_go_to_the_model_together(models: Any) -> None:
    """A call of it for each row would be as slow as one row after the other."""
    model, batches = models.engine.deployments.get("chat").model, []
    ask = model.generate
    model.generate = lambda prompts: batches.append(len(prompts)) or ask(prompts)
    sql = "SELECT chat('a b ' || i, {'system': 'you are ' || i}) FROM range(300) r(i)"
    models.execute('!llm setup "max_calls=300"')
    assert len(models.execute(sql).fetchall()) == 300
    assert batches == [300]
    calls = models.execute("SELECT calls, seconds < 60 FROM llm_statements()").fetchall()
    assert calls == [(300, True)]


def test_an_answer_that_is_forgotten_is_cut_no_more(models: Any) -> None:
    """What was cut is known of the answer, and goes with it."""
    answers = Answers(None)
    answers.known["a"], answers.cut[hash("a")] = "b", "max_tokens"
    answers.clear()
    assert answers.cut == {}
    for text in "xyz":
        answers.known[text], answers.cut[hash(text)] = "b", "max_tokens"
    answers.shrink(1)
    assert list(answers.cut) == [hash("z")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x" * 100_000,
        "\U0001f600 \U00020000 \U000e0001 \U0010ffff \u0000 \ud7ff",
        "line\nbreak",
        "it's",
    ],
)
def test_any_text_is_a_prompt(models: Any, text: str) -> None:
    """Empty, long, and from every plane of Unicode."""
    assert models.execute("SELECT chat(?)", [text]).fetchall() == [(text,)]
    assert models.execute("SELECT chat(x) FROM (SELECT ? AS x)", [text]).fetchall() == [(text,)]


def test_a_lone_surrogate_is_refused_by_duckdb_and_leaves_the_connection_usable(
    models: Any,
) -> None:
    """Text that is not Unicode never reaches a model."""
    with pytest.raises(Exception, match=r"surrogate|Unicode|UTF|Unable to cast"):
        models.execute("SELECT chat(?)", ["\ud800"])
    assert models.execute("SELECT chat('a')").fetchall() == [("a",)]


def test_null_is_null_without_a_call() -> None:
    """A NULL prompt gives NULL and asks nothing."""
    ours = Ours()
    assert ours.con.execute(
        "SELECT m(NULL), m(NULL::VARCHAR), m(s) FROM t WHERE i = 0"
    ).fetchall() == [(None, None, None)]
    assert ours.calls == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1", "1"),
        ("1.0", "1.0"),
        ("true", "true"),
        ("DATE '2020-01-02'", "2020-01-02"),
        ("[1, 2]", "[1, 2]"),
    ],
)
def test_other_types_are_cast_as_duckdb_casts_them(models: Any, value: str, text: str) -> None:
    """A prompt that is no text is asked as its text."""
    assert models.execute(f"SELECT chat({value})").fetchall() == [(text,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT chat(s) FROM t ORDER BY i",
        "WITH c AS (SELECT chat(s) AS y, i FROM t) SELECT y FROM c ORDER BY i",
        "SELECT y FROM view_of_it ORDER BY y",
        "SELECT ask(s) FROM t ORDER BY i",
        "SELECT unnest(list_transform(list(s ORDER BY i), lambda x: chat(x))) FROM t",
        "SELECT chat(a.s) FROM t a JOIN t b ON a.i = b.i ORDER BY a.i",
    ],
)
def test_functions_are_seen_everywhere(models: Any, sql: str) -> None:
    """In queries, CTEs, views, macros, lambdas and joins, and from a cursor."""
    models.execute("CREATE VIEW view_of_it AS SELECT chat(s) AS y FROM t")
    models.execute("CREATE MACRO ask(x) AS chat(x)")
    expected = [(f"text {i}",) for i in range(5)]
    assert models.execute(sql).fetchall() == expected
    assert models.cursor().execute(sql).fetchall() == expected


def test_another_client_of_the_database_gets_answers(models: Any) -> None:
    """A plain DuckDB connection to the same database calls the same functions."""
    other = models.engine.root.cursor()
    assert other.execute("SELECT chat(s) FROM t ORDER BY i LIMIT 1").fetchall() == [("text 0",)]
    other.close()


def test_a_prepared_statement_keeps_working(models: Any) -> None:
    """PREPARE keeps a token that ends with its statement; EXECUTE still answers."""
    models.execute("PREPARE p AS SELECT chat(s || $1) FROM t WHERE i < $2 ORDER BY i")
    for mark in "!?":
        rows = models.execute(f"EXECUTE p('{mark}', 2)").fetchall()
        assert rows == [(f"text 0{mark}",), (f"text 1{mark}",)]


def test_sql_returns_a_relation_over_finished_rows() -> None:
    """A relation on a model query calls no model when it is used, however often."""
    ours = Ours()
    relation = ours.con.sql("SELECT i, m(s) AS y FROM t WHERE k = 1")
    calls = ours.calls
    assert calls > 0
    assert relation.filter("i > 100").aggregate("count(*)").fetchall() == [(10,)]
    assert len(relation.fetchall()) == 20
    ours.con.execute("DROP TABLE t")
    assert relation.aggregate("count(y)").fetchall()[0][0] > 0
    assert ours.calls == calls


def test_sql_keeps_types_and_names(models: Any) -> None:
    """The relation has the types and names that the query has, doubled ones too."""
    relation = models.sql(
        "SELECT 1::HUGEINT AS h, uuid '00000000-0000-0000-0000-000000000001' AS u, chat('x') AS a,"
        " INTERVAL 1 DAY AS v, 1.5::DECIMAL(9, 2) AS a, DATE '2020-01-01' AS d, {'k': [1]} AS s"
    )
    assert relation.columns == ["h", "u", "a", "v", "a", "d", "s"]
    assert [str(kind) for kind in relation.types] == [
        "HUGEINT",
        "UUID",
        "VARCHAR",
        "INTERVAL",
        "DECIMAL(9,2)",
        "DATE",
        "STRUCT(k INTEGER[])",
    ]


def test_frames_are_tables(models: Any) -> None:
    """The caller's pandas, polars and Arrow variables are tables, as in DuckDB."""
    frame = pd.DataFrame({"x": ["p", "q"]})  # noqa: F841
    lazy = pl.DataFrame({"x": ["r"]})  # noqa: F841
    arrow = pa.table({"x": ["s"]})  # noqa: F841
    for name, answers in (("frame", ["p", "q"]), ("lazy", ["r"]), ("arrow", ["s"])):
        query = f"SELECT chat(x) FROM {name}"
        assert models.execute(query).fetchall() == [(a,) for a in answers]
        assert models.sql(query).fetchall() == [(a,) for a in answers]
        assert models.execute(f"FROM {name}").fetchall() == [(a,) for a in answers]
    models.execute("CREATE TABLE kept AS SELECT chat(x) AS y FROM frame")
    assert models.execute("SELECT count(*) FROM kept").fetchall() == [(2,)]


@pytest.mark.parametrize("query", [5, None, b"SELECT 1"])
def test_what_is_no_text_is_no_statement(con: Any, query: Any) -> None:
    """Nor bytes, as in DuckDB."""
    for run in (con.execute, con.sql):
        with pytest.raises(
            llmsql.StatementError, match="^a statement is a text or a duckdb.Statement"
        ):
            run(query)


def test_a_reader_is_read_once(models: Any) -> None:
    """An Arrow reader is empty after one pass, so it gets one."""
    table = pa.table({"x": [f"row {i}" for i in range(5000)]})
    reader = table.to_reader()  # noqa: F841
    assert models.execute("SELECT count(chat(x)) FROM reader").fetchall() == [(5000,)]
    models.register("registered", table.to_reader())
    assert models.execute("SELECT count(chat(x)) FROM registered").fetchall() == [(5000,)]


def test_namespace_takes_the_place_of_the_caller(models: Any) -> None:
    """Whoever runs statements for somebody else passes that one's variables."""
    namespace = {"mine": pa.table({"x": ["here"]})}
    rows = models.execute("SELECT chat(x) FROM mine", namespace=namespace).fetchall()
    assert rows == [("here",)]


def test_fetching_in_every_form(models: Any) -> None:
    """All of DuckDB's ways to fetch work on the result of a model query."""
    query = "SELECT chat(s) AS y FROM t ORDER BY i"
    expected = [f"text {i}" for i in range(5)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # DuckDB 2.0 advises relations for Arrow
        assert models.execute(query).fetchone() == ("text 0",)
        assert models.execute(query).fetchmany(2) == [("text 0",), ("text 1",)]
        assert models.execute(query).df()["y"].tolist() == expected
        assert models.execute(query).to_arrow_table()["y"].to_pylist() == expected
        assert models.execute(query).fetchnumpy()["y"].tolist() == expected
    assert models.sql(query).pl()["y"].to_list() == expected


def test_executemany_runs_each_set(models: Any) -> None:
    """Every set of parameters is run, with a model or without."""
    models.execute("CREATE TABLE kept(y VARCHAR)")
    models.executemany("INSERT INTO kept VALUES (chat(?))", [["a"], ["b"]])
    models.executemany("INSERT INTO kept VALUES (?)", [["c"]])
    assert models.execute("FROM kept ORDER BY y").fetchall() == [("a",), ("b",), ("c",)]


def test_a_statement_of_duckdbs_is_a_query(models: Any) -> None:
    """What `extract_statements` gives can be run, as DuckDB runs it."""
    one, two = models.extract_statements("SELECT chat('a'); SELECT 2")
    assert models.execute(one).fetchall() == [("a",)]
    assert models.sql(two).fetchall() == [(2,)]


def test_rowcount_is_what_was_written(models: Any) -> None:
    """Of what a model wrote; DuckDB does not know how many rows a query has."""
    models.execute("CREATE TABLE kept(y VARCHAR)")
    models.execute("INSERT INTO kept SELECT chat(s) FROM t")
    assert models.rowcount == 5
    models.execute("UPDATE kept SET y = chat(y) WHERE y = 'text 1'")
    assert models.rowcount == 1
    models.execute("SELECT chat(s) FROM t")
    assert models.rowcount == -1


def test_what_writes_gives_a_relation_where_duckdbs_does(models: Any) -> None:
    """From 2.0 on, of how many rows it wrote."""
    plain = duckdb.connect()
    for con, value in ((models, "chat('a')"), (plain, "'a'")):
        con.execute("CREATE TABLE kept(y VARCHAR)")
        relation = con.sql(f"INSERT INTO kept SELECT {value}")
        assert (relation and relation.fetchall()) == ([(1,)] if duckdb.__version__ >= "2" else None)


@pytest.mark.parametrize(
    ("sql", "batches"),
    [
        ("INSERT INTO two VALUES (?, m(?))", {"m": [20]}),
        ("INSERT INTO two SELECT $1, m(g($2))", {"g": [20], "m": [7]}),
        ("INSERT INTO two VALUES ($1, 'made of ' || m($2) || g('one'))", {"m": [20], "g": [1]}),
        ("INSERT INTO two SELECT $1, m($2) WHERE NOT EXISTS (FROM two)", {"m": [1] * 20}),
        ("INSERT INTO two VALUES ($1, m($2 || left(now()::VARCHAR, 0)))", {"m": [1] * 20}),
        ("INSERT INTO two VALUES ($1, m($2 || counted()))", {"m": [1] * 60}),
    ],
)
def test_executemany_asks_about_all_sets_at_once(sql: str, batches: dict[str, list[int]]) -> None:
    """Where they alone decide what is asked: as one statement over their table would."""
    ours = Ours("CREATE TABLE two(i INT, s VARCHAR)")
    ours.con.execute("CREATE MACRO counted() AS (SELECT count(*) FROM two)")
    ours.con.executemany(sql, ((i, f"text {i % 20}") for i in range(60)))
    assert {name: model.batches for name, model in ours.models.items() if model.batches} == batches
    (kept,) = ours.con.execute("SELECT count(*) FROM two").fetchone() or ()
    assert kept == (1 if "EXISTS" in sql else 60)


def test_executemany_in_a_transaction_keeps_what_the_user_did() -> None:
    """What the passes run writes nothing, and an error of a set is that of the statement."""
    ours = Ours("CREATE TABLE two(i INT PRIMARY KEY, s VARCHAR NOT NULL)")
    con = ours.con
    con.execute("BEGIN")
    con.executemany("INSERT INTO two VALUES (?, m(?))", [(1, "a"), (2, "b")])
    con.execute("COMMIT")
    with pytest.raises(duckdb.ConstraintException):
        con.executemany("INSERT INTO two VALUES (?, m(?))", [(3, "c"), (1, "d"), (4, "e")])
    assert con.execute("SELECT list(i ORDER BY i) FROM two").fetchone() == ([1, 2, 3],)
    statements = con.execute("SELECT calls FROM llm_statements() ORDER BY started_at").fetchall()
    assert statements == [(2,), (3,)]


def test_executemany_that_cannot_begin_asks_nothing() -> None:
    """And one that ends early leaves no row of ours to be fetched."""
    ours = Ours("CREATE TABLE two(i INT, s VARCHAR)")
    with pytest.raises(duckdb.CatalogException, match="nope"):
        ours.con.executemany("INSERT INTO nope VALUES (?, m(?))", [(1, "a"), (2, "b")])
    assert ours.calls == 0
    ours.con.execute("!llm setup 'max_calls=1'")
    with pytest.raises(llmsql.LimitError):
        ours.con.executemany("INSERT INTO two VALUES (?, m(?))", [(1, "a"), (2, "b")])
    assert ours.con.fetchall() == []
    ours.con.execute("!llm setup 'max_calls='")
    ours.con.executemany("INSERT INTO two VALUES (?, m(?)) RETURNING m(s)", [(1, "a"), (2, "b")])
    assert [column[0] for column in ours.con.description] == ["m(s)"]


@pytest.mark.parametrize("nothing", [[], iter([]), np.empty((0, 1)), None, 5])
def test_executemany_of_nothing_is_refused_as_duckdb_does(models: Any, nothing: Any) -> None:
    """A set of parameters is wanted."""
    with pytest.raises(duckdb.InvalidInputException):
        models.executemany("SELECT chat(?)", nothing)


@pytest.mark.parametrize(
    "sets", [np.array([["a"], ["b"]]), pd.DataFrame({"x": ["a", "b"]}).values, pd.Series([["a"], ["b"]])]
)  # fmt: skip
def test_executemany_takes_sets_without_a_truth_value(models: Any, sets: Any) -> None:
    """As DuckDB does."""
    models.execute("CREATE TABLE kept(y VARCHAR)")
    models.executemany("INSERT INTO kept VALUES (chat(?))", sets)
    assert models.execute("FROM kept ORDER BY y").fetchall() == [("a",), ("b",)]


def test_names_may_repeat_in_a_relation(models: Any) -> None:
    """As they may in a result."""
    relation = models.sql("SELECT a.i, b.i, chat(a.s) AS y FROM t a JOIN t b USING (i) WHERE i = 1")
    assert relation.columns == ["i", "i", "y"]
    assert relation.fetchall() == [(1, 1, "text 1")]


def test_a_name_is_spelled_as_the_statement_spells_it(models: Any) -> None:
    """DuckDB 2.0 describes `i AS I` as a column i, and gives a column I."""
    query = (
        "SELECT i AS I, x.S AS Text, chat(S) AS Answer, j FROM (SELECT i, s, i AS J FROM t) AS x"
    )
    plain = query.replace("chat(S)", "S")
    expected = [column[0] for column in models.execute(plain).description]
    assert [column[0] for column in models.execute(query).description] == expected
    assert models.sql(query).columns == expected


def test_what_duckdb_returns_itself_is_the_connection(models: Any) -> None:
    """So that what is chained behind it may be a statement of ours."""
    assert models.begin() is models
    assert models.commit() is models
    assert models.begin().execute("SELECT chat('a')").fetchall() == [("a",)]
    assert models.rollback() is models


def test_a_cursor_outlives_the_connection_it_is_of() -> None:
    """As DuckDB's does; closing the connection closes it."""
    cursor = llmsql.connect().cursor()
    gc.collect()
    time.sleep(0.3)  # another thread closes what nobody holds
    assert cursor.execute("SELECT 1").fetchall() == [(1,)]


@pytest.mark.skipif(
    duckdb.__version__ < "2",
    reason="1.5.5 loses the error of an update(), or waits for it for good",
)
def test_a_relation_that_writes_no_null_over_a_value(models: Any) -> None:
    """Of a row that fails nobody could tell before it is written."""
    models.execute(DEPLOY.format("bad", "chat") + " AND fail_on='text 1'")
    relation = models.table("t")
    with pytest.raises(duckdb.Error, match="told to fail on 'text 1'"):
        relation.update({"s": duckdb.SQLExpression("bad(s)")})
    assert models.execute("SELECT s FROM t WHERE i = 1").fetchall() == [("text 1",)]


def test_a_column_that_duckdb_loses_has_a_way_round(models: Any) -> None:
    """DuckDB 2.0, in a LATERAL, where a macro with typed parameters reads a column from outside."""
    query = (
        "SELECT t.i, u.i FROM t, LATERAL (SELECT i FROM t AS v"
        " ORDER BY list_distance(emb(v.s)::FLOAT[], {}::FLOAT[]) LIMIT 1) AS u ORDER BY 1"
    )
    nearest = [(i, i) for i in range(5)]
    assert models.execute(query.format("llm_embed(t.s, 'emb')")).fetchall() == nearest
    try:
        assert models.execute(query.format("emb(t.s)")).fetchall() == nearest
    except duckdb.Error as error:
        assert str(error).endswith("llm_embed(column, 'name of the model') takes it")


def test_a_struct_without_names_comes_into_a_relation(models: Any) -> None:
    """Its type has no spelling that a cast could name, and no table can hold it."""
    relation = models.sql("SELECT [row(i, s)] AS r, chat(s) AS y FROM t WHERE i = 1")
    assert relation.columns == ["r", "y"]
    assert relation.fetchall() == [([(1, "text 1")], "text 1")]


def test_values_of_a_case_are_asked_at_once(models: Any) -> None:
    """They wait for its conditions, not for one another."""
    model, batches = models.engine.deployments.get("chat").model, []
    ask = model.generate
    model.generate = lambda prompts: batches.append(len(prompts)) or ask(prompts)
    branches = " ".join(f"WHEN {n} THEN chat('{n}' || s)" for n in range(4))
    rows = models.execute(f"SELECT CASE i {branches} ELSE chat(s) END FROM t").fetchall()
    assert rows == [("0text 0",), ("1text 1",), ("2text 2",), ("3text 3",), ("text 4",)]
    assert batches == [5]


def test_constants_of_an_in_are_asked_at_once(models: Any) -> None:
    """DuckDB makes all of them while it plans."""
    model, batches = models.engine.deployments.get("chat").model, []
    ask = model.generate
    model.generate = lambda prompts: batches.append(len(prompts)) or ask(prompts)
    texts = ", ".join(f"chat('text {n}')" for n in range(2, 9))
    assert models.execute(f"SELECT i FROM t WHERE s IN ({texts})").fetchall() == [(2,), (3,), (4,)]
    assert batches == [7]


def test_executemany_knows_variables(con: Any) -> None:
    """`${name}` stands for its value there, too."""
    con.execute("CREATE TABLE kept(y VARCHAR); SET who = 'me';")
    con.executemany("INSERT INTO kept VALUES (? || '${who}')", [["a"], ["b"]])
    assert con.execute("FROM kept ORDER BY y").fetchall() == [("ame",), ("bme",)]


def test_named_parameters(models: Any) -> None:
    """Parameters by name go to the model as they go to DuckDB."""
    rows = models.execute("SELECT chat($a || $b)", {"a": "x", "b": "y"}).fetchall()
    assert rows == [("xy",)]


def test_a_file_is_shared_by_connections_of_a_process(tmp_path: Path) -> None:
    """Two connections to one file share its models, and the last one to close unloads them."""
    path = str(tmp_path / "x.duckdb")
    one, two = llmsql.connect(path), llmsql.connect(path)
    one.execute(DEPLOY.format("chat", "chat"))
    one.close()
    assert two.execute("SELECT chat('still here')").fetchall() == [("still here",)]
    two.close()
    three = llmsql.connect(path)
    three.execute("!llm model list")
    is_loaded = [name for name, *_ in three.description].index("is_loaded")
    assert [row[is_loaded] for row in three.fetchall()] == [False]
    three.close()


def test_a_read_only_database_deploys_and_answers(tmp_path: Path) -> None:
    """Models do not need to write; a statement that does gets DuckDB's own error."""
    path = str(tmp_path / "x.duckdb")
    llmsql.connect(path).close()
    con = llmsql.connect(path, read_only=True)
    con.execute(DEPLOY.format("chat", "chat"))
    assert con.execute("SELECT chat('a')").fetchall() == [("a",)]
    with pytest.raises(duckdb.InvalidInputException, match="read-only"):
        con.execute("CREATE TABLE kept AS SELECT chat('a') AS y")
    with pytest.raises(duckdb.InvalidInputException, match="read-only"):
        con.execute("!llm library install")
    assert con.execute("SELECT chat('a')").fetchall() == [("a",)]
    con.close()


def test_a_closed_connection_says_so(con: Any) -> None:
    """Every use after close is one clear error; closing twice is none."""
    con.close()
    con.close()
    for use in (
        lambda: con.execute("SELECT 1"),
        lambda: con.sql("SELECT 1"),
        lambda: con.fetchall(),
        lambda: con.cursor(),
        lambda: con.execute("!llm model list"),
        lambda: con.description,
    ):
        with pytest.raises(
            ClosedError, match=r"^the connection is closed\n  llmsql.connect\(\) opens another$"
        ):
            use()


def test_closing_in_two_threads_closes_once(tmp_path: Path) -> None:
    """Else the database would close under its other connections."""
    con, other = (llmsql.connect(str(tmp_path / "x.duckdb")) for _ in range(2))
    threads = [threading.Thread(target=con.close) for _ in range(4)]
    with con._lock:
        for thread in threads:
            thread.start()
        time.sleep(0.2)
    for thread in threads:
        thread.join()
    assert other.execute("SELECT 1").fetchall() == [(1,)]
    other.close()


def test_a_statement_that_waited_while_it_was_closed_says_so(con: Any) -> None:
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            con.execute("SELECT 1")
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    with con._lock:
        thread.start()
        time.sleep(0.2)
        con.close()
    thread.join()
    assert [type(error) for error in errors] == [ClosedError]


def test_a_plain_client_leaves_the_size_of_the_store_alone(tmp_path: Path) -> None:
    """It has no settings; the connection that has takes its own back."""
    con = llmsql.connect(str(tmp_path / "x.duckdb"))
    con.execute(DEPLOY.format("chat", "chat"))
    con.execute('!llm setup "cache_size=1MB"')
    con.execute("SELECT chat('a')")
    store = con._session.conditions.store
    con.engine.root.cursor().execute("SELECT chat('b')").fetchall()
    assert store.max_bytes == 1_000_000
    with pytest.warns(LlmsqlWarning, match="cache_size too"):
        con.execute("!llm setup single")
    con.execute("SELECT chat('c')")
    assert store.max_bytes is None
    con.close()


def test_a_setting_that_is_wrong_leaves_no_database_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What LLMSQL_ON_ERROR says is read before anything is opened."""
    path = str(tmp_path / "x.duckdb")
    monkeypatch.setenv("LLMSQL_ON_ERROR", "bad")
    with pytest.raises(llmsql.OptionError):
        llmsql.connect(path)
    duckdb.connect(path, config={"threads": 1}).close()  # another configuration would be refused


def test_a_folder_of_functions_that_is_missing_leaves_no_database_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while somebody holds the error, and all that its traceback refers to."""
    path = str(tmp_path / "x.duckdb")
    monkeypatch.setenv("LLMSQL_UDF_FOLDER", str(tmp_path / "nowhere"))
    with pytest.raises(llmsql.CatalogError) as held:
        llmsql.connect(path)
    duckdb.connect(path, config={"threads": 1}).close()
    assert held.value


def test_a_model_that_does_not_unload_stops_nothing_else(tmp_path: Path) -> None:
    """The database is closed all the same, and it is said."""
    path = str(tmp_path / "x.duckdb")
    con = llmsql.connect(path)
    con.execute(DEPLOY.format("chat", "chat"))
    con.engine.deployments.get("chat").model.unload = lambda: 1 / 0
    with pytest.warns(UserWarning, match=r'model "chat" did not unload: ZeroDivisionError'):
        con.close()
    duckdb.connect(path, config={"threads": 1}).close()


def test_context_manager_closes() -> None:
    """Leaving the block closes the connection."""
    with llmsql.connect() as con:
        assert con.execute("SELECT 1").fetchall() == [(1,)]
    with pytest.raises(ClosedError):
        con.execute("SELECT 1")


def test_a_statement_that_has_ended_holds_nothing_of_its_caller(models: Any) -> None:
    """The frames it may have read are free when their function has returned."""

    class Large:
        pass

    def ask() -> Any:
        large = Large()
        models.execute("SELECT chat('a')").fetchall()
        return weakref.ref(large)

    assert ask()() is None


def test_macros_of_a_folder_go_with_it(con: Any, tmp_path: Path) -> None:
    """Another udf_folder takes the place of the one before."""
    for folder, kind in (("one", ""), ("two", "TABLE SELECT ")):
        (tmp_path / folder).mkdir()
        text = f"-- It.\nCREATE OR REPLACE MACRO of_{folder}(x) AS {kind}upper(x);\n"
        (tmp_path / folder / f"of_{folder}.sql").write_text(text)
    con.execute(f'!llm setup "udf_folder={tmp_path / "two"}";')
    assert con.execute("FROM of_two('a')").fetchall() == [("A",)]
    con.execute(f'!llm setup "udf_folder={tmp_path / "one"}";')
    assert con.execute("SELECT of_one('a')").fetchall() == [("A",)]
    with pytest.raises(duckdb.CatalogException):
        con.execute("FROM of_two('a')")


@pytest.fixture
def layered(tmp_path: Path) -> Path:
    """A folder whose macros call each other, none one before it by name."""
    for name, body in (("of_a", "of_b(x) + of_c(x)"), ("of_b", "of_c(x)"), ("of_c", "x + 1")):
        text = f"-- It.\nCREATE OR REPLACE MACRO {name}(x) AS {body};\n"
        (tmp_path / f"{name}.sql").write_text(text)
    return tmp_path


def test_macros_of_a_folder_may_call_later_ones(
    con: Any, layered: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only what stays broken is left out, and that is said once."""
    (layered / "of_aa.sql").write_text("-- It.\nCREATE MACRO of_aa(x) AS of_nothing(of_c(x));\n")
    con.execute(f'!llm setup "udf_folder={layered}";')
    assert con.execute("SELECT of_a(1)").fetchall() == [(4,)]
    (said,) = caplog.messages
    assert "of_aa.sql is left out" in said and "of_nothing" in said


def test_macros_that_call_later_ones_are_installed(con: Any, layered: Path) -> None:
    """For other clients of the database; one that stays broken is an error."""
    con.execute(f'!llm setup "udf_folder={layered}"; !llm library install;')
    with closing(con.engine.root.cursor()) as other:
        assert other.execute("SELECT of_a(1)").fetchall() == [(4,)]
    (layered / "of_aa.sql").write_text("-- It.\nCREATE MACRO of_aa(x) AS of_nothing(x);\n")
    with pytest.raises(duckdb.CatalogException, match="of_nothing"):
        con.execute("!llm library install;")


def test_everything_else_is_duckdbs(con: Any) -> None:
    """What llmsql does not have is delegated to the DuckDB connection."""
    con.begin()
    con.execute("CREATE TABLE t AS SELECT 1 AS a")
    con.rollback()
    with pytest.raises(duckdb.CatalogException):
        con.execute("FROM t")
    assert con.values([1, 2]).fetchall() == [(1, 2)]


def test_db_api_attributes() -> None:
    """The module has DB-API 2's attributes and exceptions."""
    assert (llmsql.apilevel, llmsql.paramstyle) == ("2.0", "qmark")
    assert issubclass(llmsql.LlmsqlError, llmsql.Error)
    assert llmsql.Error is duckdb.Error


def test_importing_costs_duckdb_and_no_more() -> None:
    """`import llmsql` and connecting import no library that runs models, no pyarrow at import."""
    code = (
        "import sys, llmsql\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'openai', 'pyarrow', 'numpy',"
        " 'sqlglot', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "llmsql.connect().execute('SELECT 1')\n"
        "heavy -= {'numpy', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n[]\n"


def test_nothing_is_printed_at_exit() -> None:
    """A program that leaves its connection open ends without a word on stderr."""
    code = (
        "import llmsql\n"
        "con = llmsql.connect()\n"
        f'con.execute("{DEPLOY.format("chat", "chat")}")\n'
        "print(con.execute(\"SELECT chat('a')\").fetchall())\n"
        "other = con.cursor()"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (out.stdout, out.stderr) == ("[('a',)]\n", "")


def test_rollback_keeps_the_functions(models: Any) -> None:
    """A rollback may take the temporary macros; the next statement has them again."""
    for begin, rollback in (("BEGIN", "ROLLBACK"), ("BEGIN", "ABORT")):
        models.execute(begin)
        models.cursor().execute(DEPLOY.format("late", "chat"))
        models.execute("SELECT 1")
        models.execute(rollback)
        assert models.execute("SELECT late('x'), chat('y')").fetchall() == [("x", "y")]


@pytest.mark.parametrize(
    "end", ["COMMIT", "SELECT error('x'); COMMIT", "-- undo it\nROLLBACK; SELECT 1"]
)
def test_any_end_of_a_transaction_keeps_the_functions(con: Any, end: str) -> None:
    """Also one that fails: without ours, an UPDATE would put NULL where a row fails."""
    con.execute(DEPLOY.format("chat", "chat"))
    con.execute(
        "CREATE TABLE kept(k INT PRIMARY KEY, y VARCHAR); INSERT INTO kept VALUES (1, 'bad')"
    )
    con.execute("BEGIN")
    con.cursor().execute(DEPLOY.format("late", "chat") + " AND fail_on='bad'")
    con.execute("SELECT 1")
    other = con.cursor()
    other.execute("INSERT INTO kept VALUES (2, 'theirs')")
    with suppress(duckdb.Error):
        con.execute("INSERT INTO kept VALUES (2, 'ours')")
    for statement in end.split("; "):
        with suppress(duckdb.Error):
            con.execute(statement)
    if con._session.in_transaction():
        con.execute("ROLLBACK")
    with pytest.raises(llmsql.GenerationError):
        con.execute("UPDATE kept SET y = late(y)")
    assert con.execute("SELECT y FROM kept WHERE k = 1").fetchall() == [("bad",)]


def test_deploying_in_a_transaction_is_refused(models: Any) -> None:
    """A rollback would lose the function."""
    models.execute("BEGIN")
    with pytest.raises(
        llmsql.CatalogError, match=r"^cannot deploy a model inside a transaction\n  COMMIT"
    ):
        models.execute(DEPLOY.format("new", "chat"))
    with pytest.raises(llmsql.CatalogError, match="cannot remove a model inside a transaction"):
        models.execute("!llm model remove chat")
    models.execute("ROLLBACK")
    assert models.execute("!llm model exists chat").fetchall() == [(True,)]


def test_a_sampled_answer_is_the_same_within_a_statement_only() -> None:
    """Equal inputs give equal outputs in a statement; across statements only if repeatable."""
    ours = Ours()
    for options, calls in (
        ("{'temperature': 1.0}", 2),
        ("{'temperature': 1.0, 'seed': 7}", 1),
        ("{}", 1),
    ):
        ours.forget()
        sql = (
            f"SELECT m('x', {options}) FROM range(3)"
            if options != "{}"
            else "SELECT m('x') FROM range(3)"
        )
        ours.con.execute(sql)
        ours.con.execute(sql)
        assert ours.calls == calls, options


def test_rows_nobody_fetched_are_in_nobodys_way(con: Any) -> None:
    """What a RUN returned does not have to be fetched before the connection is used."""
    con.execute(DEPLOY.format("chat", "chat"))
    con.register("given", pa.table({"x": ["a"]}))
    con.execute(DEPLOY.format("chat", "chat"))
    con.create_function("twice", lambda x: x * 2, ["INTEGER"], "INTEGER")
    con.remove_function("twice")
    assert con.execute("SELECT chat(x) FROM given").fetchall() == [("a",)]


def test_a_file_opened_another_way_is_refused(tmp_path: Path) -> None:
    """Opening a file again with other settings is DuckDB's error, not silently the same."""
    path = str(tmp_path / "x.duckdb")
    con = llmsql.connect(path)
    with pytest.raises(duckdb.ConnectionException):
        llmsql.connect(path, read_only=True)
    con.close()


@pytest.mark.parametrize("database", [None, 5, b"x"])
def test_what_is_no_path_opens_no_database(
    database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is named after it; DuckDB refuses it, too."""
    monkeypatch.chdir(tmp_path)
    said = f"^a database is a path, as str or os.PathLike, not {type(database).__name__}\n"
    with pytest.raises(llmsql.OptionError, match=said):
        llmsql.connect(database)
    assert list(tmp_path.iterdir()) == []


def test_on_error_comes_from_the_environment_and_goes_to_cursors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """LLMSQL_ON_ERROR counts from the start, and a cursor inherits what was set up."""
    monkeypatch.setenv("LLMSQL_ON_ERROR", "raise")
    con = llmsql.connect()
    con.execute(DEPLOY.format("chat", "chat") + " AND fail_on='bad'")
    for each in (con, con.cursor()):
        with pytest.raises(llmsql.GenerationError):
            each.execute("SELECT chat('bad')")
    con.close()


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO kept VALUES ('k', chat('bad')) ON CONFLICT DO UPDATE SET y = excluded.y",
        "INSERT OR REPLACE INTO kept VALUES ('k', chat('bad'))",
        "EXECUTE change",
    ],
)
def test_no_failing_row_destroys_a_value(con: Any, sql: str) -> None:
    """Whatever writes over a value raises where it would write the NULL of a failed row."""
    con.execute(DEPLOY.format("chat", "chat") + " AND fail_on='bad'")
    con.execute("CREATE TABLE kept(x VARCHAR PRIMARY KEY, y VARCHAR)")
    con.execute("INSERT INTO kept VALUES ('k', 'bad')")
    con.execute("PREPARE change AS UPDATE kept SET y = chat(y)")
    with pytest.raises(llmsql.GenerationError):
        con.execute(sql)
    assert con.execute("FROM kept").fetchall() == [("k", "bad")]


def test_order_survives_without_insertion_order(con: Any) -> None:
    """ORDER BY holds when DuckDB is told not to keep the order of insertion."""
    con.execute(DEPLOY.format("chat", "chat"))
    con.execute("SET preserve_insertion_order = false")
    rows = con.execute("SELECT i, chat('x') FROM range(400000) r(i) ORDER BY -i").fetchall()
    assert [i for i, _ in rows[:3]] == [399999, 399998, 399997]
    assert all(a[0] > b[0] for a, b in zip(rows, rows[1:], strict=False))


def test_a_macro_in_a_models_name_is_refused(models: Any) -> None:
    """A macro that the model's function would hide is an error, not a surprise."""
    with pytest.raises(llmsql.CatalogError, match='^"chat" is the function of a model'):
        models.execute("CREATE MACRO chat(x) AS 'mine'")


def test_a_prompt_is_cast_in_the_connections_time_zone(models: Any) -> None:
    """What a model sees is what x::VARCHAR gives on this connection."""
    models.execute("SET TimeZone = 'America/New_York'")
    for x in (
        "'2020-01-01 10:00:00+00'::TIMESTAMPTZ",
        "'0101'::BIT",
        "row(1, 'x')",
        "'12:00:00+02'::TIMETZ",
        "340282366920938463463374607431768211455::UHUGEINT",
    ):
        assert models.execute(f"SELECT chat({x}) = {x}::VARCHAR").fetchall() == [(True,)], x


def test_a_copy_says_what_it_was_told_to_say(models: Any, tmp_path: Path) -> None:
    """The files it has written, and figures of them."""
    file = tmp_path / "x.parquet"
    copy = f"COPY (SELECT i, chat(s) AS y FROM t) TO '{file}'"
    assert models.execute(f"{copy} (RETURN_FILES)").fetchall() == [(5, [str(file)])]
    assert models.execute(f"{copy} (RETURN_STATS)").fetchone()[:2] == (str(file), 5)


def test_the_last_result_is_nobodys_table(models: Any) -> None:
    """A model query leaves nothing in the catalog for the next statement to see."""
    models.execute("SELECT chat(s) FROM t").fetchall()
    assert models.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("t",)]


def test_the_rows_of_a_cursor_that_nobody_holds_can_be_fetched(con: Any) -> None:
    """As in DuckDB: what fetches them holds it."""
    fetch = con.cursor().execute("SELECT 1").fetchall
    gc.collect()
    reaper.submit(lambda: None).result()  # what is to be closed has been
    assert fetch() == [(1,)]


@pytest.mark.parametrize(
    "script",
    [
        "BEGIN; SELECT chat('a') AS x; COMMIT",
        "CREATE TABLE z AS SELECT chat('a') AS x; FROM z; DROP TABLE z",
        "SELECT chat('b'); SELECT chat('a') AS x; SET threads = 2; CREATE TABLE y AS SELECT 1",
        "SELECT chat('a') AS x; INSERT INTO t(s) SELECT chat('b')",
        "PREPARE p AS SELECT chat('a') AS x; EXECUTE p; DEALLOCATE p",
    ],
)
def test_what_follows_the_rows_of_a_script_gives_none(models: Any, script: str) -> None:
    """DuckDB 2.0 keeps the last result there was; 1.5 has that of the last statement."""
    plain = duckdb.connect()
    plain.create_function("chat", lambda text: text, ["VARCHAR"], "VARCHAR")
    plain.execute("CREATE TABLE t(s VARCHAR)")
    expected, found = plain.execute(script), models.execute(script)
    assert found.description[0][0] == expected.description[0][0]
    assert found.fetchall() == expected.fetchall()
    plain.remove_function("chat")


def test_a_relation_keeps_a_connection_that_nobody_holds(tmp_path: Path) -> None:
    """As in DuckDB: with the relation go the connection and the database."""

    def load() -> tuple[Any, Any]:
        con = llmsql.connect(str(tmp_path / "a.duckdb"))
        con.execute("CREATE TABLE t AS SELECT i FROM range(3) r(i)")
        return con.engine, con.table("t").project("i").filter("i > 0")

    engine, relation = load()
    gc.collect()
    reaper.submit(lambda: None).result()
    assert (relation.fetchall(), engine.users) == ([(1,), (2,)], 1)
    del relation
    for _ in range(2):  # the connection has gone, and its use of the engine
        reaper.submit(lambda: None).result()
    assert engine.users == 0


@pytest.mark.parametrize("ours", ['!llm setup "max_calls=5"', "!llm backends"])
def test_a_relation_follows_a_statement_of_ours(ours: str) -> None:
    """Nobody has to fetch what that returned."""
    with llmsql.connect() as con:
        con.execute(ours)
        assert con.sql("SELECT 1 AS a").fetchall() == [(1,)]


def test_a_connection_lists_the_methods_of_duckdbs(con: Any) -> None:
    """What completes names asks for them, and for each of them."""
    assert {name for name in dir(duckdb.DuckDBPyConnection) if name[0] != "_"} < {*dir(con)}
    assert all(hasattr(con, name) for name in dir(con))


@pytest.mark.parametrize("name", ["begin", "fetchall", "table"])
def test_a_method_of_duckdbs_says_what_it_does(con: Any, name: str) -> None:
    """In DuckDB's words."""
    native = getattr(duckdb.connect(), name)
    assert getattr(con, name).__doc__ == native.__doc__
    assert getattr(con, name).__name__ == native.__name__


def test_a_method_that_is_only_looked_at_drops_no_rows(con: Any) -> None:
    """So that its help can be read while a result is pending."""
    con.execute("!llm backends")
    assert callable(con.begin)
    assert con.fetchall()


def test_nothing_is_pending_before_the_first_statement(con: Any) -> None:
    """As in DuckDB, whatever a new connection has run for itself."""
    for each in (con, con.cursor()):
        assert each.description is None
        assert each.rowcount == duckdb.connect().rowcount
        with pytest.raises(duckdb.InvalidInputException, match="No open result set"):
            each.fetchall()


@pytest.mark.skipif(duckdb.__version__ < "2", reason="DuckDB 1.5 says that it is of another type")
@pytest.mark.parametrize("function", [duckdb.sql, duckdb.table])
def test_duckdbs_own_functions_say_that_they_cannot_take_a_connection(
    con: Any, function: Any
) -> None:
    """And what to write instead."""
    with pytest.raises(AttributeError, match=r'of llmsql, .* cannot take\n  con\.sql\("…"\)'):
        function("t", connection=con)


def test_a_model_that_was_removed_is_deployed_again_at_once(models: Any) -> None:
    """The macro that called it is no macro of the user's."""
    models.execute("SELECT chat('a')").fetchall()
    models.execute("!llm model remove chat")
    models.execute(DEPLOY.format("chat", "chat"))
    assert models.execute("SELECT chat('a')").fetchall() == [("a",)]


def test_explain_uses_no_setting_of_the_next_statement_up(models: Any) -> None:
    """It shows what that will do."""
    models.execute('!llm setup next "max_calls=1"')
    models.execute("EXPLAIN SELECT chat('x' || i) FROM range(5) r(i)").fetchall()
    with pytest.raises(LimitError, match="max_calls is 1"):
        models.execute("SELECT chat('x' || i) FROM range(5) r(i)")


def test_a_run_whose_result_has_no_name_replaces_no_model(models: Any) -> None:
    with pytest.raises(StatementError, match='there is no variable "bogus"'):
        models.execute(DEPLOY.format("chat", "chat").replace("debug", "dummy") + " AS ${bogus}")
    assert models.execute("SELECT chat('a')").fetchall() == [("a",)]


ALTERED = """
import llmsql, os
con = llmsql.connect({path!r})
con.execute({deploy!r})
con.execute("CREATE TABLE t(s VARCHAR, g VARCHAR AS (chat(s)), CHECK (chat(s) <> 'x'))")
con.execute("CREATE TABLE u AS SELECT 'a' AS s")
con.execute({alter!r})
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(
    "alter",
    [
        "ALTER TABLE u ALTER s TYPE VARCHAR USING chat(s) || '!'",
        "BEGIN; ALTER TABLE u ALTER s TYPE VARCHAR USING chat(s) || '!'; COMMIT",
        "ALTER TABLE t ADD COLUMN i INT; UPDATE u SET s = 'a!'",
    ],
)
def test_a_table_that_models_altered_is_there_after_a_crash(tmp_path: Path, alter: str) -> None:
    """DuckDB's log would have them run again before there are any."""
    path = str(tmp_path / "a.duckdb")
    program = ALTERED.format(path=path, deploy=DEPLOY.format("chat", "chat"), alter=alter)
    subprocess.run([sys.executable, "-c", program], check=False)
    with llmsql.connect(path) as con:
        assert con.execute("FROM u").fetchall() == [("a!",)]


def test_a_log_that_wants_a_model_says_how_it_is_read(tmp_path: Path) -> None:
    """Such as one of plain DuckDB's ALTER of a table that a model checks."""
    path, deploy = str(tmp_path / "a.duckdb"), DEPLOY.format("chat", "chat")
    program = ALTERED.format(path=path, deploy=deploy, alter="CHECKPOINT").replace(
        "os.kill", "con._con.execute('ALTER TABLE t ADD COLUMN i INT')\nos.kill"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    with pytest.raises(CatalogError, match="what DuckDB has logged asks a model") as raised:
        llmsql.connect(path)
    way = str(raised.value).partition("then ")[2].partition("\n")[0]
    with llmsql.connect() as con:
        con.execute(f"{deploy}; {way}")
    with llmsql.connect(path) as con:
        assert con.execute("SELECT i FROM t").fetchall() == []
