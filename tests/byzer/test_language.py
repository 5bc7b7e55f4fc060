"""The language of Byzer's scripts: spec D01 to D12."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import llmsql
from llmsql.errors import CatalogError, LlmsqlError, OptionError, StatementError
from llmsql.syntax import positional, spark


@pytest.fixture
def con() -> Iterator[llmsql.Connection]:
    with llmsql.connect() as made:
        yield made


@pytest.fixture
def chat(con: llmsql.Connection) -> llmsql.Connection:
    con.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'")
    return con


def rows(con: llmsql.Connection, script: str) -> list[tuple[object, ...]]:
    return con.execute(script).fetchall()


def test_D01_keywords_in_any_case_and_a_leading_and(con: llmsql.Connection) -> None:
    """Lower case, a leading AND, comments between clauses, both quotes: it deploys."""
    [row] = rows(
        con,
        'run command as LLM.`` where\nand pretrainedModelType="debug"\n-- 指定模型\n'
        "and udfName='chat'\nand `modelTable`=\"command\";",
    )
    assert row[0] == "chat"


def test_D01_where_may_be_options_or_nothing(con: llmsql.Connection) -> None:
    """WHERE has a synonym, and may be left out."""
    rows(con, 'run command as LLM options pretrainedModelType="debug" and udfName="a"')
    rows(con, 'run command as LLM.`` pretrainedModelType="debug" and udfName="b"')
    assert rows(con, "!llm model exists b") == [(True,)]


def test_D01_a_bare_value_is_an_error(con: llmsql.Connection) -> None:
    """A value has quotes."""
    with pytest.raises(StatementError, match="a value without quotes"):
        con.execute("run command as LLM where udfName=chat")


def test_D02_a_setting_by_the_old_command(con: llmsql.Connection) -> None:
    """`!byzerllm` is `!llm`."""
    assert ("num_gpus", "4") in rows(con, '!byzerllm setup "num_gpus=4";')


def test_D02_a_macro_takes_words(con: llmsql.Connection, tmp_path: Path) -> None:
    """The document's own macro persists a table and reads it back."""
    found = rows(
        con,
        f"set persist_table='''save overwrite {{0}} as parquet.`{tmp_path}/{{0}}`; "
        f"load parquet.`{tmp_path}/{{0}}` as {{0}}''' where scope=\"session\";\n"
        "create table q1 as select 42 as a;\n!persist_table q1;\nselect * from temp.q1",
    )
    assert found == [(42,)]


def test_D02_a_macro_takes_all_words_at_once(con: llmsql.Connection) -> None:
    """`{:all}` is the JSON list of the words."""
    found = rows(con, "set show='''select '{:all}' as a''';\n!show x \"y z\";")
    assert found == [('["x", "y z"]',)]


def test_D02_a_macro_that_calls_itself(con: llmsql.Connection) -> None:
    """It is stopped, by name."""
    with pytest.raises(StatementError, match='the command "!loop" calls itself'):
        con.execute("set loop='''!loop {0}'''; !loop a")


def test_D02_an_unknown_command(con: llmsql.Connection) -> None:
    """The nearest is suggested."""
    with pytest.raises(StatementError, match='there is no command "!lm"; did you mean "!llm"'):
        con.execute("!lm model list")


def test_D03_a_block_goes_into_a_value(con: llmsql.Connection) -> None:
    """`'''${x}'''` takes a value of many lines with quotes of its own."""
    con.execute("set cfg='''{\n \"a\": 'b;c'\n}''';")
    con.execute("set name='''chat'''")
    con.execute("run command as LLM where pretrainedModelType='debug' and udfName='''${name}'''")
    assert con.variables.expand("${cfg}") == "{\n \"a\": 'b;c'\n}"
    assert rows(con, "!llm model exists chat") == [(True,)]


def test_D03_a_variable_may_come_later(con: llmsql.Connection) -> None:
    """A value refers to what is defined after it."""
    assert rows(con, "set a='''${b}!'''; set b='''hello'''; select '${a}'") == [("hello!",)]


def test_D03_a_variable_that_contains_itself(con: llmsql.Connection) -> None:
    """It is an error where it is used."""
    with pytest.raises(StatementError, match='the variable "a" contains itself'):
        con.execute("set a='''x ${b}'''; set b='''${a}'''; select '${a}'")


def test_D03_type_sql_takes_the_first_cell(con: llmsql.Connection) -> None:
    """A query's first cell, or an empty text where it has no row."""
    con.execute("set n='''select 40 + 2, 1''' where type=\"sql\"")
    con.execute("set none='''select 1 where false''' where type=\"sql\"")
    assert rows(con, "select ${n}, '${none}'") == [(42, "")]


def test_D03_type_default_keeps_what_is_set(con: llmsql.Connection) -> None:
    """defaultParam defines only what is not defined."""
    con.execute("set a='one'; set a='two' where type='defaultParam'")
    con.execute("set b='three' where type='defaultParam'")
    assert rows(con, "select '${a}', '${b}'") == [("one", "three")]


