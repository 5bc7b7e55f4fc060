"""What a row that failed becomes, said at the call: by an option or by the words behind it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import llmsql
from llmsql.backends import echo
from llmsql.errors import GenerationError, LlmsqlWarning, OptionError, StatementError
from llmsql.syntax import on_error
from tests.test_syntax import pairs

MODELS = frozenset({"chat", "emb", "rr", "llm_generate"})
FAILED = "told to fail on 'fail'"
NAMES = {"chat": "chat", "emb": "emb", "rerank": "rr"}
CALLS = {"chat": "chat({}", "emb": "emb({}", "rerank": "rr({}, 'a'"}


class Counting(echo.Model):
    """An echo that keeps what it was asked, in the order it was asked."""

    def __init__(self, kind: Any, options: echo.Options) -> None:
        super().__init__(kind, options)
        self.asked: list[str] = []
        self.batches = 0

    def _each(self, items: Any, text: Callable[[Any], str], answer: Any) -> Any:
        self.batches += 1
        for index, item in enumerate(items):
            self.asked.append(text(item))
            yield from ((index, result) for _, result in super()._each([item], text, answer))


@pytest.fixture
def con() -> Iterator[llmsql.Connection]:
    with llmsql.connect() as made:
        for kind in NAMES:
            deploy(made, kind)
        made.execute(
            "CREATE TABLE t AS SELECT * FROM (VALUES (1, 'a'), (2, 'fail'), (3, 'b'), (4, NULL)) v(i, x)"
        )
        yield made


def deploy(con: llmsql.Connection, kind: str, *, dimension: int = 2) -> None:
    size = f" AND dimension='{dimension}'" if kind == "emb" else ""
    con.execute(
        f"RUN command AS LLM WHERE pretrainedModelType='debug' AND kind='{kind}'"
        f" AND udfName='{NAMES[kind]}' AND fail_on='fail'{size}"
    )


def counted(con: llmsql.Connection, kind: str = "chat", **options: Any) -> Counting:
    """Put a counting model in the place of a deployed one."""
    deployment = con.engine.deployments.get(NAMES[kind])
    deployment.model = Counting(
        kind, echo.Options(**{"fail_on": "fail", "dimension": 2, **options})
    )
    return deployment.model


def rows(con: Any, sql: str, parameters: Any = None) -> list[Any]:
    """The rows of a statement that has nothing to warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", LlmsqlWarning)
        return con.execute(sql, parameters).fetchall()


def warned(con: Any, sql: str) -> tuple[list[Any], str]:
    """The rows of a statement, and its one warning."""
    with pytest.warns(LlmsqlWarning) as caught:
        found = con.execute(sql).fetchall()
    (one,) = caught
    return found, str(one.message)


@pytest.mark.parametrize(("typed", "meant"), pairs("on_error.sql"))
def test_text(typed: str, meant: str) -> None:
    """What is typed becomes what is written below it, which DuckDB can parse."""
    if meant.startswith("-- error: "):
        with pytest.raises(StatementError) as raised:
            on_error.spelled_out(typed, MODELS)
        assert str(raised.value).split("\n")[0] == meant.removeprefix("-- error: ")
        return
    assert on_error.spelled_out(typed, MODELS) == meant
    assert duckdb.extract_statements(meant)
    assert on_error.spelled_out(meant, MODELS) == meant


@pytest.mark.parametrize(
    ("text", "is_said"),
    [
        ("SELECT on_error", True),
        ("chat(x) NULL On\n ERROR", True),
        ("chat(x) NULL on/* a */ERROR", True),
        ("chat(x) NULL on -- a\nERROR", True),
        ("SELECT LLM_call_id(chat(x))", True),
        ("SELECT chat(x) FROM t JOIN u ON t.error = u.error", False),
        ("SELECT common error", False),
    ],
)
def test_cheap_search(text: str, is_said: bool) -> None:
    """Only texts that may say something about failed rows are read word by word."""
    assert on_error.is_said(text) is is_said


