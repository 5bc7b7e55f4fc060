"""How a statement's progress looks: a line on a terminal, a widget or a line in a notebook.

Drawn by tqdm, where it is installed; without it nothing is shown.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
from typing import Any, TextIO

from llmsql.runtime.progress import Progress

DELAY_SECONDS = 0.5
"""A statement that is done sooner shows no bar."""


class ProgressBar:
    """An observer that draws; *in_notebook* asks for a widget, else a line is drawn on *stream*."""

    def __init__(self, stream: TextIO | None = None, *, in_notebook: bool = False) -> None:
        self.stream = stream
        self.in_notebook = in_notebook
        self._bar: Any = None
        self._statement: int | None = None

    def __call__(self, progress: Progress) -> None:
        """Draw *progress*; a finished one is taken away."""
        if progress.is_finished:
            self.close()
            return
        if progress.seconds < DELAY_SECONDS:
            return
        if self._bar is None or self._statement != progress.statement:
            self.close()
            self._bar, self._statement = self._made(progress), progress.statement
        if self._bar is not None:
            self._draw(progress)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.total = None  # a widget that is short of its total would stay, and in red
            self._bar.close()
        self._bar = None

    def _draw(self, progress: Progress) -> None:
        bar = self._bar
        bar.total, bar.n = progress.total, progress.done
        bar.set_description(progress.model, refresh=False)
        bar.set_postfix_str(told(progress), refresh=False)
        bar.refresh()

    def _made(self, progress: Progress) -> Any:
        has_widgets = self.in_notebook and importlib.util.find_spec("ipywidgets") is not None
        try:
            module = importlib.import_module("tqdm.notebook" if has_widgets else "tqdm.std")
        except ImportError:
            return None
        in_cell = self.in_notebook and not has_widgets
        return module.tqdm(
            total=progress.total, initial=progress.done, unit=" calls", leave=False,
            file=CellLine() if in_cell else self.stream, dynamic_ncols=not in_cell, smoothing=0.1,
            ascii=False if in_cell else None,
        )  # fmt: skip


class CellLine(io.StringIO):
    """A line in the output of a notebook's cell: what is written takes the place of the last.

    A stream would leave every state of the bar in the notebook's file.
    """

    _shown: Any = None

    def write(self, text: str) -> int:
        """Show *text*, without the returns that a terminal needs."""
        from IPython.display import display

        line = {"text/plain": text.strip("\r\n").rstrip()}
        if self._shown is None:
            self._shown = display(line, raw=True, display_id=True)
        elif text.strip("\r\n"):
            self._shown.update(line, raw=True)
        return len(text)


def told(progress: Progress) -> str:
    """What a bar says beside its numbers: reused, failed, tokens a second."""
    parts = []
    if progress.reused:
        parts.append(f"{progress.reused} reused")
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.retrying:
        parts.append(f"{progress.retrying} retrying")
    if (speed := progress.tokens_per_second) is not None:
        parts.append(f"{speed:.0f} tokens/s")
    return ", ".join(parts)