def test_D03_type_conf_sets_duckdb(con: llmsql.Connection) -> None:
    """conf is the engine's setting."""
    con.execute("set default_null_order='nulls_first' where type='conf'")
    assert rows(con, "select current_setting('default_null_order')") == [("NULLS_FIRST",)]


def test_D03_type_shell_is_refused(con: llmsql.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script cannot run programs, unless the process was started so."""
    with pytest.raises(StatementError, match="not allowed here"):
        con.execute("set a='''echo hi''' where type='shell'")
    monkeypatch.setenv("LLMSQL_ALLOW_SHELL", "true")
    assert rows(con, "set a='''echo hi''' where type='shell'; select '${a}'") == [("hi",)]


def test_D03_what_duckdb_knows_is_duckdbs(con: llmsql.Connection) -> None:
    """`SET threads='1'` configures DuckDB, as it always did."""
    con.execute("SET threads='1'")
    assert rows(con, "select current_setting('threads')") == [(1,)]
    assert "threads" not in con.variables


def test_D03_wrong_key_and_type(con: llmsql.Connection) -> None:
    """Each names what there is."""
    with pytest.raises(OptionError, match='no key "tpye"; did you mean "type"'):
        con.execute("set a='b' where tpye='sql'")
    with pytest.raises(OptionError, match='no type "sqll"; did you mean "sql"'):
        con.execute("set a='b' where type='sqll'")


def test_D04_everywhere_in_ours(con: llmsql.Connection, tmp_path: Path) -> None:
    """Values, paths and table names take variables."""
    (tmp_path / "a.csv").write_text("1,x\n")
    con.execute(f"set dir='{tmp_path}'; set t='data'; load csv.`${{dir}}/a.csv` as ${{t}};")
    assert rows(con, "select * from ${t}") == [("1", "x")]


def test_D04_undefined_is_an_error_in_ours(con: llmsql.Connection) -> None:
    """The message has the nearest name and those that are defined."""
    with pytest.raises(StatementError, match='no variable "pth"; did you mean "path"'):
        con.execute("set path='x'; load csv.`${pth}` as t")


def test_D04_undefined_is_left_alone_in_duckdbs(con: llmsql.Connection) -> None:
    """DuckDB's text keeps what nobody defined."""
    assert rows(con, "set a='b'; select '${nobody} ${a}'") == [("${nobody} b",)]


@pytest.mark.parametrize(
    ("value", "sql"),
    [
        ("it's", "select '${x}'"),
        ("it's", "select E'${x}'"),
        ("back\\\\slash", "select E'${x}'"),
        ('say "it"', 'select "${x}" from (select 1 as "say ""it""")'),
        ("a'; drop table kept; --", "select '${x}'"),
    ],
)
def test_D04_a_value_cannot_break_out(con: llmsql.Connection, value: str, sql: str) -> None:
    """Quotes of a value are doubled inside a quoted text."""
    con.execute("create table kept as select 1")
    con.variables.define("x", value.replace("\\\\", "\\"))
    found = rows(con, sql)
    assert found in ([(value.replace("\\\\", "\\"),)], [(1,)])
    assert rows(con, "from kept") == [(1,)]


def test_D04_a_value_is_one_statement(con: llmsql.Connection) -> None:
    """Outside quotes a value is SQL, but never a second statement."""
    con.execute("create table kept as select 1; set x='''1; drop table kept'''")
    with pytest.raises(StatementError, match='the value of "x" holds a semicolon'):
        con.execute("select ${x}")
    assert rows(con, "from kept") == [(1,)]


def test_D04_comments_stay(con: llmsql.Connection) -> None:
    """A variable in a comment is no variable."""
    assert rows(con, "set a='''1 */ +'''; select 1 /* ${a} */") == [(1,)]


def test_D04_predefined_dates(con: llmsql.Connection) -> None:
    """today and its like are days."""
    con.execute("set a='x'")
    today = datetime.date.today()
    found = rows(con, "select '${today}', '${yesterday}', '${tomorrow}'")
    days = [(today + datetime.timedelta(days=n)).isoformat() for n in (0, -1, 1)]
    assert found == [tuple(days)]


def test_D04_the_environment(con: llmsql.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """`${env:NAME}` keeps a key out of a script."""
    monkeypatch.setenv("MODEL_NAME", "chat")
    con.execute(
        "run command as LLM where pretrainedModelType='debug' and udfName='${env:MODEL_NAME}'"
    )
    assert rows(con, "!llm model exists chat") == [(True,)]
    with pytest.raises(StatementError, match='no environment variable "NO_SUCH_THING"'):
        con.execute("load csv.`${env:NO_SUCH_THING}` as t")


def test_D06_json(con: llmsql.Connection, tmp_path: Path) -> None:
    """The document's load of JSON lines."""
    (tmp_path / "d.jsonl").write_text('{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n')
    con.execute(f'load json.`{tmp_path}/d.jsonl` where\ninferSchema="true"\nas sft_data;')
    assert rows(con, "select a, b from sft_data order by a") == [(1, "x"), (2, "y")]


def test_D07_whole_texts(con: llmsql.Connection, tmp_path: Path) -> None:
    """One row a file, columns file and value; then the document's SELECT names a table."""
    (tmp_path / "a").write_text("one\ntwo\n")
    (tmp_path / "b").write_text("three")
    con.execute(f'load text.`file://{tmp_path}/*`\nwhere wholetext="true" as trainData;')
    assert [c[0] for c in con.execute("from trainData").description] == ["file", "value"]
    con.execute("select value as text,file from trainData  as newTrainData;")
    found = rows(con, "select text from newTrainData order by file")
    assert found == [("one\ntwo\n",), ("three",)]


def test_D07_lines(con: llmsql.Connection, tmp_path: Path) -> None:
    """One row a line, whatever ends it; several paths have commas between them."""
    (tmp_path / "a").write_bytes(b"one\r\ntwo\r\n")
    (tmp_path / "b").write_bytes(b"\nthree")
    con.execute(f"load text.`{tmp_path}/a,{tmp_path}/b` as t")
    assert rows(con, "select value from t") == [("one",), ("two",), ("",), ("three",)]


def test_D07_a_text_that_is_not_utf8(con: llmsql.Connection, tmp_path: Path) -> None:
    """The message has the path."""
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    with pytest.raises(CatalogError, match="latin"):
        con.execute(f"load text.`{tmp_path}/latin` as t")


def test_D08_csv_is_text_without_header(con: llmsql.Connection, tmp_path: Path) -> None:
    """Spark's defaults: no header, columns _c0, _c1, all texts."""
    (tmp_path / "a.csv").write_text("1,x\n2,y\n")
    assert rows(con, f"load csv.`{tmp_path}/a.csv` as t; select _c0, _c1 from t") == [
        ("1", "x"),
        ("2", "y"),
    ]


def test_D08_csv_with_header_and_types(con: llmsql.Connection, tmp_path: Path) -> None:
    """Spark's option names are DuckDB's in the end."""
    (tmp_path / "a.csv").write_text("a;b\n1;x\n")
    options = "header='true' and inferSchema='true' and delimiter=';'"
    assert rows(con, f"load csv.`{tmp_path}/a.csv` where {options} as t; from t") == [(1, "x")]


def test_D08_json_from_a_variable(con: llmsql.Connection) -> None:
    """jsonStr reads the lines of a variable."""
    con.execute("set data='''{\"a\": 1}\n{\"a\": 5}'''; load jsonStr.`data` as t")
    assert rows(con, "select sum(a)::INT from t") == [(6,)]


def test_D08_binary_files(con: llmsql.Connection, tmp_path: Path) -> None:
    """A file's bytes, for base64()."""
    (tmp_path / "a.bin").write_bytes(b"\x00\xff")
    con.execute(f"load binaryFile.`{tmp_path}/a.bin` as t")
    assert rows(con, "select base64(content), length from t") == [("AP8=", 2)]


def test_D08_a_missing_path(con: llmsql.Connection) -> None:
    """It is named, and an earlier table of that name stays."""
    con.execute("create temp table t as select 1 as a")
    with pytest.raises(CatalogError, match='there is no file "/no/such/file"'):
        con.execute("load parquet.`/no/such/file` as t")
    assert rows(con, "from t") == [(1,)]


def test_D08_a_broken_file_leaves_the_table(con: llmsql.Connection, tmp_path: Path) -> None:
    """What cannot be read changes nothing."""
    (tmp_path / "a.parquet").write_text("no parquet at all")
    con.execute("create temp table t as select 1 as a")
    with pytest.raises(CatalogError, match="load of .* failed"):
        con.execute(f"load parquet.`{tmp_path}/a.parquet` as t")
    assert rows(con, "from t") == [(1,)]


def test_D08_unknown_format_and_option(con: llmsql.Connection, tmp_path: Path) -> None:
    """Each names what there is."""
    (tmp_path / "a.csv").write_text("1\n")
    with pytest.raises(StatementError, match='no format "cvs" to load; did you mean "csv"'):
        con.execute("load cvs.`a` as t")
    with pytest.raises(OptionError, match='no option "heder"; did you mean "header"'):
        con.execute(f"load csv.`{tmp_path}/a.csv` where heder='true' as t")


@pytest.mark.parametrize("format", ["parquet", "json", "csv"])
def test_D08_save_and_load(con: llmsql.Connection, tmp_path: Path, format: str) -> None:
    """A folder of parts goes out and comes back; append adds to it, overwrite replaces it."""
    con.execute("create table t as select 'x' as _c0")
    path = tmp_path / "out"
    con.execute(f"save t as {format}.`{path}`")
    con.execute(f"save append t as {format}.`{path}`")
    assert rows(con, f"load {format}.`{path}` as u; from u") == [("x",), ("x",)]
    con.execute(f"save overwrite t as {format}.`{path}`")
    assert rows(con, f"load {format}.`{path}` as u; from u") == [("x",)]
    assert len(list(tmp_path.iterdir())) == 1


def test_D08_a_save_that_fails_leaves_what_was_there(
    con: llmsql.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the new files are written, and cannot be put in their place."""
    con.execute("create table t as select 'x' as _c0")
    path = tmp_path / "out"
    con.execute(f"save t as parquet.`{path}`")
    rename, calls = Path.rename, iter(range(9))

    def broken(self: Path, target: Path) -> Path:
        if next(calls) == 1:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(duckdb.Error):
        con.execute(f"save overwrite t as parquet.`{path}`")
    monkeypatch.undo()
    assert rows(con, f"load parquet.`{path}` as u; from u") == [("x",)]
    assert len(list(tmp_path.iterdir())) == 1


def test_D08_save_by_partition(con: llmsql.Connection, tmp_path: Path) -> None:
    """partitionBy makes folders, which come back as a column."""
    con.execute("create table t as select i, i % 2 as k from range(4) r(i)")
    con.execute(f"save overwrite t as parquet.`{tmp_path}/p` partitionBy k")
    assert {p.name for p in (tmp_path / "p").iterdir()} == {"k=0", "k=1"}
    found = rows(
        con, f"load parquet.`{tmp_path}/p` as u; select k, sum(i)::INT from u group by k order by k"
    )
    assert found == [(0, 2), (1, 4)]


def test_D08_save_modes_refuse(con: llmsql.Connection, tmp_path: Path) -> None:
    """errorIfExists is the default, ignore writes nothing, an unknown one is named."""
    con.execute("create table t as select 1 as a")
    con.execute(f"save t as csv.`{tmp_path}/a.csv`")
    with pytest.raises(CatalogError, match="exists"):
        con.execute(f"save t as csv.`{tmp_path}/a.csv`")
    assert rows(con, f"save ignore t as csv.`{tmp_path}/a.csv`")[0][1] == 0
    with pytest.raises(StatementError, match='no mode "overwrit"; did you mean "overwrite"'):
        con.execute(f"save overwrit t as csv.`{tmp_path}/a.csv`")


def test_D08_a_failed_save_leaves_the_files(con: llmsql.Connection, tmp_path: Path) -> None:
    """Overwriting with a table that is not there keeps what was written."""
    con.execute(f"create table t as select 1 as a; save t as csv.`{tmp_path}/a.csv`")
    with pytest.raises(duckdb.Error):
        con.execute(f"save overwrite nothing as csv.`{tmp_path}/a.csv`")
    assert (tmp_path / "a.csv").read_text() == "1\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_D09_a_select_makes_a_table(chat: llmsql.Connection) -> None:
    """`as q as q1` keeps the answers: reading them again asks nothing."""
    assert rows(chat, "select chat('a' || i) as q from range(2) r(i) as q1;") == [("a0",), ("a1",)]
    model = chat.engine.deployments.get("chat").model
    model.generate = None
    assert rows(chat, "select q from q1 order by q") == [("a0",), ("a1",)]


def test_D09_spark_words_are_read(con: llmsql.Connection) -> None:
    """Double-quoted texts, map, array, explode and from_json mean what they mean there."""
    found = rows(
        con,
        'select map("a", 1, "b", "x") as m, explode(array(1, 2)) as e,'
        " from_json('[1.5, 2]', 'array<double>') as d as t;",
    )
    assert found == [({"a": "1", "b": "x"}, 1, [1.5, 2.0]), ({"a": "1", "b": "x"}, 2, [1.5, 2.0])]


def test_D09_duckdbs_reading_wins(con: llmsql.Connection) -> None:
    """What DuckDB can bind is DuckDB's: a quoted name stays a name."""
    assert rows(con, 'select "a" as b from (select 1 as "a") as b2 as t') == [(1,)]


def test_D09_a_misspelt_name_is_no_text(con: llmsql.Connection) -> None:
    """Without anything of Spark's a quoted name that is not there is an error."""
    with pytest.raises(duckdb.BinderException, match='"nmae" not found'):
        con.execute('select "nmae" from (select 1 as "name")')


def test_D09_a_table_alias_is_duckdbs_before_any_byzer(con: llmsql.Connection) -> None:
    """`FROM a AS t` makes no table in a script that has nothing of Byzer's."""
    con.execute("create table a as select 1 as x; select x from a as t")
    with pytest.raises(duckdb.CatalogException):
        con.execute("from temp.t")
    con.execute("set v='x'; select x from a as t")
    assert rows(con, "from temp.t") == [(1,)]


def test_D09_an_alias_that_is_used_is_an_alias(con: llmsql.Connection) -> None:
    """Where a column says `t.`, t is the table's alias."""
    con.execute("set v='x'; create table a as select 1 as x; select t.x from a as t")
    with pytest.raises(duckdb.CatalogException):
        con.execute("from temp.t")


def test_D09_duckdbs_error_for_duckdbs_text(con: llmsql.Connection) -> None:
    """A SELECT that nobody can read keeps DuckDB's message about it."""
    with pytest.raises(duckdb.ParserException, match='at or near "from"'):
        con.execute("select from from as t")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("select `a b` from t", 'SELECT "a b" FROM t'),
        ("select collect_list(x) from t", "SELECT ARRAY_AGG(x) FILTER(WHERE x IS NOT NULL) FROM t"),
        ("select map('a', x, 'b', 1) from t",
         "SELECT MAP(['a', 'b'], [CAST(x AS TEXT), CAST(1 AS TEXT)]) FROM t"),
        ("select map('a', 1, 'b', 2)", "SELECT MAP(['a', 'b'], [1, 2])"),
        ("select array(1, 'a')", "SELECT [CAST(1 AS TEXT), 'a']"),
        ("select from_json(x, 'a INT, b STRING') from t",
         "SELECT CAST(CAST(x AS JSON) AS STRUCT(a INT, b TEXT)) FROM t"),
        ("select chat(array(to_json(map('instruction', x)))) as q from t",
         "SELECT chat([CAST(TO_JSON(MAP(['instruction'], [x])) AS TEXT)]) AS q FROM t"),
        ("select e from t lateral view explode(l) v as e",
         "SELECT e FROM t CROSS JOIN UNNEST(l) AS v(e)"),
    ],
)  # fmt: skip
def test_D09_translation(theirs: str, ours: str) -> None:
    """Spark's SQL in DuckDB's words."""
    assert spark.translate(theirs) == ours


def test_D10_partitions_by_hash(con: llmsql.Connection) -> None:
    """Rows of one key share a partition, numbered below partitionNum."""
    con.execute("create table t as select i % 5 as k from range(50) r(i)")
    [row] = rows(
        con, 'run t as TableRepartition.`` where partitionNum="3" and partitionCols="k" as u;'
    )
    assert row == ("u", 3)
    [(keys, parts)] = rows(con, "select count(distinct (k, __part)), max(__part) from u")
    assert keys == 5
    assert parts < 3


def test_D10_partitions_in_turn_and_in_ranges(con: llmsql.Connection) -> None:
    """Without columns rows are dealt out; a range keeps order; no shuffle keeps neighbours."""
    con.execute("create table t as select i from range(6) r(i)")

    def parts(where: str) -> list[object]:
        con.execute(f"run t as TableRepartition where {where} as u")
        return [p for (p,) in rows(con, "select __part from u order by i")]

    assert parts("partitionNum='3'") == [0, 1, 2, 0, 1, 2]
    assert parts("partitionNum='3' and partitionType='range' and partitionCols='i'") == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]
    assert parts("partitionNum='3' and shuffle='false'") == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("partitionNum='x'", 'partitionNum takes a whole number from 1 on, and is not "x"'),
        ("partitionNum='0'", 'partitionNum takes a whole number from 1 on, and is not "0"'),
        ("partitionCols='i'", "partitionNum takes a whole number from 1 on, and is missing"),
        ("partitionNum='2' and partitionType='range'", "needs partitionCols"),
        ("partitionNum='2' and partitonCols='i'", 'did you mean "partitionCols"'),
    ],
)
def test_D10_wrong_partitions(con: llmsql.Connection, where: str, message: str) -> None:
    """Each says what is wrong."""
    con.execute("create table t as select 1 as i")
    with pytest.raises(OptionError, match=message):
        con.execute(f"run t as TableRepartition where {where} as u")


