"""Each build of sqlglot reads the statements of other tests as the others do, word by word.

Words are all that statements of DuckDB's need of it, so those tests run with one build of it alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import pytest

from llmsql.syntax.words import words
from tests.generator import Generator, Several
from tests.hidden import Hidden
from tests.nasty import NASTY
from tests.shapes import SHAPES
from tests.subqueries import Subqueries
from tests.test_enough import ENDING, FOUND


def made(make: type[Generator], seeds: Iterable[int]) -> Iterator[str]:
    """A dozen statements of each seed."""
    for seed in seeds:
        generator = make(seed)
        for _ in range(12):
            yield generator.statement()


@pytest.mark.parametrize(
    ("statements", "digest"),
    [
        pytest.param(NASTY, 2444886690, id="nasty"),
        pytest.param([shape.sql for shape in SHAPES], 2230188027, id="shapes"),
        pytest.param([*ENDING, *FOUND], 2256597217, id="early ends"),
        pytest.param(made(Generator, [*range(40), *range(1000, 1015)]), 4073179404, id="generated"),
        pytest.param(made(Several, range(2000, 2020)), 51751648, id="several models"),
        pytest.param(made(Subqueries, range(3000, 3004)), 3473535582, id="subqueries"),
        pytest.param(made(Hidden, range(4000, 4004)), 1597751929, id="hidden"),
    ],
)
def test_words_are_those_of_every_build(statements: Iterable[str], digest: int) -> None:
    """Texts, places and depths; a statement that changes changes the digest, in every build."""
    found = [[tuple(vars(word).values()) for word in words(sql)] for sql in statements]
    assert all(found)
    assert zlib.crc32(repr(found).encode()) == digest
