from __future__ import annotations

import csv
import io
import json
import tracemalloc
from typing import Any

import duckdb
import pytest

from llmsql import render
from llmsql.errors import OptionError
from llmsql.render import measure
from llmsql.render.box import Page

VALUES = r"""
SELECT * FROM (VALUES
    (1, 'plain', 1.50::DECIMAL(4, 2), DATE '2024-02-29', [0.1::FLOAT, NULL], '\x00a'::BLOB, 'nan'::DOUBLE),
    (20, E'日本 | "two"\nlines, \\n', NULL, NULL, NULL, NULL, 1e20),
    (NULL, '', 0.05, DATE '0001-01-01', [], ''::BLOB, -0.5)
) AS t(i, s, d, day, list, blob, x)
"""

GOLDEN = {
    "box": """\
┌───────┬──────────────┬──────────────┬────────────┬─────────────┬───────┬────────┐
│   i   │      s       │      d       │    day     │    list     │ blob  │   x    │
│ int32 │   varchar    │ decimal(4,2) │    date    │   float[]   │ blob  │ double │
├───────┼──────────────┼──────────────┼────────────┼─────────────┼───────┼────────┤
│     1 │ plain        │         1.50 │ 2024-02-29 │ [0.1, NULL] │ \\x00a │    nan │
├───────┼──────────────┼──────────────┼────────────┼─────────────┼───────┼────────┤
│    20 │ 日本 | "two" │         NULL │ NULL       │ NULL        │ NULL  │  1e+20 │
│       │ lines, \\n    │              │            │             │       │        │
├───────┼──────────────┼──────────────┼────────────┼─────────────┼───────┼────────┤
│  NULL │              │         0.05 │ 0001-01-01 │ []          │       │   -0.5 │
└───────┴──────────────┴──────────────┴────────────┴─────────────┴───────┴────────┘
""",
    "table": """\
+------+--------------+------+------------+-------------+-------+-------+
|  i   |      s       |  d   |    day     |    list     | blob  |   x   |
+------+--------------+------+------------+-------------+-------+-------+
|    1 | plain        | 1.50 | 2024-02-29 | [0.1, NULL] | \\x00a |   nan |
+------+--------------+------+------------+-------------+-------+-------+
|   20 | 日本 | "two" | NULL | NULL       | NULL        | NULL  | 1e+20 |
|      | lines, \\n    |      |            |             |       |       |
+------+--------------+------+------------+-------------+-------+-------+
| NULL |              | 0.05 | 0001-01-01 | []          |       |  -0.5 |
+------+--------------+------+------------+-------------+-------+-------+
""",
    "csv": (
        "i,s,d,day,list,blob,x\r\n"
        '1,plain,1.50,2024-02-29,"[0.1, NULL]",\\x00a,nan\r\n'
        '20,"日本 | ""two""\nlines, \\n",,,,,1e+20\r\n'
        ',"",0.05,0001-01-01,[],"",-0.5\r\n'
    ),
    "json": """\
[{"i":1,"s":"plain","d":1.50,"day":"2024-02-29","list":[0.10000000149011612,null],"blob":"\\\\x00a","x":null},
{"i":20,"s":"日本 | \\"two\\"\\nlines, \\\\n","d":null,"day":null,"list":null,"blob":null,"x":1e+20},
{"i":null,"s":"","d":0.05,"day":"0001-01-01","list":[],"blob":"","x":-0.5}]
""",
    "jsonlines": """\
{"i":1,"s":"plain","d":1.50,"day":"2024-02-29","list":[0.10000000149011612,null],"blob":"\\\\x00a","x":null}
{"i":20,"s":"日本 | \\"two\\"\\nlines, \\\\n","d":null,"day":null,"list":null,"blob":null,"x":1e+20}
{"i":null,"s":"","d":0.05,"day":"0001-01-01","list":[],"blob":"","x":-0.5}
""",
    "markdown": """\
|    i | s                           |    d | day        | list        | blob   |     x |
| ---: | --------------------------- | ---: | ---------- | ----------- | ------ | ----: |
|    1 | plain                       | 1.50 | 2024-02-29 | [0.1, NULL] | \\\\x00a |   nan |
|   20 | 日本 \\| "two"<br>lines, \\\\n | NULL | NULL       | NULL        | NULL   | 1e+20 |
| NULL |                             | 0.05 | 0001-01-01 | []          |        |  -0.5 |
""",
    "list": """\
i|s|d|day|list|blob|x
1|plain|1.50|2024-02-29|[0.1, NULL]|\\x00a|nan
20|日本 | "two"
lines, \\n|NULL|NULL|NULL|NULL|1e+20
NULL||0.05|0001-01-01|[]||-0.5
""",
    "line": """\
   i = 1
   s = plain
   d = 1.50
 day = 2024-02-29
list = [0.1, NULL]
blob = \\x00a
   x = nan

   i = 20
   s = 日本 | "two"
       lines, \\n
   d = NULL
 day = NULL
list = NULL
blob = NULL
   x = 1e+20

   i = NULL
   s = 
   d = 0.05
 day = 0001-01-01
list = []
blob = 
   x = -0.5
""",
}