def test_D11_the_older_command_for_settings(con: llmsql.Connection) -> None:
    """`!python conf` is `!llm setup`."""
    assert ("num_gpus", "0.4") in rows(con, '!python conf "num_gpus=0.4";')


def test_D12_a_chat_cell(chat: llmsql.Connection) -> None:
    """Free text under a form is asked of the model, and the answer kept."""
    cell = "--%chat\n--%model=chat\n--%output=q1\n\nSay 'it'; please\nnow"
    assert rows(chat, cell) == [("Say 'it'; please\nnow",)]
    assert len(rows(chat, "select llm_response_predict(q) from q1")) == 1


def test_D12_a_chat_cell_goes_on(con: llmsql.Connection) -> None:
    """With an input the conversation goes on, on the model that is named."""
    con.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='other'")
    con.execute("--%chat\n--%model=other\n--%output=q1\nfirst")
    con.execute("--%chat\n--%model=other\n--%input=q1\n--%output=q2\nsecond")
    [(history,)] = rows(con, "select json_array_length(q::JSON, 'history') from q2")
    assert history == 4


def test_D12_a_chat_cell_as_html(chat: llmsql.Connection) -> None:
    """format=html escapes the answer."""
    assert rows(chat, "--%chat\n--%format=html\na < b") == [("<pre>a &lt; b</pre>",)]


