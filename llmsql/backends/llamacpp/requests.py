"""Prompts as requests, pieces of an answer as completions, refusals as errors."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from llmsql import types
from llmsql.backends.llamacpp.options import Sampling
from llmsql.errors import GenerationError
from llmsql.torch_models.room import too_long
from llmsql.types import Completion, Message, Prompt, Usage

_TOO_LONG = re.compile(r"\((\d+) tokens\).*?\(.*?(\d+)(?: tokens)?\)")
_JSON_BEGINS = '{["-0123456789tfn'
_RANDOM = 0xFFFFFFFF  # llama.cpp reads this seed as "any"


def messages(prompt: Prompt, system: str | None) -> list[dict[str, str]]:
    """Return what *prompt* says, as a chat template takes it."""
    said = [*prompt.history, Message("user", prompt.text)]
    system = prompt.sampling.system or system
    if system:
        said.insert(0, Message("system", system))
    return [{"role": turn.role, "content": turn.content} for turn in said]


def sampling(given: types.Sampling, cuts: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return how an answer is drawn, every default of llama.cpp's own replaced by ours."""
    wanted = given if isinstance(given, Sampling) else Sampling(**vars(given))
    body: dict[str, Any] = {
        "max_tokens": wanted.max_tokens,
        "temperature": wanted.temperature,
        "top_p": wanted.top_p,
        "top_k": wanted.top_k,
        "min_p": wanted.min_p,
        "typical_p": wanted.typical_p,
        "repeat_penalty": wanted.repetition_penalty,
        "repeat_last_n": wanted.repeat_last_n,
        "frequency_penalty": wanted.frequency_penalty,
        "presence_penalty": wanted.presence_penalty,
        "mirostat": wanted.mirostat_mode,
        "mirostat_tau": wanted.mirostat_tau,
        "mirostat_eta": wanted.mirostat_eta,
        "stop": [*wanted.stop, *cuts],
    }
    if wanted.seed is not None:
        body["seed"] = wanted.seed % _RANDOM
    if wanted.grammar:
        body["grammar"] = wanted.grammar
    if wanted.json_schema:
        body["grammar"] = _grammar(wanted.json_schema)
    return body


@lru_cache(maxsize=64)
def _grammar(schema: str) -> str:
    """A JSON schema as a grammar; ValueError where it cannot be followed."""
    import xllamacpp

    # Given as json_schema, llama.cpp ignores it where answers are not parsed (seen in b11549).
    return str(xllamacpp.json_schema_to_grammar(json.loads(schema)))


def kept(answer: Completion, given: types.Sampling) -> Completion | GenerationError:
    """Return *answer*, or an error where it is no JSON though a schema was given.

    A schema that llama.cpp cannot follow it ignores (seen in b11549).
    """
    if getattr(given, "json_schema", None) is None:
        return answer
    is_json = answer.text.lstrip()[:1] in _JSON_BEGINS
    if answer.finish_reason == "stop":
        try:
            json.loads(answer.text)
        except ValueError:
            is_json = False
    if is_json:
        return answer
    return GenerationError(
        f"the answer does not keep to json_schema: {answer.text[:80]!r}\n"
        "  llama.cpp cannot follow every schema: give a simpler one"
    )


class Pieces:
    """An answer that arrives piece by piece; `take` is what llama.cpp calls with each."""

    def __init__(
        self, is_stopped: Callable[[], bool], timeout: float | None, *, may_cut: bool = False
    ) -> None:
        self.is_stopped = is_stopped
        self.may_cut = may_cut
        self.timeout = timeout
        self.started = time.perf_counter()
        self.began: float | None = None
        self.text: list[str] = []
        self.finish = ""
        self.usage = Usage()
        self.error: GenerationError | None = None

    @property
    def seconds(self) -> float:
        """How long ago it was asked for."""
        return time.perf_counter() - self.started

    def take(self, piece: dict[str, Any]) -> bool:
        """Note *piece*; returns True where nothing more is wanted."""
        if "error" in piece:
            self.error = refusal(piece["error"], partial(too_long, may_cut=self.may_cut))
            return True
        for choice in piece.get("choices") or ():
            self.finish = choice.get("finish_reason") or self.finish
            text = choice["text"] if "text" in choice else choice["delta"].get("content")
            if text:
                self.began = self.began or self.seconds
                self.text.append(text)
        if used := piece.get("usage"):
            details = used.get("prompt_tokens_details") or {}
            self.usage = Usage(
                used["prompt_tokens"], used["completion_tokens"], details.get("cached_tokens", 0)
            )
        return self.is_stopped() or self._is_late()

    def completion(self) -> Completion | GenerationError:
        """Return the whole answer, or why there is none."""
        if self.error is not None:
            return self.error
        if not self.finish:
            return GenerationError("llama.cpp broke off the answer")
        reason = "length" if self.finish == "length" else "stop"
        return Completion(
            "".join(self.text),
            reason,  # type: ignore[arg-type]  # one of the two
            self.usage,
            seconds=self.seconds,
            first_token_seconds=self.began,
        )

    def _is_late(self) -> bool:
        if self.timeout is None or self.finish or self.seconds <= self.timeout:
            return False
        self.error = GenerationError(f"no answer within {self.timeout:g} seconds")
        return True


def refusal(
    error: dict[str, Any], too_long: Callable[[int, int], GenerationError]
) -> GenerationError:
    """Return what llama.cpp says of one input; *too_long* words that it has too many tokens."""
    message = str(error.get("message"))
    found = _TOO_LONG.search(message)
    if not found:
        return GenerationError(f"llama.cpp refuses: {message}")
    return too_long(int(found[1]), int(found[2]))
