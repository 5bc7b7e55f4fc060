"""WHERE model … ORDER BY k LIMIT n asks about rows in the order of k, and no more than it needs."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from llmsql.errors import LimitError
from llmsql.syntax import ladder, tree
from llmsql.syntax.ladder import Ladder
from llmsql.syntax.ranks import is_call
from tests.generator import Sorted
from tests.oracle import Ours, Plain
from tests.test_differential import check, is_usable

MODELS = frozenset({"m", "g"})


def read(sql: str, order: str = "ASCENDING", nulls: str = "NULLS_LAST") -> Ladder | None:
    parsed = tree.parse(sql)
    assert parsed
    return ladder.read(
        parsed, lambda n: is_call(n, MODELS), lambda name: [], lambda: (order, nulls)
    )


def written(sql: str) -> str:
    parsed = tree.parse(sql)
    assert parsed
    return tree.show(parsed)


BELOW = [
    (
        "SELECT i FROM t WHERE k < 3 AND m(s) ORDER BY day LIMIT 9",
        "SELECT i FROM t WHERE k < 3 AND m(s) AND (day <= [0] OR [0] IS NULL) ORDER BY day LIMIT 9",
    ),
    (
        "SELECT i FROM t WHERE m(s) ORDER BY day DESC NULLS FIRST LIMIT 9",
        "SELECT i FROM t WHERE m(s) AND (day IS NULL OR day >= [0])"
        " ORDER BY day DESC NULLS FIRST LIMIT 9",
    ),
    (
        "SELECT i, -k AS n FROM t WHERE m(s) ORDER BY n, 1 DESC LIMIT 9 OFFSET 2",
        "SELECT i, -k AS n FROM t WHERE m(s) AND (-k <= [0] OR [0] IS NULL)"
        " AND (-k < [0] OR ([0] IS NULL AND -k IS NOT NULL) OR i >= [1] OR [1] IS NULL)"
        " ORDER BY n, 1 DESC LIMIT 9 OFFSET 2",
    ),
    (
        "SELECT i AS x, -i AS x FROM t WHERE m(s) ORDER BY x LIMIT 9",
        "SELECT i AS x, -i AS x FROM t WHERE m(s) AND (-i <= [0] OR [0] IS NULL)"
        " ORDER BY x LIMIT 9",
    ),
    (
        "SELECT * FROM t WHERE m(s) ORDER BY a, b, c LIMIT 9",
        "SELECT * FROM t WHERE m(s) AND (a <= [0] OR [0] IS NULL)"
        " AND (a < [0] OR ([0] IS NULL AND a IS NOT NULL) OR ((b <= [1] OR [1] IS NULL)"
        " AND (b < [1] OR ([1] IS NULL AND b IS NOT NULL) OR c <= [2] OR [2] IS NULL)))"
        " ORDER BY a, b, c LIMIT 9",
    ),
    (
        "SELECT i FROM t WHERE m(s) ORDER BY k, g(s), i LIMIT 9",
        "SELECT i FROM t WHERE m(s) AND (k <= [0] OR [0] IS NULL) ORDER BY k, g(s), i LIMIT 9",
    ),
]  # fmt: skip


def variables(text: str) -> str:
    for number in range(3):
        text = text.replace(f"[{number}]", f"getvariable('llmsql_rung_{number}')")
    return text


@pytest.mark.parametrize(("sql", "below"), BELOW)
def test_the_query_below_a_rung(sql: str, below: str) -> None:
    """It has one more condition: that a row sorts up to the rung."""
    found = read(sql)
    assert found
    assert found.below(found.keys) == written(variables(below))


def test_the_query_for_the_rungs() -> None:
    """It asks no model, and has all that the conditions without one leave, and each parameter."""
    found = read("SELECT i, k AS y FROM t WHERE y < 3 AND m(s || $2) ORDER BY day LIMIT $1")
    assert found
    inner = written(
        "SELECT CAST($1 AS BIGINT) AS llmsql_rows, CAST(0 AS BIGINT) AS llmsql_offset,"
        " day AS llmsql_key_0, k AS y FROM t"
        " WHERE y < 3 AND hash($1) IS NOT NULL AND hash($2) IS NOT NULL"
        " ORDER BY day ASC NULLS LAST LIMIT 65536"
    )
    assert f"FROM ({inner}))" in found.rungs(found.keys)
    assert "m(" not in found.rungs(found.keys)


@pytest.mark.parametrize(
    ("ending", "settings", "is_descending", "is_nulls_first"),
    [
        ("k", ("ASCENDING", "NULLS_LAST"), False, False),
        ("k", ("DESC", "NULLS_FIRST"), True, True),
        ("k ASC", ("DESCENDING", "NULLS_FIRST_ON_ASC_LAST_ON_DESC"), False, True),
        ("k DESC", ("ASCENDING", "NULLS_FIRST_ON_ASC_LAST_ON_DESC"), True, False),
        ("k DESC", ("ASCENDING", "NULLS_LAST_ON_ASC_FIRST_ON_DESC"), True, True),
        ("k NULLS LAST", ("ASCENDING", "NULLS_FIRST"), False, False),
    ],
)
def test_settings_say_what_an_order_does_not(
    ending: str, settings: tuple[str, str], is_descending: bool, is_nulls_first: bool
) -> None:
    found = read(f"SELECT i FROM t WHERE m(s) ORDER BY {ending} LIMIT 3", *settings)
    assert found
    assert (found.keys[0].is_descending, found.keys[0].is_nulls_first) == (
        is_descending,
        is_nulls_first,
    )


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT i FROM t WHERE k = 3 ORDER BY i LIMIT 3",
        "SELECT i FROM t WHERE m(s) ORDER BY i",
        "SELECT i FROM t WHERE m(s) LIMIT 3",
        "SELECT i FROM t WHERE m(s) ORDER BY i LIMIT 10%",
        "SELECT i FROM t WHERE m(s) ORDER BY i LIMIT (SELECT 3)",
        "SELECT i FROM t WHERE m(s) ORDER BY g(s), i LIMIT 3",
        "SELECT i, g(s) AS y FROM t WHERE m(s) ORDER BY y LIMIT 3",
        "SELECT i, g(s) AS y, y || i AS z FROM t WHERE m(s) ORDER BY z LIMIT 3",
        "SELECT i FROM t WHERE m(s) ORDER BY ALL LIMIT 3",
        "SELECT i FROM t WHERE m(s) ORDER BY NULL LIMIT 3",
        "SELECT i FROM t WHERE m(s) ORDER BY 1 + 1 LIMIT 3",
        "SELECT *, i FROM t WHERE m(s) ORDER BY 2 LIMIT 3",
        "SELECT * REPLACE (-i AS i) FROM t WHERE m(s) ORDER BY i LIMIT 3",
        "SELECT COLUMNS(*) + 1 FROM t WHERE m(s) ORDER BY i LIMIT 3",
        "SELECT -i AS x, i FROM t WHERE m(s) ORDER BY x % 7 LIMIT 3",
        "SELECT b.k FROM t LEFT JOIN b USING (k) WHERE m(s) ORDER BY k LIMIT 3",
        "SELECT b.* FROM t LEFT JOIN b USING (k) WHERE m(s) ORDER BY k LIMIT 3",
        "SELECT DISTINCT i FROM t WHERE m(s) ORDER BY i LIMIT 3",
        "SELECT count(*) FROM t WHERE m(s) ORDER BY 1 LIMIT 3",
        "SELECT k FROM t WHERE m(s) GROUP BY k ORDER BY k LIMIT 3",
        "SELECT unnest([1, 2]), i FROM t WHERE m(s) ORDER BY i LIMIT 3",
        "SELECT i, row_number() OVER () FROM t WHERE m(s) ORDER BY i LIMIT 3",
        "SELECT i FROM t WHERE m(s) QUALIFY row_number() OVER () < 3 ORDER BY i LIMIT 3",
        "SELECT i FROM t WHERE m(s) UNION ALL SELECT 1 ORDER BY i LIMIT 3",
        "SELECT i FROM (SELECT i, m(s) AS y FROM t) WHERE y ORDER BY i LIMIT 3",
        "SELECT i FROM t WHERE i IN (SELECT id FROM u WHERE m(w)) ORDER BY i LIMIT 3",
    ],
)
def test_there_is_no_ladder_without_the_proof(sql: str) -> None:
    """Where rows are more than rows of the FROM, or it is not certain what sorts them."""
    assert read(sql) is None


MANY = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE many AS SELECT i, 'row ' || i AS s, i % 5 AS stars,
    DATE '2020-01-01' + (i * 37 % 1000)::INT AS day, ['b', 'A', 'a', 'B'][i % 4 + 1] COLLATE NOCASE AS c,
    ['sad', 'ok', 'happy'][i % 3 + 1]::mood AS e, (i * 31 % 997 / 10)::DECIMAL(9, 3) AS dec,
    CASE WHEN i % 3 > 0 THEN i * 7919 % 5000 END AS n, TIMESTAMP '2020-01-01' + INTERVAL (i * 91 % 5000) SECOND AS at,
    CASE WHEN i % 11 = 0 THEN 'nan'::DOUBLE WHEN i % 7 > 0 THEN i % 100 / 7 END AS f,
    {'a': i % 10} AS st FROM range(20000) r(i);
CREATE MACRO rare(x) AS g(x) = '1';
CREATE VIEW seen AS SELECT * FROM many WHERE i > 100;
"""