TYPES = [
    ("170141183460469231731687303715884105727::HUGEINT", "170141183460469231731687303715884105727"),
    ("INTERVAL '1 month 2 days 3 hours'", "1 month 2 days 03:00:00"),
    ("'infinity'::DATE", "infinity"),
    ("'99999-01-01'::DATE", "99999-01-01"),
    ("TIMESTAMP_NS '2024-01-01 00:00:00.123456789'", "2024-01-01 00:00:00.123456789"),
    ("[0.1, 0.2]::FLOAT[2]", "[0.1, 0.2]"),
    ("MAP {'a': 1}", "{a=1}"),
    ("{'a': [1, NULL], 'b': DATE '2024-01-01'}", "{'a': [1, NULL], 'b': 2024-01-01}"),
    ("union_value(num := 2)", "2"),
    ("'a'::ENUM('a', 'b')", "a"),
    ("'{\"a\": 1}'::JSON", '{"a": 1}'),
    ("'101'::BIT", "101"),
    ("TIMETZ '12:00:00+02'", "12:00:00+02"),
    ("true", "true"),
    ("1e-7", "1e-07"),
    ("'-inf'::FLOAT", "-inf"),
    ("'5b8a6a4c-6f0e-4b0e-9f6a-0c8f3c1d2e3f'::UUID", "5b8a6a4c-6f0e-4b0e-9f6a-0c8f3c1d2e3f"),
]


def rendered(sql: str, format: str, page: Page | None = None) -> str:
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'Asia/Tokyo'")
        return "".join(render.text(con.execute(sql), format, page))


@pytest.mark.parametrize("format", render.FORMATS)
def test_golden(format: str) -> None:
    """
    Each format gives these bytes.
    """
    assert rendered(VALUES, format).encode() == GOLDEN[format].encode()


@pytest.mark.parametrize(("expression", "text"), TYPES)
def test_types(expression: str, text: str) -> None:
    """
    A value is spelled as DuckDB spells it, whatever its type.
    """
    assert rendered(f"SELECT {expression} AS x", "list") == f"x\n{text}\n"


def test_time_zone() -> None:
    """
    Points in time are shown in the zone of the connection that computed them.
    """
    sql = "SELECT TIMESTAMPTZ '2024-01-01 00:00:00+00' AS t"
    assert rendered(sql, "csv") == "t\r\n2024-01-01 09:00:00+09\r\n"


@pytest.mark.parametrize("format", ["json", "jsonlines"])
def test_json_is_json(format: str) -> None:
    """
    What JSON has no number for becomes null, JSON stays JSON, and huge numbers keep their digits.
    """
    sql = """SELECT 'inf'::FLOAT AS a, {'b': ['nan'::DOUBLE, 1.5]} AS b, '{"c":\n 1}'::JSON AS c,
        123456789012345678901234567890::HUGEINT AS d, 'NaN' AS e, MAP {'k': 1} AS f"""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    (row,) = [json.loads(rendered(sql, format), parse_constant=refuse)]
    assert (row if format == "jsonlines" else row[0]) == {
        "a": None,
        "b": {"b": [None, 1.5]},
        "c": {"c": 1},
        "d": 123456789012345678901234567890,
        "e": "NaN",
        "f": {"k": 1},
    }


def test_csv_and_json_agree() -> None:
    """
    A CSV reader finds the texts that a JSON reader finds, whatever characters they have.
    """
    sql = "SELECT chr(i::INTEGER) || '\"x,\n' || chr(i::INTEGER) AS s FROM range(1, 700) t(i)"
    from_csv = [row["s"] for row in csv.DictReader(io.StringIO(rendered(sql, "csv"), newline=""))]
    assert from_csv == [row["s"] for row in json.loads(rendered(sql, "json"))]
    assert len(from_csv) == 699


@pytest.mark.parametrize(
    ("format", "text"),
    [("json", "[]\n"), ("jsonlines", ""), ("csv", "a,a\r\n"), ("line", ""), ("list", "a|a\n")],
)
def test_no_rows(format: str, text: str) -> None:
    """
    A result without rows is a valid, empty document; columns may share a name.
    """
    assert rendered("SELECT 1 AS a, 2 AS a WHERE false", format) == text


