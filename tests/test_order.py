"""Model calls come in the order that DuckDB's own plan has."""

from __future__ import annotations

import pytest

from tests.oracle import Ours, Plain


def asked(ours: Ours) -> set[tuple[str, str]]:
    return {(name, text) for name, model in ours.models.items() for text in model.asked}


@pytest.mark.parametrize(
    "condition",
    [
        "g(s || k)::INT > 2 AND m(s || k) IS NULL",
        "m(s || k) IS NULL AND g(s || k)::INT > 2",
        "m(m(s || k)) IS NULL AND g(s || i) = '1'",
        "m(g(s || k)) IS NOT NULL AND NOT m(s || k) AND g(s || i) IS DISTINCT FROM '1'",
    ],
)
def test_the_same_inputs_are_asked(ours: Ours, plain: Plain, condition: str) -> None:
    """On one table without cheap conditions, exactly what a function alone would be asked."""
    sql = f"SELECT i FROM t WHERE {condition}"
    ours.run(sql)
    plain.run(sql)
    assert asked(ours) == set(plain.known)


def test_order_holds_in_a_transaction_of_the_users(ours: Ours, plain: Plain) -> None:
    """Where passes happen in it, DuckDB's order is kept there too, and the transaction lives."""
    sql = "SELECT i FROM t WHERE m(m(s || k)) = 'true' AND g(s || i) = '1'"
    ours.con.execute("BEGIN")
    assert ours.run(sql).calls <= plain.run(sql).calls
    assert ours.con.execute("SELECT 1").fetchall() == [(1,)]
    ours.con.execute("ROLLBACK")


def test_order_is_known_with_parameters(ours: Ours, plain: Plain) -> None:
    """A parameter has its value when DuckDB plans."""
    sql = "SELECT i FROM t WHERE m(m(s || k)) IS NULL AND g(s || $1) = '1'"
    assert ours.run(sql, ["x"]).calls <= plain.run(sql, ["x"]).calls


def test_explain_asks_nothing_of_what_is_planned(ours: Ours) -> None:
    """EXPLAIN does not make the calls that DuckDB makes while it plans."""
    ours.run("EXPLAIN SELECT i FROM t WHERE m('c') = 'true' AND g(s) = '1' AND m(s) = 'x'")
    assert ours.calls == 0