@pytest.mark.parametrize(
    ("kind", "type_"), [("chat", "VARCHAR"), ("emb", "FLOAT[2]"), ("rerank", "FLOAT")]
)
def test_capture(con: llmsql.Connection, kind: str, type_: str) -> None:
    """A captured call gives answer, error and key; NULL stays NULL, and nothing is warned of."""
    call = CALLS[kind].format("x")
    found = rows(
        con,
        f"SELECT {call}, {{on_error: 'capture'}}) AS c, {call}) NULL ON ERROR FROM t WHERE i <> 2",
    )
    assert [(c and c["value"], c and c["error"]) for c, _ in found] == [(p, None) for _, p in found]
    (one,) = rows(
        con, f"SELECT {call}, {{on_error: 'capture'}}) AS c, typeof(c) FROM t WHERE i = 2"
    )
    assert (one[0]["value"], one[0]["error"], len(one[0]["call_id"])) == (None, FAILED, 32)
    assert one[1] == f'STRUCT("value" {type_}, "error" VARCHAR, call_id VARCHAR)' or one[1] == (
        f'STRUCT("value" {type_}, error VARCHAR, call_id VARCHAR)'
    )


@pytest.mark.parametrize(
    "call",
    [
        "llm_generate(x, {on_error: 'capture'})",
        "llm_generate(x, {on_error: 'capture'}, 'chat')",
        "llm_generate(x, {on_error: 'capture', max_tokens: 5}, 'chat')",
        "llm_embed(x, {on_error: 'capture'})",
        "llm_embed(x, {on_error: 'capture'}, 'emb')",
        "llm_rerank(x, 'a', {on_error: 'capture'})",
        "llm_rerank(x, 'a', {on_error: 'capture'}, 'rr')",
    ],
)
def test_primitives_capture(con: llmsql.Connection, call: str) -> None:
    """The primitives capture as well, with and without a model's name."""
    found = rows(con, f"SELECT {call}.error, ({call}).value IS NULL FROM t ORDER BY i")
    assert found == [(None, False), (FAILED, True), (None, False), (None, True)]


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("said", ["option", "json", "map", "clause"])
def test_call_overrides_setting(con: llmsql.Connection, kind: str, said: str) -> None:
    """null and raise at a call stand above the connection's setting, for that call only."""
    call = CALLS[kind].format("x")
    forms = {
        "option": "{}, {{on_error: '{}'}})",
        "json": '{}, \'{{"on_error": "{}"}}\')',
        "map": "{}, MAP {{'ON_ERROR': '{}'}})",
    }
    words = {"null": "NULL", "raise": "ERROR"}

    def written(policy: str) -> str:
        return (
            f"{call}) {words[policy]} ON ERROR"
            if said == "clause"
            else forms[said].format(call, policy)
        )

    with pytest.raises(GenerationError, match=FAILED):
        con.execute(f"SELECT {written('raise')} FROM t")
    con.execute('!llm setup "on_error=raise"')
    found, _ = warned(con, f"SELECT {written('null')} IS NULL FROM t ORDER BY i")
    assert found == [(False,), (True,), (False,), (True,)]
    with pytest.raises(GenerationError, match=FAILED):
        con.execute(f"SELECT {call}) FROM t")


def test_options_beside(con: llmsql.Connection) -> None:
    """Options beside on_error are in force, and calls that differ in on_error share answers."""
    model = counted(con)
    sql = "SELECT chat(x || ' b c', {on_error: '%s', max_tokens: 2}) AS c FROM t WHERE i = 1"
    assert warned(con, sql % "null")[0] == [("a b",)]
    assert warned(con, sql % "raise")[0] == [("a b",)]
    assert warned(con, sql % "capture")[0][0][0]["value"] == "a b"
    assert model.asked == ["a b c"]


def test_options_that_differ_by_row(con: llmsql.Connection) -> None:
    """on_error may come from a column: each row has its own."""
    sql = "SELECT chat(x, {on_error: CASE WHEN i = 2 THEN '%s' ELSE 'raise' END}) FROM t ORDER BY i"
    assert warned(con, sql % "null")[0] == [("a",), (None,), ("b",), (None,)]
    with pytest.raises(GenerationError, match=FAILED):
        con.execute(sql % "raise")
    with pytest.raises(OptionError, match="write it as a literal"):
        con.execute(sql % "capture")


def test_default(con: llmsql.Connection) -> None:
    """DEFAULT stands for the failed row only, not for NULL."""
    found = rows(con, "SELECT chat(x) DEFAULT upper(x) ON ERROR FROM t ORDER BY i")
    assert found == [("a",), ("FAIL",), ("b",), (None,)]
    vectors = rows(con, "SELECT (emb(x) DEFAULT [0, 1] ON ERROR)[2] = 1 FROM t WHERE i = 2")
    assert vectors == [(True,)]