def test_box_without_rows() -> None:
    """
    An empty box says that there are no rows.
    """
    assert rendered("SELECT 1 AS a WHERE false", "box").endswith("├───────┤\n└───────┘\n  0 rows\n")


def test_box_truncates_on_a_page() -> None:
    """
    A terminal sees the first and last rows and how many there are; a pipe sees all.
    """
    text = rendered("FROM range(1000)", "box", Page(80, 6))
    assert text == (
        "┌───────┐\n│ range │\n│ int64 │\n├───────┤\n"
        "│     0 │\n│     1 │\n│     2 │\n"
        "│     · │\n│     · │\n│     · │\n"
        "│   997 │\n│   998 │\n│   999 │\n"
        "└───────┘\n  1,000 rows (6 shown)\n"
    )
    assert rendered("FROM range(1000)", "box").count("\n") == 4 + 1000 + 1


@pytest.mark.parametrize("columns", [1, 2, 7, 30])
@pytest.mark.parametrize("page", [12, 30, 79, 80, 200])
def test_box_fits_the_page(columns: int, page: int) -> None:
    """
    No line is wider than the terminal, whatever the number of columns and the script they are in.
    """
    cells = ", ".join(f"repeat('語 word👩‍💻 ', {i + 1}) AS long_name_{i}" for i in range(columns))
    lines = rendered(f"SELECT {cells}", "box", Page(page, 40)).splitlines()
    widths = {measure.width(line) for line in lines if line[0] in "┌│├└"}
    assert len(widths) == 1
    assert widths.pop() <= max(page, 34)  # two columns of 8 and the dots between


def test_box_wraps_answers() -> None:
    """
    A long answer is wrapped between words, and its neighbours keep their width.
    """
    sql = "SELECT 1 AS id, 'The battery lasts three days.\n\nI like it.' AS answer"
    assert rendered(sql, "box", Page(32, 40)) == (
        "┌───────┬──────────────────────┐\n"
        "│  id   │        answer        │\n"
        "│ int32 │       varchar        │\n"
        "├───────┼──────────────────────┤\n"
        "│     1 │ The battery lasts    │\n"
        "│       │ three days.          │\n"
        "│       │                      │\n"
        "│       │ I like it.           │\n"
        "└───────┴──────────────────────┘\n"
    )


def test_box_cuts_what_is_too_long() -> None:
    """
    A long answer ends in an ellipsis, a vector takes one line, hidden columns are counted.
    """
    sql = "SELECT repeat('word ', 1000) AS text, range(1000)::FLOAT[] AS vector"
    lines = rendered(sql, "box", Page(40, 40)).splitlines()
    assert len(lines) == 4 + 12 + 1
    assert lines[4] == "│ word word word   │ [0.0, 1.0, 2.0,… │"
    assert lines[15].startswith("│ … ")
    many = "SELECT " + ", ".join(f"{i} AS c{i}" for i in range(50))
    assert rendered(many, "box", Page(40, 40)).endswith("  50 columns (2 shown)\n")


def test_box_disarms_controls() -> None:
    """
    An answer cannot move the cursor, change colours or reverse the direction of a terminal.
    """
    sql = "SELECT E'\\x1b[31mred\\x07' || chr(8238) AS s"
    for format in ("box", "line", "list", "csv"):
        text = rendered(sql, format, Page(80, 40))
        assert "\\x1b[31mred\\x07\\u202e" in text
        assert "\x1b" not in text
    assert "\x1b" in rendered(sql, "csv")


def test_explain_is_not_boxed() -> None:
    """
    A plan is drawn as it is, without a box around it.
    """
    with duckdb.connect() as con:
        plan = con.execute("EXPLAIN SELECT 1").fetchone()[1]
    assert rendered("EXPLAIN SELECT 1", "box") == plan + "\n"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("abc", 3),
        ("日本", 4),
        ("e\u0301", 1),
        ("👍🏽", 2),
        ("👩\u200d💻", 2),
        ("❤\ufe0f", 2),
        ("🇩🇪", 2),
        ("한국", 4),
        ("\u1112\u1161\u11ab", 2),
        ("ｶ", 1),
        ("", 0),
    ],
)
def test_width(text: str, columns: int) -> None:
    """
    Text is as wide as a terminal draws it.
    """
    assert measure.width(text) == columns


def test_unknown_format() -> None:
    """
    An unknown format names the nearest and lists all.
    """
    with pytest.raises(OptionError) as error:
        rendered("SELECT 1", "jsn")
    assert str(error.value) == (
        'there is no format "jsn"; did you mean "json"?\n'
        "  formats: box, table, csv, json, jsonlines, markdown, list, line"
    )


