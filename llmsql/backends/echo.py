"""Answer with the question: a deterministic model of every kind, without a library.

For tests, for trying a script before paying for a real model, and for Kuwa's debugging executors
(spec K03, `debug`, and K04, `dummy`).
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from llmsql.backends import base
from llmsql.errors import BackendError, GenerationError, OptionError
from llmsql.types import Completion, Kind, Measured, Message, ModelSpec, Prompt, Usage

FIXED_TEXT = "This is a fixed answer.\n<<<WARNING>>>\nNo model was asked.\n<<</WARNING>>>"

Item = TypeVar("Item")


@dataclass(frozen=True)
class Options:
    """
    What RUN command AS LLM accepts for this backend.

    *journal* is a file that each input is written to, one a line, before it is answered: it counts
    the calls of several processes.
    """

    delay: float = 0.0
    dimension: int = 8
    fail_on: str | None = None
    break_on: str | None = None
    fail_to_load: bool = False
    die_on: str | None = None
    journal: str | None = None

    def __post_init__(self) -> None:
        if self.delay < 0:
            raise OptionError(f"delay must be 0 or more, not {self.delay}")
        if not 1 <= self.dimension <= 65_536:
            raise OptionError(f"dimension must be 1 to 65536, not {self.dimension}")


class Backend(base.Backend):
    """The model that needs nothing."""

    options = Options
    kinds = ("chat", "emb", "rerank")
    model_types = ("debug", "dummy", "echo")
    needs_source = False
    paced = frozenset({"delay", "fail_on", "break_on", "die_on", "fail_to_load", "journal"})

    def load(self, spec: ModelSpec) -> base.Model:
        """Return the model at once, or fail when told to (`fail_to_load`)."""
        options: Options = spec.options or Options()
        if options.fail_to_load:
            raise BackendError(f'model "{spec.name}" was told to fail to load')
        if options.die_on and spec.replicas == 1:
            raise BackendError(
                f'model "{spec.name}" was told to die on "{options.die_on}", and would take this '
                "process along\n  with maxConcurrency='2' it has processes of its own"
            )
        return Model(spec.kind, options, is_fixed=spec.model_type == "dummy")


class Model(base.Model):
    """Echoes prompts, hashes texts into vectors, counts the words two texts share.

    `delay` seconds pass before each answer. A row containing `fail_on` fails alone; one containing
    `break_on` raises in the middle of the batch, as a broken library would, and one containing
    `die_on` kills the replica's process, as the system does where memory runs out.
    """

    def __init__(self, kind: Kind, options: Options, *, is_fixed: bool = False) -> None:
        self.options = options
        self.is_fixed = is_fixed
        self.dimension = options.dimension if kind == "emb" else None

    def generate(self, prompts: Sequence[Prompt]) -> base.Answered:
        """Yield each prompt back behind all that was said before, cut to max_tokens words."""
        return self._each(prompts, lambda prompt: prompt.text, self._answer)

    def embed(self, texts: Sequence[str]) -> base.Embedded:
        """Yield a unit vector that only depends on the text."""
        return self._each(texts, str, lambda text: _measured(self._vector(text), text))

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> base.Scored:
        """Yield the share of the query's words that the passage has."""
        return self._each(pairs, " ".join, lambda pair: _measured(_overlap(pair), *pair))

    def count_tokens(self, inputs: Sequence[Any]) -> list[int]:
        """Return the words of each input."""
        return [_words(*_said(one)) for one in inputs]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return a number for each word, the same for the same word."""
        return [[zlib.crc32(word.encode()) % 50_000 for word in text.split()] for text in texts]

    def apply_chat_template(self, messages: Sequence[Message]) -> str:
        """Return a line for each turn."""
        turns = [f"{message.role}: {message.content}\n" for message in messages]
        return "".join([*turns, "assistant: "])

    def meta(self) -> Mapping[str, Any]:
        """Return what an echo has to say."""
        return {"architectures": ["Echo"], "support_chat_template": True}

    def _each(
        self, items: Sequence[Item], text: Callable[[Item], str], answer: Callable[[Item], Any]
    ) -> Iterator[tuple[int, Any]]:
        for index, item in enumerate(items):
            if self.options.journal:
                with open(self.options.journal, "a", encoding="utf-8") as journal:
                    journal.write(json.dumps(text(item)) + "\n")
            if self.options.delay:
                time.sleep(self.options.delay)
            if self.options.die_on and self.options.die_on in text(item):
                os.kill(os.getpid(), signal.SIGKILL)
            if self.options.break_on and self.options.break_on in text(item):
                raise RuntimeError(f"broken by {self.options.break_on!r}")
            if self.options.fail_on and self.options.fail_on in text(item):
                yield index, GenerationError(f"told to fail on {self.options.fail_on!r}")
            else:
                yield index, answer(item)

    def _answer(self, prompt: Prompt) -> Completion:
        said = _said(prompt)
        text = FIXED_TEXT if self.is_fixed else "".join(said)
        for stop in prompt.sampling.stop:
            text = text.split(stop, 1)[0]
        words = text.split(" ")
        kept = words[: prompt.sampling.max_tokens]
        usage = Usage(input_tokens=_words(*said), output_tokens=len(kept))
        return Completion(" ".join(kept), "stop" if kept == words else "length", usage)

    def _vector(self, text: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
        vector = np.random.default_rng(seed).standard_normal(self.options.dimension)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def _overlap(pair: tuple[str, str]) -> float:
    query, passage = (set(text.lower().split()) for text in pair)
    return len(query & passage) / len(query) if query else 0.0


def _said(given: Any) -> Sequence[str]:
    """The texts of a prompt, a pair, or a text."""
    if isinstance(given, Prompt):
        return [*(message.content for message in given.history), given.text]
    return [given] if isinstance(given, str) else given


def _words(*texts: str) -> int:
    return sum(len(text.split()) for text in texts)


def _measured(value: Any, *read: str) -> Measured[Any]:
    return Measured(value, Usage(input_tokens=_words(*read), output_tokens=0))
