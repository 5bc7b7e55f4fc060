"""The order of work: of inputs, of fields, of slots and of families, each apart from any engine."""

from __future__ import annotations

import random
from itertools import permutations

import pyarrow as pa
import pytest

from llmsql.backends.llamacpp.lanes import Lanes
from llmsql.ordering.cells import Column
from llmsql.ordering.fields import best_order
from llmsql.ordering.work import in_order
from llmsql.torch_models.rows import Row
from llmsql.torch_models.starts import Waiting, common_start
from llmsql.types import Sampling


def ordered(**columns: list[str]) -> list[str]:
    """The names of *columns* in the best order."""
    names = list(columns)
    found = best_order([Column.of(name, pa.array(columns[name], pa.string())) for name in names])
    return [names[place] for place in found]


def read(columns: dict[str, list[str]], order: tuple[str, ...]) -> int:
    """How many characters are read when sorted rows share whole cells, eight around each."""
    rows = sorted(set(zip(*(columns[name] for name in order), strict=True)))
    total = 0
    for before, row in zip([(), *rows], rows, strict=False):
        alike = next(
            (at for at, cell in enumerate(row) if before[at : at + 1] != (cell,)), len(row)
        )
        total += sum(
            len(name) + len(cell) + 8 for name, cell in list(zip(order, row, strict=True))[alike:]
        )
    return total


@pytest.mark.parametrize("seed", range(5))
def test_no_order_reads_much_less(seed: int) -> None:
    """Of all orders of five columns of any repetition and length, ours is near the best."""
    chance = random.Random(seed)
    columns = {
        name: [f"{chance.randrange(kinds)}" * length for _ in range(300)]
        for name, kinds, length in (
            (name, chance.choice([2, 5, 20, 100, 300]), chance.choice([1, 5, 40]))
            for name in "abcde"
        )
    }
    columns["d"] = [cell * 2 for cell in columns["a"]]  # which another one decides
    costs = {order: read(columns, order) for order in permutations(columns)}
    assert costs[tuple(ordered(**columns))] <= 1.02 * min(costs.values())


def test_what_another_field_decides_stands_beside_it() -> None:
    """It is free there, and would cost something behind a third one."""
    makers = [str(i % 5) for i in range(60)]
    found = ordered(
        id=[str(i) for i in range(60)],
        maker=[f"maker {maker}" for maker in makers],
        colour=["red" if i % 2 else "blue" for i in range(60)],
        address=[f"the long address of maker {maker}" for maker in makers],
    )
    assert abs(found.index("maker") - found.index("address")) == 1
    assert found[-1] == "id"


def test_a_field_goes_past_several_where_one_alone_changes_nothing() -> None:
    """What the text decides is free behind it, in any order, and shares more before it."""
    texts = [i * 7 % 40 for i in range(200)]
    columns = {
        "text": [f"a text about {text} " * 3 for text in texts],
        "title": [f"title {text // 2}" for text in texts],
        "kind": [f"kind {text % 4}" for text in texts],
        "id": [str(i) for i in range(200)],
    }
    costs = {order: read(columns, order) for order in permutations(columns)}
    assert costs[tuple(ordered(**columns))] == min(costs.values())