def passing(texts: int) -> list[int]:
    return [i for i in range(texts) if zlib.crc32(f"row {i}".encode()) % 7 == 1]


@pytest.fixture(scope="module")
def large() -> Any:
    ours, plain = Ours(MANY), Plain(MANY)
    yield ours, plain
    plain.close()
    ours.con.close()


@pytest.mark.parametrize("limit", [1, 10, 40])
def test_a_limit_asks_twice_the_rows_it_needs_at_most(large: Any, limit: int) -> None:
    """As many as there are up to the last one that is wanted, and at most as many again."""
    ours, _ = large
    outcome = ours.run(f"SELECT i FROM many WHERE rare(s) ORDER BY i LIMIT {limit}")
    wanted = passing(2000)[:limit]
    assert outcome.rows == [(i,) for i in wanted]
    assert outcome.calls <= max(32, 2 * limit, 2 * (wanted[-1] + 1))


def test_a_hundred_thousand_rows() -> None:
    """Of which one in seven passes: 64 calls for ten of them, not 100,000."""
    ours = Ours("CREATE TABLE many AS SELECT i, 'row ' || i AS s FROM range(100000) r(i)")
    outcome = ours.run("SELECT i FROM many WHERE g(s) = '1' ORDER BY i LIMIT 10")
    assert outcome.rows == [(i,) for i in passing(1000)[:10]]
    assert outcome.calls == 64
    ours.con.close()


