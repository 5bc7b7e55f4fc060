"""What a prompt that is too long loses: the rule, with tokens that are counted by hand."""

from __future__ import annotations

import pytest

from llmsql.torch_models.room import Room, Truncate
from llmsql.types import Message

HISTORY = [Message(role, "") for role in ("user", "assistant", "user", "assistant", "user")]
SIZES = [100, 90, 70, 60, 40, 30]
"""How many tokens a prompt has that begins at each place of `HISTORY`, or after it."""


@pytest.mark.parametrize(
    "context, limit, truncate, answer, start",
    [
        (101, None, "none", 50, 0),  # all of it fits, and the answer gets what is left
        (90, None, "none", 1, 0),  # nothing may be left out
        (90, None, "oldest", 1, 2),  # an answer goes with its question
        (110, None, "oldest", 10, 0),
        (110, None, "oldest", 11, 2),
        (110, None, "oldest", 60, 4),
        (110, None, "oldest", 80, 5),
        (110, None, "oldest", 1000, 5),  # no room for the answer: the last prompt is kept
        (200, 99, "none", 1000, 2),
        (200, 69, "oldest", 10, 4),
        (200, 10, "none", 1, 5),
    ],
)
def test_as_little_as_possible_is_left_out(
    context: int, limit: int | None, truncate: Truncate, answer: int, start: int
) -> None:
    """The first place from which prompt and answer fit; the prompt alone where none is."""
    room = Room(context, limit, truncate)
    assert room.start(HISTORY, answer, SIZES.__getitem__) == (start, SIZES[start])


def test_few_places_are_counted() -> None:
    """Counting takes the tokenizer: a long conversation is halved, not shortened turn by turn."""
    asked: list[int] = []

    def count(place: int) -> int:
        asked.append(place)
        return 2000 - 2 * place

    turns = [Message("assistant" if at % 2 else "user", "") for at in range(1000)]
    assert Room(1001, None, "oldest").start(turns, 1, count) == (500, 1000)
    assert len(asked) < 15


def test_an_error_tells_what_would_help() -> None:
    """What was said first may be left out only where there is any, and it was not tried."""
    room = Room(50)
    assert room.refusal(49) is None
    assert "truncate='oldest'" in str(room.refusal(50, has_history=True))
    assert "truncate" not in str(room.refusal(50))
    assert "truncate" not in str(Room(50, truncate="oldest").refusal(50, has_history=True))