def test_default_may_ask_another_model(con: llmsql.Connection) -> None:
    """A call inside DEFAULT is made for the failed rows only."""
    model = counted(con)
    found = rows(
        con, "SELECT chat(x) DEFAULT (chat('instead of ' || i)) ON ERROR FROM t ORDER BY i"
    )
    assert found == [("a",), ("instead of 2",), ("b",), (None,)]
    assert sorted(model.asked) == ["a", "b", "fail", "instead of 2"]


def test_each_site_has_its_policy(con: llmsql.Connection) -> None:
    """One prompt under several policies is asked once, and each call does what it says."""
    model = counted(con)
    found, warning = warned(
        con,
        "SELECT chat(x), chat(x) NULL ON ERROR, chat(x, {on_error: 'capture'}).error,"
        " chat(x) DEFAULT 'none' ON ERROR, llm_call_id(chat(x)) IS NULL FROM t ORDER BY i",
    )
    assert found[1] == (None, None, FAILED, "none", False)
    assert [row[0] for row in found] == ["a", None, "b", None]
    assert sorted(model.asked) == ["a", "b", "fail"]
    assert warning.startswith(f"1 of 3 model calls failed and gave NULL; the first: {FAILED}; ")


def test_raising_beside_excusing(con: llmsql.Connection) -> None:
    """A raising call of the same prompt ends the statement, also when it comes later."""
    for sql in (
        "SELECT chat(x) NULL ON ERROR, chat(x) ERROR ON ERROR FROM t",
        "SELECT chat(coalesce(chat(x) NULL ON ERROR, x)) ERROR ON ERROR FROM t",
        "SELECT CASE WHEN (chat(x) NULL ON ERROR) IS NULL THEN chat(x) ERROR ON ERROR END FROM t",
        "SELECT i FROM t WHERE chat(x, {on_error: 'capture'}).error <> '' AND chat(x) ERROR ON ERROR = ''",
    ):
        model = counted(con)
        con.engine.deployments.get("chat")._answers.clear()
        with pytest.raises(GenerationError, match=FAILED):
            con.execute(sql)
        assert model.asked.count("fail") == 1


def test_raising_that_is_not_reached(con: llmsql.Connection) -> None:
    """A raising call behind a CASE that no failed row reaches raises nothing."""
    model = counted(con)
    sql = (
        "SELECT CASE WHEN chat(x) DEFAULT 'none' ON ERROR <> 'none'"
        " THEN chat(x) ERROR ON ERROR END FROM t ORDER BY i"
    )
    assert rows(con, sql) == [("a",), (None,), ("b",), (None,)]
    assert sorted(model.asked) == ["a", "b", "fail"]


def test_raising_keeps_what_is_computed(con: llmsql.Connection) -> None:
    """The first failed row ends the statement: nothing behind it is asked, nothing before it twice."""
    model = counted(con)
    con.execute(
        "CREATE TABLE many AS SELECT CASE i WHEN 5 THEN 'fail' ELSE 'e' || i END AS x FROM range(9) r(i)"
    )
    con.execute("INSERT INTO many VALUES ('g')")
    for _ in range(2):
        with pytest.raises(GenerationError, match=FAILED):
            con.execute("SELECT chat(x) ERROR ON ERROR FROM many")
    assert sorted(set(model.asked)) == sorted([f"e{i}" for i in range(9) if i != 5] + ["fail"])
    assert len(model.asked) == 8 + 2


def test_capturing_leaves_eight_failures_to_end_the_statement(con: llmsql.Connection) -> None:
    """What breaks on every row is no row's error, and not captured."""
    counted(con, break_on="x")
    with pytest.raises(llmsql.errors.BackendError, match="fails on every row"):
        con.execute("SELECT chat('x' || i, {on_error: 'capture'}) FROM range(20) r(i)")


def test_update(con: llmsql.Connection) -> None:
    """UPDATE raises by itself; a call in it may say otherwise."""
    with pytest.raises(GenerationError, match=FAILED):
        con.execute("UPDATE t SET x = chat(x)")
    rows(con, "UPDATE t SET x = chat(x) DEFAULT 'was ' || x ON ERROR")
    assert rows(con, "SELECT x FROM t ORDER BY i") == [("a",), ("was fail",), ("b",), (None,)]
    warned(con, "UPDATE t SET x = chat(x) NULL ON ERROR")
    assert rows(con, "SELECT count(x) FROM t") == [(2,)]


