"""How a statement's progress looks: a line on a terminal, a widget in a notebook.

Drawn by tqdm, where it is installed; without it nothing is shown.
"""

from __future__ import annotations

import importlib
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
            self._bar.close()
        self._bar = None

    def _draw(self, progress: Progress) -> None:
        bar = self._bar
        bar.total, bar.n = progress.total, progress.done
        bar.set_description(progress.model, refresh=False)
        bar.set_postfix_str(told(progress), refresh=False)
        bar.refresh()

    def _made(self, progress: Progress) -> Any:
        try:
            module = importlib.import_module("tqdm.auto" if self.in_notebook else "tqdm.std")
        except ImportError:
            return None
        return module.tqdm(
            total=progress.total, initial=progress.done, unit=" calls", leave=False,
            file=self.stream, dynamic_ncols=True, smoothing=0.1,
        )  # fmt: skip


def told(progress: Progress) -> str:
    """What a bar says beside its numbers: reused, failed, tokens a second."""
    parts = []
    if progress.reused:
        parts.append(f"{progress.reused} reused")
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if (speed := progress.tokens_per_second) is not None:
        parts.append(f"{speed:.0f} tokens/s")
    return ", ".join(parts)