def test_D12_what_a_chat_cell_lacks(chat: llmsql.Connection) -> None:
    """An unknown field, and no text, are errors."""
    with pytest.raises(StatementError, match='no field "modle"; did you mean "model"'):
        chat.execute("--%chat\n--%modle=chat\nhi")
    with pytest.raises(StatementError, match="needs text below its fields"):
        chat.execute("--%chat\n--%model=chat\n")


def test_a_script_that_stops_keeps_what_it_did(con: llmsql.Connection) -> None:
    """Finished statements stay, the rest has not happened."""
    with pytest.raises(LlmsqlError):
        con.execute("create table a as select 1; load csv.`/nope` as b; create table c as select 1")
    assert rows(con, "select table_name from duckdb_tables()") == [("a",)]


def test_D08_files_are_left_alone_when_duckdb_must(tmp_path: Path) -> None:
    """With enable_external_access off nothing is read, written or made."""
    with llmsql.connect(config={"enable_external_access": "false"}) as con:
        con.execute("create table t as select 1 as a")
        for path in (tmp_path / "a.csv", tmp_path / "b" / "a.csv"):
            with pytest.raises(duckdb.Error):
                con.execute(f"save t as csv.`{path}`")
        (tmp_path / "c.csv").write_text("1\n")
        with pytest.raises(CatalogError, match="load of .* failed"):
            con.execute(f"load csv.`{tmp_path}/c.csv` as u")
    assert [p.name for p in tmp_path.iterdir()] == ["c.csv"]


