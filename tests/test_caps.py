"""What a statement may cost is checked before it is spent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from llmsql.errors import LimitError, LlmsqlWarning, OptionError

DEPLOY = "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'"
TEN = "SELECT chat('one two ' || i) FROM range(10) t(i)"


@pytest.fixture
def priced(con: Any) -> Any:
    """A model that costs 1 a word read and 2 a word written."""
    con.execute(DEPLOY + " AND price_input='1000000' AND price_output='2000000'")
    return con


def asked(con: Any) -> int:
    return con.engine.deployments.get("chat").answered  # type: ignore[no-any-return]


def test_max_calls_refuses_before_anything_is_asked(priced: Any) -> None:
    """The error states need and cap, and how to allow it."""
    priced.execute('!llm setup "max_calls=9"')
    with pytest.raises(LimitError) as caught:
        priced.execute(TEN)
    assert str(caught.value) == (
        "10 more model calls would be needed, and max_calls is 9, of which 0 are spent\n"
        '  nothing more was asked; !llm setup "max_calls=10" allows it'
    )
    assert asked(priced) == 0


def test_a_cap_that_is_enough_is_silent(priced: Any) -> None:
    """Ten calls fit into ten."""
    priced.execute('!llm setup "max_calls=10"')
    assert len(priced.execute(TEN).fetchall()) == 10


def test_known_answers_cost_nothing(priced: Any) -> None:
    """What was answered before does not count."""
    priced.execute(TEN)
    priced.execute('!llm setup "max_calls=0"')
    assert len(priced.execute(TEN).fetchall()) == 10


@pytest.mark.parametrize(
    ("cap", "said"),
    [
        ("max_input_tokens=29", "30 more input tokens would be needed, and max_input_tokens is 29"),
        ("max_output_tokens=39", "40 more output tokens would be needed"),
        ("max_cost=109.5", "110 more of cost would be needed, and max_cost is 109.5"),
    ],
)
def test_every_cap_is_checked_before(priced: Any, cap: str, said: str) -> None:
    """Tokens are counted, those to write are at most max_tokens, and money follows."""
    priced.execute(f'!llm setup "{cap}"')
    with pytest.raises(LimitError, match=said):
        priced.execute("SELECT chat('one two ' || i, {max_tokens: 4}) FROM range(10) t(i)")
    assert asked(priced) == 0


def test_a_cost_that_nobody_knows_is_not_free(con: Any) -> None:
    """max_cost refuses a model without prices, and says what to give."""
    con.execute(DEPLOY)
    con.execute('!llm setup "max_cost=1"')
    with pytest.raises(LimitError) as caught:
        con.execute(TEN)
    assert str(caught.value) == (
        '"max_cost" is set, and the price of these calls is not known\n'
        "  deploy the model with price_input and price_output, per million tokens"
    )


def test_max_seconds_stops_a_slow_statement(con: Any) -> None:
    """What was answered until then is kept, and the statement says so."""
    con.execute(DEPLOY + " AND delay='0.02'")
    con.execute('!llm setup "max_seconds=0.5"')
    with pytest.raises(LimitError, match="^max_seconds is 0.5, and 0") as caught:
        con.execute("SELECT chat('one two ' || i) FROM range(1000) t(i)")
    done = asked(con)
    assert 0 < done < 1000
    (note,) = caught.value.__notes__
    assert note.endswith("kept, until this process ends: run again, the statement goes on")


def test_answers_longer_than_expected_stop_at_the_cap(priced: Any) -> None:
    """An expectation from short answers does not let long ones pass the cap."""
    priced.execute(TEN)  # answers of three words
    priced.execute('!llm setup "max_output_tokens=60"')
    long = " ".join(["word"] * 20)
    with pytest.raises(LimitError, match="^up to 200 more .* is 60, of which 42 are spent\n"):
        priced.execute(f"SELECT chat('{long} ' || i, {{max_tokens: 25}}) FROM range(10) t(i)")
    assert asked(priced) == 12


def test_total_caps_count_all_statements(priced: Any) -> None:
    """What a connection has spent is spent, also by its cursors."""
    priced.execute('!llm setup "total_max_calls=15"')
    priced.execute(TEN)
    cursor = priced.cursor()
    with pytest.raises(LimitError, match="total_max_calls is 15, of which 10 are spent"):
        cursor.execute("SELECT chat('another ' || i) FROM range(10) t(i)")


def test_a_total_cap_below_what_is_spent_lets_nothing_through(priced: Any) -> None:
    """It is taken, as it stops the spending; the next call is refused."""
    priced.execute(TEN)
    priced.execute('!llm setup "total_max_calls=5"')
    with pytest.raises(LimitError, match="1 more model calls would be needed, .* 10 are spent"):
        priced.execute("SELECT chat('another')")


def test_an_empty_value_lifts_a_cap(priced: Any) -> None:
    """`max_calls=` is without end again."""
    priced.execute('!llm setup "max_calls=0"; !llm setup "max_calls=";')
    assert len(priced.execute(TEN).fetchall()) == 10


def test_next_is_for_one_statement(priced: Any) -> None:
    """The cap is gone after the next statement that calls models."""
    priced.execute('!llm setup next "max_calls=1"')
    priced.execute("SELECT 1")
    with pytest.raises(LimitError):
        priced.execute(TEN)
    assert len(priced.execute(TEN).fetchall()) == 10


def test_next_takes_settings_of_statements_only(con: Any) -> None:
    """num_gpus is none of them."""
    with pytest.raises(OptionError, match='^setting "num_gpus" is not one of a statement\n'):
        con.execute('!llm setup next "num_gpus=2"')


def test_a_cap_inside_a_write_leaves_the_table(priced: Any) -> None:
    """CREATE TABLE AS that is refused makes no table."""
    priced.execute('!llm setup next "max_calls=1"')
    with pytest.raises(LimitError):
        priced.execute(f"CREATE TABLE u AS {TEN}")
    assert priced.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]


def test_many_priced_calls_are_warned_of(priced: Any) -> None:
    """Where nobody can be asked, the statement goes on with a warning."""
    priced.execute('!llm setup "confirm_calls=9"')
    with pytest.warns(LlmsqlWarning) as caught:
        priced.execute(TEN)
    assert str(caught[0].message) == (
        'this statement makes 10 calls of the priced model "chat", for about 5150.00; '
        "max_calls or max_cost would stop it"
    )


def test_many_priced_calls_are_confirmed(priced: Any) -> None:
    """Who says no stops the statement before it costs anything."""
    priced.execute('!llm setup "confirm_calls=9"')
    said: list[str] = []
    priced.confirm = said.append
    with pytest.raises(LimitError, match="and that was declined\n  nothing was asked"):
        priced.execute(TEN)
    assert said == ['this statement makes 10 calls of the priced model "chat", for about 5150.00.']
    assert asked(priced) == 0


def test_the_calls_of_a_statement_are_confirmed_not_of_a_set(priced: Any) -> None:
    """Those of one function come first, those that wait for its answers are a set of their own."""
    priced.execute('!llm setup "confirm_calls=15"')
    said: list[str] = []
    priced.confirm = said.append
    with pytest.raises(LimitError, match="and that was declined\n  nothing more was asked"):
        priced.execute("SELECT chat('more of ' || chat('p' || i)) FROM range(10) r(i)")
    (question,) = said
    assert question.startswith('this statement makes 10 more calls of the priced model "chat"')
    assert asked(priced) == 10


def test_calls_without_a_price_are_not_confirmed(con: Any) -> None:
    """A local model may be called as often as one likes."""
    con.execute(DEPLOY)
    con.execute('!llm setup "confirm_calls=9"')
    assert len(con.execute(TEN).fetchall()) == 10


def test_prices_come_from_a_file(con: Any, tmp_path: Path) -> None:
    """By the name of the model, where the statement gives none."""
    (tmp_path / "prices.json").write_text('{"Chat": {"input": 3, "output": 4.5}}')
    con.execute(f'!llm setup "prices={tmp_path}/prices.json"')
    con.execute(DEPLOY)
    rows = con.execute("SELECT price_input, price_output FROM llm_models()").fetchall()
    assert rows == [(3.0, 4.5)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is neither JSON nor TOML"),
        ("[1]", "does not say prices by model"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_bad_price_file_is_refused(
    con: Any, tmp_path: Path, content: str | None, said: str
) -> None:
    """When it is named, not when a model is deployed."""
    if content is not None:
        (tmp_path / "prices.json").write_text(content)
    with pytest.raises(OptionError, match=said):
        con.execute(f'!llm setup "prices={tmp_path}/prices.json"')
    assert con.settings.prices is None


def test_a_negative_price_is_refused(con: Any) -> None:
    """Nobody pays for answers to be taken."""
    with pytest.raises(OptionError, match=r"^price_input must be 0 or more, not -1.0$"):
        con.execute(DEPLOY + " AND price_input='-1'")


def test_prices_are_remembered(tmp_path: Path) -> None:
    """A database file that is opened again knows what its models cost."""
    import llmsql

    with llmsql.connect(str(tmp_path / "a.duckdb")) as con:
        con.execute(DEPLOY + " AND price_input='1' AND price_output='2'")
    with llmsql.connect(str(tmp_path / "a.duckdb")) as con:
        rows = con.execute("SELECT price_input, price_output FROM llm_models()").fetchall()
    assert rows == [(1.0, 2.0)]


def test_seconds_of_two_cursors_add_up(con: Any) -> None:
    """Each counts its own, also while both run."""
    from llmsql.runtime.spent import Spent

    spent, first, second = Spent(), object(), object()
    spent.begin(first)
    spent.begin(second)
    spent.end(first)
    assert spent.so_far("seconds") > spent.seconds > 0


def test_input_tokens_under_a_cap_are_all_counted(con: Any) -> None:
    """A sample of very many texts may be wrong: a cap refuses before one token too many is read."""
    con.execute(DEPLOY)
    con.execute('!llm setup "max_input_tokens=50000"')
    texts = "if(i % 2 = 0, repeat('x', 39) || i, repeat('x ', 19) || 'x' || i)"
    with pytest.raises(LimitError, match="^52500 more input tokens would be needed"):
        con.execute(f"SELECT chat({texts}) FROM range(10000, 15000) t(i)")
    assert asked(con) == 0


@pytest.mark.parametrize("cap", ["total_max_calls=15", "total_max_input_tokens=45"])
def test_cursors_that_run_at_once_share_a_total(con: Any, cap: str) -> None:
    """What one is asking counts for the other before it is answered."""
    con.execute(DEPLOY + " AND delay='0.05'")
    con.execute(f'!llm setup "{cap}"')
    con.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='talk'")
    refused: list[LimitError] = []

    def other(progress: Any) -> None:
        if not refused and not progress.is_finished:
            with pytest.raises(LimitError, match="of which (10|30) are spent") as caught:
                con.cursor().execute(TEN.replace("chat", "talk"))
            refused.append(caught.value)

    first = con.cursor()
    first.on_progress = other
    first.execute(TEN)
    assert len(refused) == 1
    assert con.engine.deployments.get("talk").answered == 0


def test_what_a_stopped_statement_did_not_ask_may_be_asked(con: Any) -> None:
    """What it had reserved is free again."""
    con.execute(DEPLOY + " AND break_on='one'")
    con.execute('!llm setup "total_max_calls=20"')
    with pytest.raises(duckdb.Error, match="fails on every row"):
        con.execute(TEN)
    assert not con._session.conditions.spent.reserved
    con.execute("SELECT chat('two ' || i) FROM range(10) t(i)")


def test_the_cap_that_is_proposed_is_enough(con: Any) -> None:
    """Also where answers may be longer than those before, from which they are expected."""
    con.execute(DEPLOY + " AND price_input='1' AND price_output='2'")
    con.execute("SELECT chat('a' || i) FROM range(5) t(i)")
    con.execute('!llm setup "max_cost=0.000001"')
    sql = "SELECT count(chat('b b ' || i, {'max_tokens': 7})) FROM range(20) t(i)"
    with pytest.raises(LimitError) as said:
        con.execute(sql)
    proposed = re.search(r'"(max_cost=[0-9.]+)"', str(said.value))
    assert "max_cost is 0.000001, " in str(said.value)
    assert proposed
    con.execute(f'!llm setup "{proposed[1]}"')
    assert con.execute(sql).fetchall() == [(20,)]


def test_a_sum_of_prices_that_is_rounded_up_is_no_more(con: Any) -> None:
    """Three times 0.1 is more than 0.3 to a computer."""
    con.execute(DEPLOY + " AND price_input='100000' AND price_output='0'")
    con.execute('!llm setup "max_cost=0.3"')
    assert len(con.execute("SELECT chat(s) FROM (VALUES ('a'), ('b'), ('c')) t(s)").fetchall()) == 3


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-1"])
def test_a_cap_is_a_number(priced: Any, value: str) -> None:
    """Nothing is more than NaN: it would lift the cap."""
    priced.execute('!llm setup "max_calls=9"')
    with pytest.raises(OptionError, match="max_cost"):
        priced.execute(f'!llm setup "max_cost={value}"')
