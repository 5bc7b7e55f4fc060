"""Everything llmsql raises on purpose.

LlmsqlError
  StatementError     the text is not one of our statements
  CatalogError       a named thing is missing, or already there
  OptionError        an option is unknown or has the wrong type
  BackendError       a backend is missing, or a model cannot be loaded or reached
  GenerationError    a model failed on an input
  LimitError         a statement would cost more than it may
  ClosedError        the connection is closed

A message says what happened with the user's word in quotes, what exists instead, and what to type.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable

import duckdb


class LlmsqlError(duckdb.Error):  # type: ignore[misc]  # duckdb ships no usable types
    """Superclass of all errors of llmsql, itself a `duckdb.Error`. Never raised directly."""


class StatementError(LlmsqlError):
    """The text is not one of our statements."""


class CatalogError(LlmsqlError):
    """A named thing is missing, or already there."""


class OptionError(LlmsqlError):
    """An option is unknown or has the wrong type."""


class BackendError(LlmsqlError):
    """A backend is missing, or a model cannot be loaded or reached: every row would fail."""


class GenerationError(LlmsqlError):
    """
    A model failed on one input; its neighbours may succeed.

    Of several processes it was *replica*; *seconds* passed until then, and it was asked *retries*
    times again: None where nobody knows.
    """

    replica: int = 0
    seconds: float | None = None
    retries: int | None = 0


class LimitError(LlmsqlError):
    """A statement would cost more than it may: nothing beyond the cap was asked."""


class ClosedError(LlmsqlError):
    """The connection is closed."""

    def __init__(
        self, said: str = "the connection is closed\n  llmsql.connect() opens another"
    ) -> None:
        super().__init__(said)


class LlmsqlWarning(UserWarning):
    """What a statement that succeeded still has to say: rows that failed, answers that were cut."""


def warn(message: str) -> None:
    """Issue a LlmsqlWarning that points at the line that called llmsql."""
    level, frame = 1, sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith(
        ("llmsql", "contextlib")
    ):
        frame = frame.f_back  # type: ignore[assignment]
        level += 1
    warnings.warn(message, LlmsqlWarning, stacklevel=level)


def first_line(error: BaseException) -> str:
    """Return the first line of what *error* says, or its name where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?` for the nearest of *known*, or nothing when none is near."""
    by_folded = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_folded, n=1, cutoff=0.6)
    return f'; did you mean "{by_folded[near[0]]}"?' if near else ""
