"""Units of work: how a set is cut, and how the input that kills is found."""

from __future__ import annotations

import random

from llmsql.replicas.work import Work


def outcome(work: Work, killers: set[int]) -> tuple[list[int], list[int], int]:
    """Who was answered, who was blamed, and after how many deaths."""
    answered, blamed, deaths = [], [], 0
    while work.unsettled:
        unit = work.take()
        assert unit is not None
        for place, row in enumerate(unit.rows):
            if row in killers:
                deaths += 1
                culprit = work.died(unit)
                blamed += [] if culprit is None else [culprit]
                break
            answered.append(work.answered(unit, place))
    return answered, blamed, deaths


def test_units_become_smaller_down_to_the_least() -> None:
    """Each takes its share of half of what is left, in order, and 16 at the end."""
    work, sizes = Work(400, 2, 16), []
    taken: list[int] = []
    while unit := work.take():
        sizes.append(len(unit.rows))
        taken += unit.rows
    assert sizes == [100, 75, 57, 42, 32, 24, 18, 16, 16, 16, 4]
    assert taken == list(range(400))


def test_one_alone_takes_all() -> None:
    """There is nobody to share with, and an engine batches what it has."""
    unit = Work(5_000, 1, 16).take()
    assert unit is not None
    assert len(unit.rows) == 5_000


def test_the_first_death_blames_nobody() -> None:
    """A replica may be killed for no fault of its inputs: all of them are run again."""
    work = Work(3, 1, 16)
    unit = work.take()
    assert unit is not None
    work.answered(unit, 1)
    assert work.died(unit) is None
    assert [list(piece.rows) for piece in iter(work.take, None) if piece] == [[0], [2]]


def test_the_second_death_of_few_blames_one() -> None:
    """Of sixteen suspects each is run alone, so that two deaths are enough."""
    answered, blamed, deaths = outcome(Work(16, 1, 16), {7})
    assert (sorted(answered), blamed, deaths) == ([*range(7), *range(8, 16)], [7], 2)


def test_one_of_thousands_is_found() -> None:
    """The one that kills is found among 20,000 by five deaths, and nobody else is blamed."""
    answered, blamed, deaths = outcome(Work(20_000, 1, 16), {0})
    assert (sorted(answered), blamed) == (list(range(1, 20_000)), [0])
    assert deaths == 5


def test_suspects_wait_for_the_others() -> None:
    """What may kill again is run when all the rest is done."""
    work = Work(100, 2, 10)
    first = work.take()
    assert first is not None
    work.died(first)
    units = list(iter(work.take, None))
    assert [unit.is_suspect for unit in units if unit] == [False] * 7 + [True] * 13


def test_exactly_those_that_kill_are_blamed() -> None:
    """Whoever kills, and wherever in the set, each is blamed, and all others are answered."""
    chance = random.Random(4)
    for _ in range(200):
        count = chance.randint(1, 500)
        killers = set(chance.sample(range(count), chance.randint(0, min(count, 6))))
        work = Work(count, chance.randint(1, 4), chance.randint(1, 20))
        answered, blamed, _ = outcome(work, killers)
        assert sorted(answered + blamed) == list(range(count))
        assert set(blamed) == killers