ALIKE = [
    ("day DESC, i", 256),
    ("stars DESC, i", 256),
    ("c, i", 256),
    ("c DESC, i DESC", 256),
    ("e DESC, i", 256),
    ("dec DESC, i", 256),
    ("n DESC NULLS FIRST, i", 256),
    ("n, i", 256),
    ("f DESC, i", 256),
    ("f NULLS FIRST, i", 256),
    ("at DESC, i", 256),
    ("2, 1 DESC", 256),
    ("stars % 2, st, i", 20_000),
    ("st, i", 20_000),
]


@pytest.mark.parametrize(("key", "most"), ALIKE)
def test_rows_are_plain_duckdbs_whatever_the_key(large: Any, key: str, most: int) -> None:
    """Types, NULLs, NaN and collations sort as they do in DuckDB; a STRUCT proves nothing."""
    ours, plain = large
    sql = f"SELECT i, stars FROM many WHERE rare(s) ORDER BY {key} LIMIT 10"
    one, other = ours.run(sql), plain.run(sql)
    assert one.rows == other.rows
    assert one.calls <= most


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT i FROM seen WHERE rare(s) ORDER BY day, i LIMIT 10",
        "SELECT *, g(s) AS y FROM many WHERE rare(s) AND stars = 3 ORDER BY n, i LIMIT 10 OFFSET 5",
        "SELECT * EXCLUDE (f), -i AS y FROM many WHERE rare(s) ORDER BY y LIMIT 10",
        "SELECT a.i, b.i FROM many a JOIN many b ON a.i = b.i + 1 WHERE rare(b.s || a.i)"
        " ORDER BY a.day, b.i LIMIT 10",
        "WITH c AS (SELECT * FROM many WHERE stars = 2) SELECT i FROM c WHERE rare(s)"
        " ORDER BY day, i LIMIT 10",
        "SELECT i, stars * 2 AS d FROM many WHERE d > 4 AND rare(s) ORDER BY d, i LIMIT 10",
        "SELECT i FROM many WHERE rare(s) AND m(s || 'x') = 'true' ORDER BY i LIMIT 10",
        "CREATE OR REPLACE TABLE made AS SELECT i, g('a' || s) FROM many WHERE rare(s)"
        " ORDER BY day, i LIMIT 10",
    ],
)
def test_a_few_rows_are_asked_about(large: Any, sql: str) -> None:
    """Also of a view, a join, a common table, and for a statement that writes."""
    ours, plain = large
    one, other = ours.run(sql), plain.run(sql)
    assert (one.rows, one.names, one.error) == (other.rows, other.names, other.error)
    assert one.calls < 1000 < other.calls


