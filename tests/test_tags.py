"""Tags tell calls apart, to us and not to DuckDB."""

from __future__ import annotations

import duckdb
import pytest

from llmsql.syntax import tags, tree, weights
from llmsql.syntax.ranks import is_call

PLACES = [(0, 0), (0, 7), (1, 3), (12, 40), (1005, 1031), (70_000, 2_345)]


def at(rank: int, site: int) -> str:
    return f"(SELECT {tags.PLACE} AS place FROM (VALUES ({rank}, {site})) tag(rank, site))"


@pytest.mark.parametrize(("rank", "site"), PLACES)
def test_a_tag_tells_its_place(rank: int, site: int) -> None:
    """To a function, in Arrow's types, and in the text of a plan."""
    found = duckdb.sql(f"FROM {at(rank, site)}").to_arrow_table()["place"][0].as_py()
    assert tags.written(found) == (rank, site)
    (shown,) = duckdb.sql(f"SELECT {at(rank, site)}::VARCHAR").fetchall()[0]
    assert tags.printed(f"m(s, {{'place': '{shown}'::INTERVAL}})") == [(6, site)]


@pytest.mark.parametrize(("rank", "site"), PLACES)
def test_all_tags_are_one_to_duckdb(rank: int, site: int) -> None:
    """So that it sees where conditions on one call contradict one another."""
    one, other = at(0, 0), at(rank, site)
    found = duckdb.sql(f"SELECT {one} = {other}, hash({one}) = hash({other})").fetchall()
    assert found == [(True, True)]


@pytest.mark.parametrize("site", [0, 7, 1031])
def test_calls_of_other_branches_are_others_to_duckdb(site: int) -> None:
    """So that it does not make one for all rows where each is for some."""
    one, other = at(2, site), at(2, site + tags.BRANCH)
    assert duckdb.sql(f"SELECT {one} = {other}").fetchall() == [(False,)]
    (shown,) = duckdb.sql(f"SELECT {other}::VARCHAR").fetchall()[0]
    ((_, found),) = tags.printed(f"{{'place': '{shown}'::INTERVAL}}")
    assert tags.plain(found) == tags.plain(site)


COST = {weights.ALONE: 5, "CAST(0 AS DOUBLE)": 2, "0": 1}
"""What DuckDB 1.5 counts for a constant of the type."""


@pytest.mark.parametrize(
    "condition",
    ["m(s) = 'x'", "m(m(s)) = 'x'", "m(s) < m(i)", "m(m(m(s))) = 'x'", "m(i) IN (m(s), m(k))"],
)
def test_all_conditions_weigh_the_same(condition: str) -> None:
    """With up to three calls, each of which has a tag, too, of 1."""
    statement = tree.parse(f"SELECT 1 FROM t WHERE {condition}")
    assert statement
    query = tree.body(statement)
    calls = {id(node) for node in tree.nodes(query) if is_call(node, frozenset("m"))}
    weighed = weights.weigh(query, calls)
    assert weighed.keys() == calls
    assert sum(COST[weight] + 1 for weight in weighed.values()) == 6