def test_an_update_that_fails_says_what_would_let_it_go_on(con: llmsql.Connection) -> None:
    """Who has said that a failed row ends the statement is not told so."""
    update = "UPDATE t SET x = chat(x)"
    said = "a NULL in its place may destroy data here: NULL ON ERROR behind the call allows it"
    with pytest.raises(GenerationError, match=FAILED) as caught:
        con.execute(update)
    assert [note.partition(",")[0] for note in caught.value.__notes__ if "NULL" in note] == [said]
    con.execute("!llm setup 'on_error=raise'")
    with pytest.raises(GenerationError, match=FAILED) as caught:
        con.execute(update)
    assert not getattr(caught.value, "__notes__", None)


def test_a_default_of_another_type_is_its_text(con: llmsql.Connection) -> None:
    """Where answers are texts; a vector's default is a vector."""
    found = rows(con, "SELECT chat(x) DEFAULT 5 ON ERROR FROM t WHERE i = 2")
    assert found == [("5",)]


def test_call_id(con: llmsql.Connection) -> None:
    """llm_call_id gives the key of the call it wraps, and makes no other."""
    model = counted(con)
    found = rows(
        con,
        "SELECT x, llm_call_id(chat(x)), chat(x) DEFAULT '' ON ERROR FROM t WHERE x IS NOT NULL",
    )
    deployment = con.engine.deployments.get("chat")
    (answers,) = deployment._answers.values()
    assert [key for _, key, _ in found] == [
        deployment.group(answers).key(x).hex() for x, _, _ in found
    ]
    assert sorted(model.asked) == ["a", "b", "fail"]
    assert rows(
        con, "SELECT llm_call_id(chat(x)) = llm_call_id(chat(x, {seed: 1})) FROM t WHERE i = 1"
    ) == [(False,)]
    assert len(rows(con, "SELECT llm_call_id(rr(x, 'p')) FROM t WHERE i = 1")[0][0]) == 32


@pytest.mark.parametrize(
    ("made", "query", "target"),
    [
        ("", "SELECT chat(x) AS x FROM '{0}/a.parquet'", "{0}/a.parquet"),
        ("", "SELECT chat(x) AS x FROM read_parquet('{0}/*.parquet')", "{0}/./a.parquet"),
        ("CREATE VIEW v AS FROM '{0}/a.parquet'", "SELECT chat(x) AS x FROM v", "{0}/a.parquet"),
        ("", "SELECT chat(x) AS x FROM '{0}/a.parquet'", "{0}"),
    ],
)
def test_a_file_is_not_replaced_by_what_failed_of_it(
    con: llmsql.Connection, tmp_path: Path, made: str, query: str, target: str
) -> None:
    """The NULL of a failed row would be all that is left of it."""
    con.execute(f"COPY (SELECT 'fail' AS x) TO '{tmp_path}/a.parquet'; {made.format(tmp_path)}")
    options = "" if target != "{0}" else " (FORMAT parquet, PER_THREAD_OUTPUT, OVERWRITE)"
    copy = f"COPY ({query}) TO '{target}'{options}".format(tmp_path)
    with pytest.raises(GenerationError, match=FAILED):
        con.execute(copy)
    assert rows(con, f"FROM '{tmp_path}/a.parquet'") == [("fail",)]
    other = copy.replace(f"TO '{tmp_path}", f"TO '{tmp_path}/../b")
    (tmp_path / "../b").mkdir(exist_ok=True)
    with pytest.warns(LlmsqlWarning, match=FAILED):
        con.execute(other)


WRITES = [
    ("CREATE TABLE u AS SELECT i, {} AS y FROM t", "u"),
    ("CREATE TABLE u(i INT, y VARCHAR); INSERT INTO u SELECT i, {} FROM t", "u"),
    ("CREATE VIEW u AS SELECT i, {} AS y FROM t", "u"),
    ("CREATE MACRO f(x) AS {}; CREATE VIEW u AS SELECT i, f(x) AS y FROM t", "u"),
    ("CREATE MACRO f() AS TABLE SELECT i, {} AS y FROM t", "f()"),
    ("COPY (SELECT i, {} AS y FROM t) TO '{folder}/u.parquet'", "'{folder}/u.parquet'"),
]


@pytest.mark.parametrize(("statements", "table"), WRITES)
def test_statements(con: llmsql.Connection, statements: str, table: str, tmp_path: Path) -> None:
    """A call says what becomes of failed rows in whatever statement it stands."""
    model = counted(con)
    call = "chat(x) DEFAULT 'none' ON ERROR"
    rows(con, statements.format(call, folder=tmp_path))
    found = rows(con, f"SELECT y FROM {table.format(folder=tmp_path)} ORDER BY i")
    assert found == [("a",), ("none",), ("b",), (None,)]
    assert sorted(model.asked) == ["a", "b", "fail"]
    assert model.batches == 1


