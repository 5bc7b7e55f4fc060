"""The way of a set of texts or pairs through an encoder: prompts, windows, tokens, rows.

How a window is read and computed is the backends' business, what a row means that of `answers`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from llmsql.encoders.options import Options
from llmsql.encoders.order import WINDOW_CHARACTERS, packs
from llmsql.errors import GenerationError, OptionError, suggestion
from llmsql.types import Measured, Usage

Row = Measured[np.ndarray] | GenerationError
Rows = Iterator[tuple[int, Row]]


class Encoder(ABC):
    """One loaded encoder, *engine* as its library calls it.

    *width* is how many numbers it makes of an item, *max_characters* how much of one can matter,
    *window_characters* how much is read at a time.
    """

    output: ClassVar[str]
    sample: ClassVar[tuple[Any, Any]]
    overflow_hint: ClassVar[str] = ""
    width: int
    max_characters: int
    window_characters: int = WINDOW_CHARACTERS

    def __init__(self, engine: Any, options: Options) -> None:
        self.engine = engine
        self.options = options

    @property
    @abstractmethod
    def prompts(self) -> Mapping[str, str]:
        """The prompts that came with the model, by their names."""

    @property
    @abstractmethod
    def default_prompt_name(self) -> str | None:
        """Which of the prompts stands before every text."""

    @abstractmethod
    def read(self, items: Sequence[Any], prompt: str | None) -> Any:
        """Return *items*, each behind *prompt*, as the model's tokenizer reads them."""

    @abstractmethod
    def tokens(self, features: Any) -> np.ndarray | None:
        """Return how many tokens each item of *features* has; None where they do not say."""

    @abstractmethod
    def rows_of(self, features: Any, tokens: np.ndarray | None) -> Rows:
        """Yield the row of each item of *features*, with its place there, in any order."""

    def prompt(self, *names: str) -> str | None:
        """What to put before each text: the option, else what the model calls one of *names*."""
        prompts, name = self.prompts, self.options.prompt_name
        if name is not None and name not in prompts:
            raise OptionError(
                f'the model has no prompt "{name}"{suggestion(name, prompts)}\n'
                f"  its prompts: {', '.join(prompts) or 'none'}"
            )
        return self.options.prompt or self.own_prompt(*([name] if name else names))

    def own_prompt(self, *names: str) -> str | None:
        """The prompt that the model came with under one of *names*, else its default one."""
        prompts = self.prompts
        # The library adds empty ones for query and document to every model.
        found = [prompts.get(name) for name in names if name in prompts]
        found = found or [prompts.get(self.default_prompt_name or "")]
        return next(filter(None, found), None)

    def run(self, items: Sequence[Any], sizes: Sequence[int], prompt: str | None) -> Rows:
        """Yield the row of each item, `Measured`, the longest first; *sizes* are in characters."""
        for window, features in self._windows(items, sizes, prompt):
            for place, row in self.rows_of(features, self.tokens(features)):
                yield int(window[place]), row

    def counts(
        self, items: Sequence[Any], sizes: Sequence[int], prompt: str | None
    ) -> list[int] | None:
        """Return the tokens that `run` would read of each item."""
        found = [0] * len(items)
        for window, features in self._windows(items, sizes, prompt):
            tokens = self.tokens(features)
            if tokens is None:
                return None
            for index, count in zip(window.tolist(), tokens.tolist(), strict=True):
                found[index] = count
        return found

    def _windows(
        self, items: Sequence[Any], sizes: Sequence[int], prompt: str | None
    ) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield some thousand indexes at a time, with what the tokenizer makes of their items."""
        lengths = np.minimum(np.asarray(sizes, dtype=np.int64), self.max_characters)
        for window in packs(lengths, self.window_characters):
            yield window, self.read([items[i] for i in window], prompt)

    def measured(self, rows: np.ndarray, tokens: np.ndarray | None) -> list[Row]:
        """Return each of *rows* with its tokens, or the error of one that is no numbers."""
        counts = [None] * len(rows) if tokens is None else tokens.tolist()
        return [
            Measured(row, Usage(count, 0)) if math.isfinite(row.sum()) else self._not_finite()
            for row, count in zip(rows, counts, strict=True)
        ]

    def finish(self, rows: np.ndarray) -> np.ndarray:
        """Make of the model's *rows* what is handed out."""
        return rows

    def _not_finite(self) -> GenerationError:
        return GenerationError(f"the model's numbers overflow on this text{self.overflow_hint}")


def max_characters(max_tokens: float) -> int:
    """Return how much of a text is read at most: hardly a token is longer than 8 characters."""
    return int(min(8 * max_tokens, WINDOW_CHARACTERS))