def test_what_a_select_list_computes_is_asked_of_the_rows_that_remain(large: Any) -> None:
    """Ten more calls for ten rows, whatever was asked on the way to them."""
    ours, _ = large
    sql = "SELECT {} FROM many WHERE rare(s) ORDER BY day, i LIMIT 10"
    alone = ours.run(sql.format("i")).calls
    for items in ("i, m('a' || s)", "*, m('a' || s) AS y", "m('a' || s) AS s, i"):
        assert ours.run(sql.format(items)).calls == alone + 10


def test_rows_that_sort_alike_are_asked_in_the_order_they_are_read(large: Any) -> None:
    """A key of five values, of a table: not all 4,000 rows with the best of them."""
    ours, plain = large
    sql = "SELECT i FROM many WHERE rare(s) ORDER BY stars DESC LIMIT 10"
    one = ours.run(sql)
    assert one.rows == plain.run(sql).rows
    assert one.calls <= 256


def test_parameters_of_the_limit(large: Any) -> None:
    """They have their values when the rungs are looked up."""
    ours, plain = large
    sql = "SELECT i FROM many WHERE rare(s || ?) AND stars < ? ORDER BY day, i LIMIT ? OFFSET ?"
    one, other = ours.run(sql, ["!", 3, 5, 2]), plain.run(sql, ["!", 3, 5, 2])
    assert one.rows == other.rows
    assert one.calls <= 256


@pytest.mark.parametrize(
    ("sql", "calls"),
    [
        ("SELECT i FROM many WHERE rare(s) ORDER BY i LIMIT 0", 0),
        ("SELECT i FROM many WHERE rare(s) AND i < 50 ORDER BY i LIMIT 10 OFFSET 100", 50),
        ("SELECT i FROM many WHERE rare(s) AND i < 50 ORDER BY i LIMIT 100", 50),
        ("SELECT i FROM many WHERE g(s) = 'x' AND i < 500 ORDER BY i LIMIT 1", 500),
        ("SELECT i FROM many WHERE rare(s) AND i < 0 ORDER BY i LIMIT 1", 0),
    ],
)
def test_what_no_rung_has_is_settled_as_ever(large: Any, sql: str, calls: int) -> None:
    """A LIMIT beyond the end, or one of no rows, asks what it always has."""
    ours, plain = large
    one, other = ours.run(sql), plain.run(sql)
    assert (one.rows, one.calls) == (other.rows, calls)


def test_a_key_that_fails_for_rows_that_models_keep_out() -> None:
    """The query below then fails, and the statement is settled as ever."""
    tables = "CREATE TABLE many AS SELECT i, 'row ' || i AS s FROM range(300) r(i)"
    sql = (
        "SELECT i FROM many WHERE m(s) = 'true'"
        " ORDER BY CASE WHEN crc(s) THEN i ELSE error('never') END LIMIT 3"
    )
    ours = Ours(tables)
    ours.con.create_function(
        "crc", lambda s: zlib.crc32(s.encode()) % 3 == 0, ["VARCHAR"], "BOOLEAN"
    )
    hits = [i for i in range(300) if zlib.crc32(f"row {i}".encode()) % 3 == 0]
    assert ours.run(sql).rows == [(i,) for i in hits[:3]]
    ours.con.remove_function("crc")
    ours.con.close()