def test_prepared(con: llmsql.Connection) -> None:
    """A prepared statement keeps what its calls say; parameters may stand in them."""
    con.execute("PREPARE p AS SELECT chat($1) DEFAULT $2 ON ERROR")
    assert rows(con, "EXECUTE p('fail', 'none')") == [("none",)]
    assert rows(con, "EXECUTE p('fine', 'none')") == [("fine",)]
    assert rows(con, "SELECT chat(?) DEFAULT 'n' ON ERROR", ["fail"]) == [("n",)]
    assert con.sql("SELECT chat(x, {on_error: 'capture'}).error FROM t WHERE i = 2").fetchall() == [
        (FAILED,)
    ]


def test_limit_ends_early(con: llmsql.Connection) -> None:
    """WHERE with a LIMIT asks few rows, whatever a failed one becomes; the rows are the first."""
    con.execute(
        "CREATE TABLE many AS SELECT i, CASE i % 3 WHEN 0 THEN 'fail' ELSE 'e' END || i AS x FROM range(5000) r(i)"
    )
    for condition, first in (
        ("chat(x) NULL ON ERROR LIKE 'e%'", [1, 2, 4]),
        ("chat(x, {on_error: 'capture'}).value LIKE 'e%'", [1, 2, 4]),
        ("chat(x, {on_error: 'capture'}).error LIKE 'told%'", [0, 3, 6]),
    ):
        model = counted(con)
        con.engine.deployments.get("chat")._answers.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LlmsqlWarning)
            found = con.execute(f"SELECT i FROM many WHERE {condition} LIMIT 3").fetchall()
        assert [i for (i,) in found] == first
        assert len(model.asked) <= 16


def test_calls_over_many_chunks(con: llmsql.Connection) -> None:
    """Rows of many chunks, under several policies, are one batch of distinct inputs."""
    model = counted(con)
    con.execute(
        "CREATE TABLE many AS SELECT 'e' || (i % 5000) AS x FROM range(20000) r(i) UNION ALL SELECT 'fail'"
    )
    found = rows(
        con,
        "SELECT count(chat(x) DEFAULT 'none' ON ERROR), count(chat(x, {on_error: 'capture'}).error),"
        " count(DISTINCT llm_call_id(chat(x))) FROM many",
    )
    assert found == [(20001, 1, 5001)]
    assert (len(model.asked), model.batches) == (5001, 1)


NAMED = [
    "SELECT chat(x, {on_error: 'capture'}) FROM t",
    "SELECT chat(x, {on_error: 'capture', seed: 1}).value, i FROM t",
    "SELECT llm_call_id(chat(x)) FROM t",
]


@pytest.mark.parametrize("sql", NAMED)
def test_names_are_duckdbs(con: llmsql.Connection, sql: str) -> None:
    """A column has the name that DuckDB gives to the text as it was written."""
    plain = duckdb.connect()
    plain.execute("CREATE TABLE t(i INT, x VARCHAR)")
    plain.create_function("llm_call_id", lambda x: x, ["VARCHAR"], "VARCHAR")
    kind = "VARCHAR" if "llm_call_id" in sql else "STRUCT(value VARCHAR)"
    nothing = lambda *columns: pa.nulls(len(columns[0])).cast(pa.string())  # noqa: E731
    plain.create_function("chat", nothing, None, kind, type="arrow")
    wanted = [column[0] for column in plain.execute(sql).description]
    for made in (
        sql,
        f"CREATE OR REPLACE TABLE n AS {sql}; FROM n",
        f"CREATE OR REPLACE VIEW w AS {sql}; FROM w",
    ):
        assert [column[0] for column in con.execute(made).description] == wanted
    for name in ("llm_call_id", "chat"):
        plain.remove_function(name)
    plain.close()


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ("chat(x) null on error", "chat(x) NULL ON ERROR"),
        ("chat(x) ERROR /* a */ ON ERROR", "chat(x) ERROR ON ERROR"),
        ("chat( x )  DEFAULT  'y'  ON  ERROR", "chat(x) DEFAULT 'y' ON ERROR"),
        ("upper(chat(x) NULL ON ERROR)", "upper(chat(x) NULL ON ERROR)"),
        ("chat(x) NULL ON ERROR AS y", "y"),
        ("chat(x) NULL ON ERROR y", "y"),
        ("y: chat(x) NULL ON ERROR", "y"),
    ],
)
def test_names_with_a_clause(con: llmsql.Connection, item: str, name: str) -> None:
    """A column without an alias is called as its text reads, in tables and views as well."""
    for made in ("", "CREATE OR REPLACE TABLE n AS ", "CREATE OR REPLACE VIEW w AS "):
        con.execute(f"{made}SELECT {item} FROM t WHERE i = 1")
        table = {"": "", "T": "n", "V": "w"}[made[18:19]]
        if table:
            con.execute(f"FROM {table}")
        assert [column[0] for column in con.description] == [name]


