"""How progress looks on a terminal."""

from __future__ import annotations

import importlib.util
import io
import sys
from typing import Any

import pytest

from llmsql.progress_bar import ProgressBar, told
from llmsql.runtime.progress import Progress
from tests.installed import require

HALF = Progress(1, "chat", total=200, done=100, reused=5, failed=2, output_tokens=800, seconds=4.0)


def drawn(*states: Progress) -> str:
    stream = io.StringIO()
    bar = ProgressBar(stream)
    for state in states:
        bar(state)
    bar.close()
    return stream.getvalue()


def test_a_bar_says_how_far_and_what_else() -> None:
    """Done of total, reused, failed, and the pace."""
    text = drawn(HALF)
    assert "chat: " in text
    assert "100/200" in text
    assert "5 reused, 2 failed, 200 tokens/s" in text


def test_a_quick_statement_shows_nothing() -> None:
    """A bar that flashes by says nothing."""
    assert drawn(Progress(1, "chat", total=2, done=1, seconds=0.1)) == ""


def test_a_bar_is_taken_away_when_it_is_over() -> None:
    """The terminal is left to the results."""
    text = drawn(HALF, Progress(1, "chat", total=200, done=200, seconds=8.0, is_finished=True))
    assert text.endswith("\r")


def test_the_time_left_is_at_the_pace_so_far() -> None:
    """Half done in four seconds: four more."""
    assert HALF.seconds_left == 4.0
    assert Progress(1, total=10).seconds_left is None


def test_what_is_not_there_is_not_said() -> None:
    """No tokens, no reuse, no failures."""
    assert told(Progress(1, "emb", total=2, done=1, seconds=1.0)) == ""


def test_a_bar_says_why_nothing_moves() -> None:
    """A server that is busy has its requests wait, for a minute maybe."""
    assert told(Progress(1, "chat", total=2, retrying=2, seconds=9.0)) == "2 retrying"


def test_without_tqdm_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no dependency of the core."""
    monkeypatch.setitem(sys.modules, "tqdm.std", None)
    assert drawn(HALF) == ""


def test_a_widget_is_taken_away() -> None:
    """Though the last state drawn was short of all calls: tqdm would leave it there, in red."""
    require("ipywidgets")
    bar = ProgressBar(in_notebook=True)
    bar(HALF)
    drawn_bar = bar._bar
    bar(Progress(1, "chat", total=200, done=200, seconds=8.0, is_finished=True))
    assert drawn_bar.container.comm is None


def test_without_widgets_a_cell_has_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each state takes the place of the last, so that a notebook's file does not grow by them."""
    display = pytest.importorskip("IPython.display")
    shown: list[str] = []

    class Handle:
        def update(self, data: Any, **_: Any) -> None:
            shown[-1] = data["text/plain"]

    def show(data: Any, **_: Any) -> Handle:
        shown.append(data["text/plain"])
        return Handle()

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(display, "display", show)
    bar = ProgressBar(in_notebook=True)
    for done in (100, 120, 140):
        bar(Progress(1, "chat", total=200, done=done, seconds=4.0))
    assert len(shown) == 1
    assert shown[0].startswith("chat:  70%|███████   | 140/200 [")
    bar.close()
    assert shown == [""]