@pytest.mark.parametrize(
    ("values", "sql"),
    [
        ({"x": "1 --\r;DROP TABLE kept"}, "select ${x}"),
        ({"x": "1 AS €$$; DROP TABLE kept; --$$"}, "select ${x}"),
        ({"a": "$", "b": "$ || (SELECT a FROM kept) --"}, "select $$${a}${b}$$"),
        ({"a": "x` , (SELECT a FROM kept) AS `y"}, "select `${a}` from (select 1 as x)"),
        ({"a": "' || (SELECT a FROM kept) --"}, r"select E'\${a}'"),
        ({"n": "'", "a": ", (SELECT a FROM kept) --"}, "select ${n}, '${a}'"),
        ({"a": r"\' , (SELECT a FROM kept)) --"}, "select map(\"k\", '${a}') as m as t"),
    ],
)
def test_D04_what_breaks_out_is_refused(
    con: llmsql.Connection, values: dict[str, str], sql: str
) -> None:
    """A value that DuckDB or Spark would read beyond its place is an error, or stays a text."""
    con.execute("create table kept as select 'secret' as a")
    for name, value in values.items():
        con.variables.define(name, value)
    try:
        found = rows(con, sql)
    except duckdb.Error:
        found = []
    assert all("secret" not in map(str, row) for row in found)
    assert rows(con, "from kept") == [("secret",)]