def test_deep_expression(con: llmsql.Connection) -> None:
    """An expression of hundreds of levels is answered, whatever its column is called."""
    item = "chat(x) NULL ON ERROR" + " || 'y'" * 700
    assert rows(con, f"SELECT {item} FROM t WHERE i = 1") == [("a" + "y" * 700,)]


def test_guards_and_order_see_the_calls(con: llmsql.Connection) -> None:
    """Cheap predicates come first, and ORDER BY with LIMIT before the calls of the SELECT list."""
    model = counted(con)
    call = "chat(x) DEFAULT 'none' ON ERROR"
    assert rows(con, f"SELECT i FROM t WHERE {call} = 'none' AND i = 2") == [(2,)]
    assert rows(con, f"SELECT {call} FROM t ORDER BY i DESC LIMIT 2") == [(None,), ("b",)]
    assert model.asked == ["fail", "b"]
    assert rows(con, f"SELECT {call} AS c, count(*) FROM t GROUP BY {call} ORDER BY c") == [
        ("a", 1), ("b", 1), ("none", 1), (None, 1)
    ]  # fmt: skip


def test_transaction_survives(con: llmsql.Connection) -> None:
    """A raising call ends its statement, not the user's transaction."""
    con.execute("BEGIN; INSERT INTO t VALUES (5, 'c')")
    for sql in (
        "SELECT chat(x) ERROR ON ERROR FROM t",
        "SELECT chat(x) NULL ON ERROR, chat(x) ERROR ON ERROR FROM t",
    ):
        with pytest.raises(GenerationError, match=FAILED):
            con.execute(sql)
    assert rows(con, "SELECT count(*) FROM t") == [(5,)]
    con.execute("COMMIT")


def test_requests(con: llmsql.Connection) -> None:
    """A model that is asked by JSON requests takes the clauses too, whatever its kind."""
    for call in ("chat", "emb"):
        found = rows(
            con,
            f"SELECT {call}(llm_param({{'instruction': x}})) DEFAULT 'none' ON ERROR,"
            f" llm_call_id({call}(llm_param({{'instruction': x}}))) IS NULL FROM t WHERE i < 3 ORDER BY i",
        )
        assert found[1] == ("none", False)
        assert found[0][0].startswith("{")
    assert rows(
        con, "SELECT llm_request('{\"instruction\": \"fail\"}', 'chat') DEFAULT 'none' ON ERROR"
    ) == [("none",)]


def test_another_dimension(con: llmsql.Connection) -> None:
    """The type that a captured call returns follows the model that is deployed."""
    sql = "SELECT len(emb(x, {on_error: 'capture'}).value) FROM t WHERE i = 1"
    assert rows(con, sql) == [(2,)]
    deploy(con, "emb", dimension=5)
    assert rows(con, sql) == [(5,)]
    with pytest.warns(llmsql.LlmsqlWarning, match='"emb" was of kind emb, and is of kind chat now'):
        con.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='emb'")
    assert rows(con, "SELECT emb('z', {on_error: 'capture'}).value") == [("z",)]


def test_removed(con: llmsql.Connection) -> None:
    """With a model its functions go; a view over them says so."""
    con.execute("CREATE VIEW w AS SELECT chat(x) NULL ON ERROR AS y FROM t")
    con.execute("!llm model remove chat")
    assert not any("chat" in name for name in con.engine.functions)
    with pytest.raises(llmsql.errors.CatalogError, match='there is no model "chat"'):
        con.execute("FROM w")