def test_a_cap_counts_step_by_step(large: Any) -> None:
    """What is enough for the rungs that are needed is enough; what is not is told at the step."""
    ours, _ = large
    sql = "SELECT i FROM many WHERE rare(s) ORDER BY i LIMIT 10"
    for most, is_enough in ((64, True), (50, False)):
        ours.forget()
        ours.con.execute(f'!llm setup "max_calls={most}"')
        if is_enough:
            assert len(ours.con.execute(sql).fetchall()) == 10
        else:
            with pytest.raises(LimitError):
                ours.con.execute(sql)
            assert ours.calls == 32
    ours.con.execute('!llm setup "max_calls="')


def test_explain_says_that_it_is_an_upper_bound(large: Any) -> None:
    """Nobody knows how far one must climb before one does."""
    ours, _ = large
    ours.forget()
    rows = ours.con.execute(
        "EXPLAIN SELECT i FROM many WHERE g(s) = '1' ORDER BY i LIMIT 10"
    ).fetchall()
    assert "at most" in rows[-1][1]
    assert ours.calls == 0


def test_analyze_climbs_too(large: Any) -> None:
    ours, _ = large
    outcome = ours.run("EXPLAIN ANALYZE SELECT i FROM many WHERE g(s) = '1' ORDER BY i LIMIT 10")
    assert outcome.error is None
    assert outcome.calls == 64


def test_nothing_is_left_behind(large: Any) -> None:
    """No table and no variable of the rungs outlives the next statement."""
    ours, _ = large
    ours.run("SELECT i FROM many WHERE rare(s) ORDER BY i LIMIT 10")
    ours.con.execute("SELECT 1")
    tables = ours.con.execute("SELECT table_name FROM duckdb_tables() WHERE temporary").fetchall()
    variables = ours.con.execute("SELECT name FROM duckdb_variables()").fetchall()
    assert tables == []
    assert [name for (name,) in variables if "rung" in name] == []


@pytest.mark.parametrize("order", ["k, i", "k DESC NULLS LAST, i"])
@pytest.mark.parametrize("nulls", ["nulls_first", "nulls_first_on_asc_last_on_desc"])
def test_settings_of_the_database(nulls: str, order: str) -> None:
    """What they say of NULLs, and of the direction, holds for the rungs too."""
    tables = "CREATE TABLE many AS SELECT i, CASE WHEN i % 3 > 0 THEN i % 10 END AS k FROM range(900) r(i)"
    ours, plain = Ours(tables), Plain(tables)
    sql = f"SELECT i FROM many WHERE g('row ' || i) = '1' ORDER BY {order} LIMIT 50"
    for setting in (f"default_null_order = '{nulls}'", "default_order = 'DESC'"):
        for side in (ours, plain):
            side.con.execute(f"SET {setting}")
        one = ours.run(sql)
        assert one.rows == plain.run(sql).rows
        assert one.calls < 900
    plain.close()
    ours.con.close()


@pytest.mark.parametrize("seed", range(5000, 5008))
def test_generated_statements_agree(ours: Ours, plain: Plain, seed: int) -> None:
    """Rows, names, errors and tables are those of plain DuckDB; calls are no more."""
    generator = Sorted(seed)
    for _ in range(10):
        check(ours, plain, generator.statement())


@pytest.mark.parametrize("seed", range(5100, 5104))
def test_generated_statements_agree_in_a_transaction(ours: Ours, plain: Plain, seed: int) -> None:
    """No error of ours ends a transaction of the user's."""
    generator = Sorted(seed)
    for _ in range(8):
        sql = generator.statement()
        for side in (ours, plain):
            side.con.execute("BEGIN")
        one, other = ours.run(sql), plain.run(sql)
        assert (one.error, one.rows) == (other.error, other.rows), sql
        assert one.error or one.calls <= other.calls, sql
        assert is_usable(ours.con) == is_usable(plain.con), sql
        for side in (ours, plain):
            side.con.execute("ROLLBACK")