@pytest.mark.parametrize(
    "sql",
    [
        """UPDATE t SET name = 'x' WHERE "deletd" <> 'yes' AND len(array(select 1)) > 0""",
        """DELETE FROM t WHERE "nme" <> 'a' AND id IN (SELECT unnest(array(SELECT 2)))""",
        """SELECT "nme", array(select 1) FROM t""",
        """COPY (SELECT "nme", array(select 1) FROM t) TO '{folder}/x.csv'""",
    ],
)
def test_D09_a_wrong_name_is_duckdbs_error(
    con: llmsql.Connection, tmp_path: Path, sql: str
) -> None:
    """What DuckDB can read is not read as Spark's because a name in it is wrong."""
    con.execute("create table t as select 1 as id, 'a' as name")
    with pytest.raises(duckdb.BinderException, match="not found"):
        con.execute(sql.format(folder=tmp_path))
    assert rows(con, "from t") == [(1, "a")]
    assert not list(tmp_path.iterdir())


def test_D09_a_request_is_read_as_sparks_anywhere(chat: llmsql.Connection) -> None:
    """Before any other statement of Byzer's, `llm_param(map("…", …))` is one of its requests."""
    asked = 'select llm_result(chat(llm_param(map("instruction", "hi"))))'
    assert rows(chat, asked) == [("hi",)]
    assert chat.sql(asked).fetchall() == [("hi",)]


@pytest.mark.parametrize(
    "sql",
    [
        "from (pivot cities on y using sum(p)) as p",
        "select 1 as a, as b",
        "select x.i from t as x join t as y",
    ],
)
def test_D09_no_table_for_what_is_none(con: llmsql.Connection, sql: str) -> None:
    """DuckDB's own text, valid or broken, makes no table by its alias."""
    con.execute(
        "create table cities as select 'a' as y, 1 as p; create table t as select 1 as i; set v='w'"
    )
    try:
        con.execute(sql)
    except duckdb.Error as error:
        assert isinstance(error, duckdb.ParserException)
    assert rows(con, "select table_name from duckdb_tables() where temporary") == []


def test_D03_a_misspelt_setting_is_an_error(con: llmsql.Connection) -> None:
    """What is nearly a setting of DuckDB's is no variable."""
    with pytest.raises(CatalogError, match='no setting "memory_limt"; did you mean "memory_limit"'):
        con.execute("SET memory_limt='1GB'")


def test_D03_duckdbs_settings_change_no_dialect(con: llmsql.Connection) -> None:
    """A SET that DuckDB takes does not make the script one of Byzer's."""
    con.execute("SET threads='1'; create table a as select 1 as x; select x from a as t")
    with pytest.raises(duckdb.CatalogException):
        con.execute("from temp.t")


@pytest.mark.parametrize("values", [["a;b", "c;d"], ["a", "b;c", "d;e;f"], ["1|2", 'q"q', " x "]])
@pytest.mark.parametrize("header", ["true", "false"])
def test_D08_csv_comes_back(
    con: llmsql.Connection, tmp_path: Path, values: list[str], header: str
) -> None:
    """Nothing about a CSV file is guessed: what was saved is what is loaded."""
    con.execute("create table t as select unnest($1::VARCHAR[]) as _c0", [values])
    con.execute(f"save t as csv.`{tmp_path}/a.csv` where header='{header}'")
    con.execute(f"load csv.`{tmp_path}/a.csv` where header='{header}' as u")
    assert rows(con, "from u") == [(value,) for value in values]


