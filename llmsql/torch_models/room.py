"""How many tokens a prompt may have, and what is left out of a conversation that has more.

One rule for every backend that knows its model's context. How tokens are counted is the caller's
business; no torch is needed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from llmsql.errors import GenerationError
from llmsql.types import Message

Truncate = Literal["none", "oldest"]


@dataclass(frozen=True)
class Room:
    """
    What prompt and answer share: *context* tokens, of which a prompt may have *limit*.

    With *truncate* "oldest" a conversation gives up what was said first until its answer fits as
    well; with a *limit*, until it keeps to that. A prompt with nothing left to give up may take
    all but one token of the context.
    """

    context: int
    limit: int | None = None
    truncate: Truncate = "none"

    @property
    def may_cut(self) -> bool:
        """True when a conversation that is too long loses its beginning."""
        return self.limit is not None or self.truncate == "oldest"

    @property
    def most(self) -> int:
        """The most tokens that a prompt may have."""
        return min(self.limit or self.context, self.context - 1)

    def wanted(self, answer: int) -> int:
        """The most tokens of a conversation before some are left out; *answer* is max_tokens."""
        if self.truncate != "oldest":
            return self.most
        return max(0, min(self.most, self.context - answer))

    def start(
        self, history: Sequence[Message], answer: int, count: Callable[[int], int]
    ) -> tuple[int, int]:
        """
        Return where in *history* the prompt is to begin, and how many tokens it has then.

        *count* tells the tokens of a prompt that begins at a place, and is asked for few of them.
        An answer is left out with its question.
        """
        size = count(0)
        if size <= self.wanted(answer) or not (self.may_cut and history):
            return 0, size
        places = [at for at in range(1, len(history)) if history[at].role != "assistant"]
        places.append(len(history))
        wanted = self.wanted(answer)
        found = bisect_left(places, True, key=lambda at: count(at) <= wanted)
        place = places[min(found, len(places) - 1)]
        return place, count(place)

    def refusal(self, tokens: int, *, has_history: bool = False) -> GenerationError | None:
        """Return the error of a prompt of *tokens* tokens, None where it fits."""
        if tokens <= self.most:
            return None
        return too_long(tokens, self.most + 1, may_cut=has_history and not self.may_cut)


def too_long(tokens: int, context: int, *, may_cut: bool = False) -> GenerationError:
    """Return the error of a prompt of *tokens* tokens where fewer than *context* are taken.

    *may_cut* where leaving out what was said first could help.
    """
    advice = "set truncate='oldest' to leave out what was said first" if may_cut else (
        "shorten the text"
    )  # fmt: skip
    return GenerationError(
        f"the prompt has {tokens} tokens, the model takes fewer than {context}\n"
        f"  {advice}, or deploy a model with a longer context"
    )
