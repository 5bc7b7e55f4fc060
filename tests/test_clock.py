from __future__ import annotations

import io
import time

import pytest

from llmsql import clock


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that begins at once."""
    monkeypatch.setattr(clock, "DELAY_SECONDS", 0.0)


def test_seconds_are_seen_and_taken_away() -> None:
    """
    A terminal shows how long it takes, and an empty line once that is over.
    """
    stream = Terminal()
    with clock.Clock(stream, "loading"):
        while "loading: 0 s" not in stream.getvalue():
            time.sleep(0.001)
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_file_has_no_clock() -> None:
    """
    What is no terminal gets nothing.
    """
    stream = io.StringIO()
    with clock.Clock(stream, "loading"):
        time.sleep(0.01)
    assert stream.getvalue() == ""