def test_D08_save_leaves_other_files(con: llmsql.Connection, tmp_path: Path) -> None:
    """A folder with anything in it that no SAVE wrote is not overwritten."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    con.execute("create table t as select 1 as a")
    with pytest.raises(CatalogError, match='holds "diary.txt", which no SAVE wrote'):
        con.execute(f"save overwrite t as csv.`{tmp_path}/mine`")
    assert (tmp_path / "mine" / "diary.txt").read_text() == "dear diary"
    assert len(list(tmp_path.iterdir())) == 1


def test_D08_save_leaves_folders_that_are_lived_in(
    con: llmsql.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The working folder, those above it and the home are no tables, even when empty."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "a" / "b")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    con.execute("create table t as select 1 as a")
    for path in (".", "..", "~"):
        with pytest.raises(CatalogError, match="this process works in"):
            con.execute(f"save overwrite t as csv.`{path}`")
    assert (tmp_path / "a" / "b").is_dir()


def test_D08_save_follows_links_and_leaves_them(con: llmsql.Connection, tmp_path: Path) -> None:
    """What a link names is overwritten, and the link still names it."""
    con.execute("create table t as select 1 as a")
    con.execute(f"save t as csv.`{tmp_path}/real`")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    con.execute(f"insert into t values (2); save overwrite t as csv.`{tmp_path}/link`")
    assert (tmp_path / "link").is_symlink()
    assert rows(con, f"load csv.`{tmp_path}/real` as u; select count(*) from u") == [(2,)]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "needs the path"),
        ("s3://bucket/x", "writes to this machine"),
        ("{folder}/file/x", "cannot save"),
        ("{folder}/fifo", "not a folder: SAVE leaves it alone"),
        ("{folder}/" + "x" * 300, "cannot save"),
    ],
)
def test_D08_save_refuses_odd_paths(
    con: llmsql.Connection, tmp_path: Path, path: str, message: str
) -> None:
    """Each with an error of ours, and nothing is written."""
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "fifo")
    con.execute("create table t as select 1 as a")
    with pytest.raises(CatalogError, match=message):
        con.execute(f"save overwrite t as csv.`{path.format(folder=tmp_path)}`")
    assert {p.name for p in tmp_path.iterdir()} == {"file", "fifo"}


def test_D08_a_path_with_odd_characters(con: llmsql.Connection, tmp_path: Path) -> None:
    """A file that is there is found by its very name, commas and brackets included."""
    (tmp_path / "a,b[1].csv").write_text("7\n")
    assert rows(con, f"load csv.`{tmp_path}/a,b[1].csv` as t; from t") == [("7",)]


def test_D12_a_script_may_hold_several_cells(chat: llmsql.Connection) -> None:
    """A cell ends where the next begins, and what stands before the first is SQL."""
    script = "select 1;\n--%chat\n--%output=a\none;\n\n--%chat\n--%output=b\ntwo"
    assert [piece.line for piece in chat.statements(script)] == [1, 2, 6]
    assert rows(chat, script) == [("two",)]
    assert rows(chat, "select llm_result(q) from a") == [("one;",)]


def test_D09_places_of_a_template_are_texts(con: llmsql.Connection) -> None:
    """`llm_prompt` takes an array of columns of any types, as Spark makes them texts."""
    con.execute("create table t as select 'Oslo' as city, 7 as id")
    assert rows(con, 'select llm_prompt("{0} {1}", array(city, id)) as p from t as u') == [
        ("Oslo 7",)
    ]


def test_a_removed_model_is_said_to_be_gone(chat: llmsql.Connection) -> None:
    """A call of it is an error of ours that names it."""
    chat.execute("!llm model remove chat")
    with pytest.raises(CatalogError, match='^there is no model "chat"'):
        chat.execute("select chat('x')")


def test_D02_a_value_cannot_break_out_of_a_macro(chat: llmsql.Connection) -> None:
    """A variable that a macro is given may hold no quotes: where they would end, nobody knows."""
    chat.execute("create table kept as select 1; set ask='''select chat('{0}') as a'''")
    chat.variables.define("v", "x') ; drop table kept; --")
    with pytest.raises(StatementError, match="holds what no word of a command may"):
        chat.execute("!ask '${v}'")
    assert rows(chat, "from kept") == [(1,)]
    chat.variables.define("v", "plain words")
    assert rows(chat, "!ask '${v}'") == [("plain words",)]


def test_D12_a_chat_cell_with_windows_line_ends(chat: llmsql.Connection) -> None:
    """Carriage returns are no part of the form."""
    assert rows(chat, "--%chat\r\n--%model=chat\r\nHello") == [("Hello",)]


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{0} {1} {0}", "a b a"),
        ("{} {} {}", "a b "),
        ("{} {1} {}", "a b b"),
        ("{5}|{5:none}", "|none"),
        ("{-1:none} {x} ${0} {'json': {1}}", "none {x} ${0} {'json': b}"),
        ("{:all}", '["a", "b"]'),
    ],
)
def test_D05_places(template: str, filled: str) -> None:
    """By number, in turn, with a default; other braces stay."""
    assert positional.fill(template, ["a", "b"]) == filled


def test_D05_what_is_put_in_is_not_filled_again() -> None:
    """A value with a place in it stays as it is."""
    assert positional.fill("{0} {1}", ["{1}", "{:all}"]) == "{1} {:all}"


@pytest.mark.parametrize(
    "sql",
    [
        "/* a\n--%chat\n*/ select 5",
        "select 5 where 'a\n--%chat\nb' > ''",
        "select 5 where $$\n--%chat\n$$ > ''",
    ],
)
def test_D12_a_cell_does_not_begin_inside_a_statement(chat: llmsql.Connection, sql: str) -> None:
    """Nor in a comment, whose rest a model would have been asked."""
    assert rows(chat, sql) == [(5,)]


@pytest.mark.parametrize("before", ["select 1", "!llm help", "\ufeff"])
def test_D12_a_cell_ends_a_statement_that_lacks_its_semicolon(
    chat: llmsql.Connection, before: str
) -> None:
    """Nothing of the cell is lost, and a byte order mark before it is nothing."""
    script = (
        f"{before}\n--%chat\nHello; it's fine"
        if before != "\ufeff"
        else "\ufeff--%chat\nHello; it's fine"
    )
    assert rows(chat, script) == [("Hello; it's fine",)]


def test_D02_what_a_statement_of_ours_made_may_be_made_again(
    con: llmsql.Connection, tmp_path: Path
) -> None:
    """A script that loads a table under a name gives the name to a SELECT later."""
    (tmp_path / "x.csv").write_text("a\nx\n")
    con.execute(f"load csv.`{tmp_path / 'x.csv'}` where header='true' as tt")
    assert rows(con, "select a || '1' as a from tt as tt; select * from tt") == [("x1",)]


def test_D12_a_faulty_cell_is_an_error_of_its_line(chat: llmsql.Connection) -> None:
    """A script runs up to it."""
    script = "\n\nselect 1;\n\n--%chat\n--%bad=1\nhello"
    assert [piece.line for piece in chat.statements(script)] == [3, 5]
    with pytest.raises(StatementError, match='a chat cell has no field "bad"'):
        chat.execute(script)


def test_D02_an_alias_takes_no_table_away(con: llmsql.Connection) -> None:
    """One that something else has made: later writes would go to the result, and be lost."""
    con.execute("create table notes as select 1 as id; set greeting='hello'")
    assert rows(con, "select * from notes as notes") == [(1,)]
    con.execute("insert into notes values (2)")
    assert rows(con, "select count(*) from memory.main.notes") == [(2,)]
    assert rows(con, "select 1 as a from notes as fresh; from fresh") == [(1,), (1,)]
    assert rows(con, "select 2 as a from notes as fresh; from fresh") == [(2,), (2,)]


@pytest.mark.parametrize("sql", ["/* c */ set memory_limit='1GB'", "set memory_limit='1GB' -- x"])
def test_D04_a_comment_makes_no_variable_of_a_setting(con: llmsql.Connection, sql: str) -> None:
    """What DuckDB takes is DuckDB's."""
    con.execute(sql)
    assert list(con.variables) == []