def test_reopened(tmp_path: Path) -> None:
    """A view answers in another process's connections, all rows at once, and in plain DuckDB's."""
    path = str(tmp_path / "a.duckdb")
    with llmsql.connect(path) as con:
        deploy(con, "chat")
        con.execute(
            "CREATE TABLE t AS SELECT 'e' || i AS x FROM range(3000) r(i) UNION ALL SELECT 'fail'"
        )
        con.execute("CREATE VIEW w AS SELECT chat(x) DEFAULT 'none' ON ERROR AS y FROM t")
        con.execute("CREATE MACRO f(x) AS chat(x) NULL ON ERROR")
    with llmsql.connect(path) as con:
        model = counted(con)
        assert rows(con, "SELECT count(*) FROM w WHERE y = 'none'") == [(1,)]
        assert (len(model.asked), model.batches) == (3001, 1)
        assert warned(con, "SELECT f('fail')")[0] == [(None,)]
        with duckdb.connect(path) as foreign:
            assert foreign.execute("SELECT count(*) FROM w WHERE y = 'none'").fetchall() == [(1,)]


def test_other_connections(con: llmsql.Connection) -> None:
    """A view made by one connection is resolved as a whole on the others too."""
    con.execute(
        "CREATE VIEW w AS SELECT chat('v' || i) DEFAULT '' ON ERROR AS y FROM range(5000) r(i)"
    )
    other = con.cursor()
    model = counted(con)
    assert rows(other, "SELECT count(y) FROM w") == [(5000,)]
    assert model.batches == 1


def test_hidden(con: llmsql.Connection) -> None:
    """The functions behind the calls are in no list, and nobody may take their names."""
    rows_of = [row[0] for row in rows(con, "!llm model list")]
    assert rows_of == ["chat", "emb", "rr"]
    with pytest.raises(StatementError, match="would shadow"):
        con.execute(
            "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='llmsql_raising_x'"
        )


def test_bytes_stay(con: llmsql.Connection) -> None:
    """A statement that says nothing of failed rows reaches DuckDB as it is."""
    sql = "SELECT   current_query() AS on_error, 'NULL ON ERROR'  /* kept */"
    assert rows(con, sql)[0][0] == sql


def test_spark_text(con: llmsql.Connection) -> None:
    """A statement in Spark's words may say it too."""
    found = rows(con, "SELECT chat(x) DEFAULT 'none' ON ERROR AS `a b` FROM t WHERE i = 2")
    assert found == [("none",)]


def test_a_default_evaluates_its_call_once(con: Any) -> None:
    """A sequence moves on once for each row, though the call is looked at twice."""
    con.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'")
    con.execute("CREATE SEQUENCE q")
    sql = "SELECT chat('n ' || nextval('q')) DEFAULT 'x' ON ERROR FROM range(3)"
    assert con.execute(sql).fetchall() == [("n 1",), ("n 2",), ("n 3",)]
    assert con.execute("SELECT currval('q')").fetchall() == [(3,)]


@pytest.mark.parametrize(
    ("condition", "is_spared"),
    [
        ("chat(s) = 'spam'", True),
        ("chat(s) = 'spam' AND i > 0", True),
        ("NOT chat(s) = 'spam'", True),
        ("chat(s) IS NOT NULL", True),
        ("coalesce(chat(s), 'spam') = 'spam'", False),
        ("chat(s) IS DISTINCT FROM 'spam'", False),
        ("chat(s) IS NULL", False),
        ("CASE WHEN chat(s) = 'spam' THEN false ELSE true END", False),
        ("i NOT IN (SELECT i FROM t WHERE chat(s) = 'spam')", False),
        ("is_spam(s)", False),
    ],
)
def test_a_delete_spares_rows_that_failed(
    con: llmsql.Connection, condition: str, is_spared: bool
) -> None:
    """One whose condition may be true of a NULL ends, as an UPDATE does; others keep such rows."""
    con.execute("CREATE OR REPLACE TABLE t AS SELECT 'fail' AS s, 1 AS i")
    con.execute("CREATE MACRO is_spam(x) AS coalesce(chat(x), 'spam') = 'spam'")
    if is_spared:
        with pytest.warns(LlmsqlWarning, match="1 of 1 model calls failed"):
            con.execute(f"DELETE FROM t WHERE {condition}")
    else:
        with pytest.raises(GenerationError, match=FAILED):
            con.execute(f"DELETE FROM t WHERE {condition}")
    assert con.execute("SELECT count(*) FROM t").fetchall() == [(1,)]


def test_a_prepared_delete_spares_them_too(con: llmsql.Connection) -> None:
    """What it does is known from when it was prepared."""
    con.execute("CREATE OR REPLACE TABLE t AS SELECT 'fail' AS s")
    con.execute("PREPARE p AS DELETE FROM t WHERE chat(s) IS DISTINCT FROM $1")
    with pytest.raises(GenerationError, match=FAILED):
        con.execute("EXECUTE p('spam')")
    assert con.execute("SELECT count(*) FROM t").fetchall() == [(1,)]