@pytest.mark.parametrize("format", ["csv", "json"])
def test_streams(format: str) -> None:
    """
    A long result is written as it is read, not built in memory first.
    """
    with duckdb.connect() as con:
        result = con.execute("SELECT i, repeat('x', 100) AS s FROM range(50000) t(i)")
        text = render.text(result, format)
        next(text)
        tracemalloc.start()
        size = sum(map(len, text))
        peak: Any = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert size > 5_000_000
    assert peak < 2_000_000


@pytest.mark.skipif(duckdb.__version__ < "2", reason="DuckDB 1.5 must know when the query runs")
@pytest.mark.parametrize(
    "beside", ["'101'::BIT", "TIMETZ '12:00:00+02'", f"{2**128 - 1}::UHUGEINT"]
)
def test_a_type_that_arrow_lacks_takes_nothing_from_other_columns(beside: str) -> None:
    """Months, nanoseconds, infinities and zones are shown beside it, and the setting is back."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'Asia/Tokyo'")
        found = con.execute(
            f"SELECT {beside} AS b, INTERVAL '1 month' AS m, 'infinity'::DATE AS d,"
            " TIMESTAMP_NS '2024-01-01 00:00:00.123456789' AS n,"
            " TIMESTAMPTZ '2024-01-01 00:00:00+00' AS z, [UUID '5b8a6a4c-6f0e-4b0e-9f6a-0c8f3c1d2e3f'] AS l"
        )
        row = "".join(render.text(found, "csv")).splitlines()[1]
        kept = con.execute("SELECT current_setting('arrow_lossless_conversion')").fetchone()
    assert row.split(",", 1)[1] == (
        "1 month,infinity,2024-01-01 00:00:00.123456789,2024-01-01 09:00:00+09,[5b8a6a4c-6f0e-4b0e-9f6a-0c8f3c1d2e3f]"
    )
    assert kept == (False,)


def test_a_locked_configuration_still_shows_rows() -> None:
    """What cannot be kept without the setting is shown as Arrow has it."""
    with duckdb.connect() as con:
        con.execute("SET lock_configuration = true")
        found = "".join(render.text(con.execute("SELECT TIMETZ '12:00:00+02' AS t"), "csv"))
    assert found.splitlines()[1].startswith("12:00:00")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("340282366920938463463374607431768211455::UHUGEINT", f"{2**128 - 1}"),
        (
            "{'x': 123456789012345678901234567890.123::DECIMAL(38, 3), 'y': 'NaN'}",
            '{"x":123456789012345678901234567890.123,"y":"NaN"}',
        ),
        ("{'x': 'nan'::DOUBLE, 'y': 'a NaN, Infinity'}", '{"x":null,"y":"a NaN, Infinity"}'),
        ("""{'y': 'a "NaN" b'}""", json.dumps({"y": 'a "NaN" b'}, separators=(",", ":"))),
    ],
)
def test_json_loses_no_digit(value: str, shown: str) -> None:
    """Only what JSON has no number for is null."""
    with duckdb.connect() as con:
        found = "".join(render.text(con.execute(f"SELECT {value} AS a"), "jsonlines"))
    assert found.splitlines() == [f'{{"a":{shown}}}']


def test_a_nested_time_is_in_the_zone_of_the_session() -> None:
    """As one on its own is."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone='Asia/Tokyo'")
        found = con.execute("SELECT [TIMESTAMPTZ '2024-01-01 00:00:00+00'] AS a")
        assert "2024-01-01 09:00:00+09" in "".join(render.text(found, "csv"))


@pytest.mark.parametrize("text", ["👨‍👩‍👧‍👦" * 400, "นี้คือ" * 400])
def test_what_a_cell_leaves_out_is_marked(text: str) -> None:
    """Also where a character is several code points."""
    with duckdb.connect() as con:
        found = "".join(render.text(con.execute("SELECT $1 AS a", [text]), "box", Page(40)))
    assert "…" in found


@pytest.mark.parametrize("format", ["csv", "json", "jsonlines", "markdown", "box"])
def test_a_column_is_not_named_what_a_terminal_obeys(format: str) -> None:
    """A PIVOT makes names of what models answer."""
    with duckdb.connect() as con:
        result = con.execute("""SELECT 1 AS "\x1b[31m\x9b", chr(127) || chr(155) AS b""")
        found = "".join(render.text(result, format, Page(80)))
    assert not measure.CONTROL.search(found.replace("\r\n", "\n"))
    if format == "json":
        assert json.loads(found)[0]["b"] == "\x7f\x9b"