def test_a_long_field_goes_before_a_short_one_that_repeats_more() -> None:
    """What counts is what need not be read again."""
    rows = range(100)
    found = ordered(
        kind=[str(i * 7 % 3) for i in rows], text=["long " * 50 + str(i // 4) for i in rows]
    )
    assert found == ["text", "kind"]


def test_rows_that_come_again_decide_nothing() -> None:
    """They are asked once."""
    columns = {"a": ["x", "y", "x", "y"], "b": ["p", "p", "q", "q"]}
    more = {"a": columns["a"] + ["x"] * 50, "b": columns["b"] + ["p"] * 50}
    assert ordered(**more) == ordered(**columns)


def test_fields_that_share_nothing_stay_as_they_are() -> None:
    """So do those of a single row, and of none."""
    for count in (40, 1, 0):
        columns = {name: [f"{name}{i}" for i in range(count)] for name in "cab"}
        assert ordered(**columns) == ["c", "a", "b"]


def test_an_absent_value_is_a_value() -> None:
    """NULL repeats like any other."""
    found = best_order(
        [
            Column.of("id", pa.array([str(i) for i in range(50)])),
            Column.of("note", pa.array([None] * 49 + ["x"])),
        ]
    )
    assert found == [1, 0]


def test_prompts_are_sorted_and_texts_go_the_longest_first() -> None:
    """Pairs are sorted by their query."""
    assert in_order(["b", "a c", "a b"], "chat") == ["a b", "a c", "b"]
    assert in_order(["b", "a c", "aaaa"], "emb") == ["aaaa", "a c", "b"]
    assert in_order([("q", "b"), ("a", "z"), ("q", "a")], "rerank")[0] == ("a", "z")


def test_each_slot_gets_neighbours() -> None:
    """As long as all have some of their own."""
    lanes = Lanes(list(range(12)), 3)
    queues = [lanes.of(slot) for slot in range(lanes.count)]
    taken = [[next(queue)[1] for _ in range(4)] for queue in queues]
    assert taken == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_slot_that_is_done_takes_half_of_the_longest_run() -> None:
    """Its second half, in order, and nothing is done twice or left."""
    lanes = Lanes(list(range(8)), 2)
    quick, slow = lanes.of(0), lanes.of(1)
    first = next(slow)
    rest = [job for _, job in quick]
    assert first == (1, 4)
    assert rest == [0, 1, 2, 3, 6, 7, 5]
    assert list(slow) == []


def test_there_are_no_more_lanes_than_jobs() -> None:
    """Nor fewer than one."""
    assert [Lanes(list(range(count)), 4).count for count in (0, 1, 9)] == [1, 1, 4]


def rows(*prompts: str) -> list[Row]:
    """A row for each of *prompts*, a token a letter."""
    made = [[ord(letter) for letter in prompt] for prompt in prompts]
    return [Row(i, tokens, Sampling(), 1, frozenset(), str) for i, tokens in enumerate(made)]


def families(waiting: Waiting) -> list[tuple[int, list[int]]]:
    """The start and the rows of each family that has any."""
    return [(f.start, [row.index for row in f.rows]) for f in waiting.families if f.rows]


def test_a_start_that_saves_more_than_it_costs_makes_a_family() -> None:
    """Three rows of a's save twice their start; two of b's not enough."""
    asked = rows("a" * 9 + "1", "b" * 9 + "1", "a" * 9 + "2", "b" * 9 + "2", "a" * 9 + "3")
    assert families(Waiting(asked, 0, 10)) == [(0, [1, 3]), (9, [0, 2, 4])]
    ((start, together),) = families(Waiting(asked, 0, None))
    assert (start, sorted(together)) == (0, [0, 1, 2, 3, 4])


def test_of_starts_within_starts_those_that_save_most_are_chosen() -> None:
    """Two families of long starts rather than one of the short start that both have."""
    asked = rows(*(f"x{letter * 20}{i}" for letter in "ab" for i in range(4)))
    assert families(Waiting(asked, 0, 5)) == [(21, [0, 1, 2, 3]), (21, [4, 5, 6, 7])]


def test_every_row_keeps_a_token_of_its_own() -> None:
    """Also one that is the start of the others."""
    asked = rows("aaaa", "aaaab", "aaaac")
    assert common_start([row.prompt for row in asked]) == 3
    assert families(Waiting(asked, 0, 1)) == [(3, [0, 1, 2])]


def test_rows_put_back_are_the_next_ones() -> None:
    """By what all rows share, as they may be of any family."""
    asked = rows(*("a" * 9 + str(i) for i in range(4)))
    waiting = Waiting(asked, 0, 1)
    assert len(waiting) == 4
    family = waiting.first
    taken = [family.rows.popleft(), family.rows.popleft()]
    waiting.put_back(taken)
    assert (waiting.first.start, len(waiting)) == (0, 4)
    waiting.first.rows.clear()
    assert waiting.first.start == 9


def test_very_long_chains_of_starts_end() -> None:
    """Each prompt begins the next one."""
    asked = rows(*("a" * size for size in range(1, 1_500)))
    assert len(Waiting(asked, 0, 64)) == 1_499