SETTLED = [
    ("CREATE OR REPLACE TABLE s AS SELECT chat(s) AS s FROM t", True),
    ("CREATE OR REPLACE TABLE s AS SELECT chat(s) AS t, 's' AS s FROM t -- s", True),
    ("CREATE OR REPLACE TABLE t AS SELECT chat(s) AS s FROM t", False),
    ("CREATE OR REPLACE TABLE T AS SELECT chat(s) AS s FROM seen", False),
    ('CREATE OR REPLACE TABLE "t" AS SELECT chat(s) AS s FROM every()', False),
    ("CREATE OR REPLACE TABLE t AS SELECT chat(s) AS s FROM query_table('t')", False),
    ("ALTER TABLE t ALTER s TYPE VARCHAR USING chat(s)", False),
    ("DELETE FROM u WHERE s.chat() IS NULL", False),
    ("DELETE FROM u USING t WHERE u.s = t.s AND chat(t.s) = 'spam'", True),
    ("DELETE FROM u WHERE i IN (SELECT 1) AND chat(s) = 'spam'", True),
    ("DELETE FROM u USING (SELECT chat(s) = 'a' AS is_a FROM t) v WHERE v.is_a IS NULL", False),
    ("DELETE FROM u USING (SELECT s FROM t EXCEPT SELECT chat(s) FROM t) v WHERE u.s = v.s", False),
    ("DELETE FROM u USING unknown AS v WHERE u.s = v.s", False),
    ("WITH v AS (SELECT chat(s) IS NULL AS b FROM t) DELETE FROM u USING v WHERE b", False),
]
if duckdb.__version__ >= "2":  # common tables that write
    SETTLED += [
        ("WITH v AS (UPDATE u SET s = chat(s) RETURNING s) FROM v", False),
        ("WITH v AS (DELETE FROM u WHERE chat(s) IS NULL RETURNING s) FROM v", False),
        ("SELECT chat(s), 'WITH v AS (UPDATE t SET s = s)' FROM t", True),
    ]


@pytest.mark.parametrize(("sql", "is_harmless"), SETTLED)
def test_what_failed_destroys_nothing(con: llmsql.Connection, sql: str, is_harmless: bool) -> None:
    """Tables made of themselves and rows found by what failed stay; what is new may have NULLs."""
    con.execute("CREATE OR REPLACE TABLE t AS SELECT 'fail' AS s, 1 AS i; CREATE TABLE u AS FROM t")
    con.execute("CREATE VIEW seen AS FROM t; CREATE MACRO every() AS TABLE FROM t")
    con.execute("CREATE VIEW unknown AS SELECT s FROM t WHERE chat(s) IS NULL")
    if is_harmless:
        with pytest.warns(LlmsqlWarning, match="1 of 1 model calls failed"):
            con.execute(sql).fetchall()
    else:
        with pytest.raises(GenerationError, match=FAILED):
            con.execute(sql).fetchall()
    assert rows(con, "SELECT t.s, u.s FROM t, u") == [("fail", "fail")]


def test_a_delete_too_deep_to_be_looked_at_is_run(con: llmsql.Connection) -> None:
    """With a model in it, a row that fails ends it."""
    con.execute("CREATE OR REPLACE TABLE t AS SELECT 'fail' AS s, 1 AS i")
    deep = "i = " + "+".join(["1"] * 600)
    assert rows(con, f"DELETE FROM t WHERE {deep}") == [(0,)]
    with pytest.raises(GenerationError, match=FAILED):
        con.execute(f"DELETE FROM t WHERE coalesce(chat(s), 'spam') = 'spam' OR {deep}")


def test_a_statement_that_cannot_begin_claims_nothing(
    con: llmsql.Connection,
) -> None:
    """What it drew is found when it runs again, though it once failed before it began."""
    con.execute("CREATE OR REPLACE TABLE t AS SELECT 'a' AS s, 1 AS i")
    sql = "DELETE FROM t WHERE chat(s, {'temperature': 0.9}) IS NULL"
    con.execute("BEGIN")
    with pytest.raises(duckdb.Error):
        con.execute("SELECT error('x')")
    with pytest.raises(duckdb.Error):
        con.execute(sql)
    con.execute("ROLLBACK")
    assert not con._session.conditions.stores._claimed