def test_D04_a_name_may_have_a_dot(con: llmsql.Connection) -> None:
    """DuckDB's SET cannot even read it."""
    assert rows(con, "set a.b='dot'; select '${a.b}'") == [("dot",)]


def test_D09_partitioning_again_leaves_one_number(con: llmsql.Connection) -> None:
    """That of the second time."""
    con.execute("create table src as select i from range(9) r(i)")
    con.execute("run src as TableRepartition where partitionNum='3' as p3")
    con.execute("run p3 as TableRepartition where partitionNum='2' as p4")
    assert [name for name, *_ in rows(con, "describe p4")] == ["i", "__part"]
    assert rows(con, "select max(__part) from p4") == [(1,)]


def test_D07_a_header_is_true_or_false(con: llmsql.Connection, tmp_path: Path) -> None:
    """As any other flag."""
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(OptionError, match='option "header" takes true or false, not "maybe"'):
        con.execute(f"load csv.`{tmp_path}/a.csv` where header='maybe' as u")
    assert rows(con, f"load csv.`{tmp_path}/a.csv` where header='1' as u; from u") == [("1", "2")]


@pytest.mark.parametrize(
    "sql", ["\ufeffset v='a'", "select 1;\ufeffset v='a'", "\ufeff -- c\nset v='a'"]
)
def test_D03_a_byte_order_mark_is_a_blank(con: llmsql.Connection, sql: str) -> None:
    """Files that are joined have one in the middle."""
    con.execute(sql)
    assert list(con.variables) == ["v"]


def test_D03_nor_is_it_part_of_a_word(con: llmsql.Connection) -> None:
    """What stands behind it is a quoted text."""
    assert rows(con, "select\ufeff$$;$$") == [(";",)]
