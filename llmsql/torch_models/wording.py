"""How a model is asked: its chat template, its tokens, its context, and what ends an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from llmsql.errors import BackendError, GenerationError
from llmsql.torch_models.room import Room, Truncate
from llmsql.types import Message, Roles, Sampling

_UNLIMITED = 1 << 30
_TURNS = Roles("User", "Assistant")
"""Without a template and without roles, turns must still be told apart."""


JUDGE = (
    "Query: {query}\n\nPassage: {passage}\n\n"
    "Does the passage answer the query? Answer with yes or no only."
)


class Asked(NamedTuple):
    """What a model is asked: the system prompt, the prompt, and what was said before.

    *answer* is how many tokens the answer may have.
    """

    system: str | None
    text: str
    history: tuple[Message, ...] = ()
    roles: Roles | None = None
    answer: int = 1


def judging(pair: tuple[str, str]) -> Asked:
    """What a model is asked of a query and a passage."""
    query, passage = pair
    return Asked(None, JUDGE.format(query=query, passage=passage))


class Wording:
    """A tokenizer with what the model's files say about prompts and answers."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        template: str | None = None,
        context: int | None = None,
        limit: int | None = None,
        truncate: Truncate = "none",
    ) -> None:
        self.tokenizer = tokenizer
        own = tokenizer.chat_template
        self.template = template or (own.get("default") if isinstance(own, dict) else own)
        known = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        own = known or min(tokenizer.model_max_length, _UNLIMITED)
        self.context = min(context or own, own)
        self.room = Room(self.context, limit, truncate)
        ends = model.generation_config.eos_token_id
        ends = tokenizer.eos_token_id if ends is None else ends
        self.ends = frozenset([ends] if isinstance(ends, int) else ends or ())
        self.special = dict(
            zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
        )

    def tokens(
        self, asked: Sequence[Asked | tuple[str | None, str]]
    ) -> list[list[int] | GenerationError]:
        """Return each (system prompt, prompt, …) in tokens, or why it cannot be asked."""
        prompts = [Asked(*one) for one in asked]
        texts = [self._worded(one) for one in prompts]
        try:
            found = self._encoded(texts)
        except (TypeError, ValueError):  # one of them; find out which
            found = [self._one(text) for text in texts]
        return [self._fitting(*pair) for pair in zip(prompts, found, strict=True)]

    def text(self, tokens: list[int]) -> str:
        """Return *tokens* as the user reads them."""
        decoded: str = self.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded

    def ending(self, sampling: Sampling) -> frozenset[int]:
        """Return the tokens that end an answer; a special token given as a stop is never text."""
        return self.ends | {self.special[stop] for stop in sampling.stop if stop in self.special}

    def plain(self, text: str) -> list[int]:
        """Return the tokens of *text* alone, as no prompt."""
        encoded: list[int] = self.tokenizer(text, verbose=False)["input_ids"]
        return encoded

    def verdict(self) -> tuple[list[int], list[int]]:
        """Return the tokens that begin yes, and those that begin no.

        Raises BackendError for a tokenizer that begins both alike.
        """
        yes, no = map(self._first_tokens, ("yes", "no"))
        if not (yes - no and no - yes):
            raise BackendError("this model's tokens do not tell yes from no: it cannot judge")
        return sorted(yes - no), sorted(no - yes)

    def _first_tokens(self, word: str) -> set[int]:
        """The first tokens of *word* in its usual spellings, as a next word."""
        spellings = {start + case for start in ("", " ") for case in (word, word.capitalize())}
        encoded = (self.tokenizer(s, add_special_tokens=False)["input_ids"] for s in spellings)
        return {tokens[0] for tokens in encoded if tokens}

    def rendered(self, messages: Sequence[Message]) -> str:
        """Return *messages* as the model's chat template writes them; raises BackendError."""
        if not self.template:
            raise BackendError(
                "this model has no chat template\n"
                "  deploy it with backend.chat_template='…', or ask it with user_role and its like"
            )
        from jinja2 import TemplateError

        try:
            return self._templated(messages)
        except TemplateError as error:
            raise BackendError(f"the model's chat template fails: {error}") from error

    def _worded(self, asked: Asked) -> str:
        if not self.template:
            return laid_out(asked)
        from jinja2 import TemplateError

        messages = [*asked.history, Message("user", asked.text)]
        if asked.system:
            try:
                return self._templated([Message("system", asked.system), *messages])
            except TemplateError:  # some templates know no system prompt and say so
                first = messages[0]
                messages[0] = Message(first.role, f"{asked.system}\n\n{first.content}")
        return self.rendered(messages)

    def _templated(self, messages: Sequence[Message]) -> str:
        rendered: str = self.tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in messages],
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=True,
        )
        return rendered

    def _encoded(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        # A template writes its special tokens itself.
        encoded: list[list[int]] = self.tokenizer(
            texts, add_special_tokens=not self.template, verbose=False
        )["input_ids"]
        return encoded

    def _one(self, text: str) -> list[int] | GenerationError:
        try:
            return self._encoded([text])[0]
        except (TypeError, ValueError) as error:
            return GenerationError(f"the tokenizer cannot take this text: {error}")

    def _fitting(
        self, asked: Asked, tokens: list[int] | GenerationError
    ) -> list[int] | GenerationError:
        if isinstance(tokens, GenerationError):
            return tokens
        if not tokens:
            start = self.tokenizer.bos_token_id
            start = next(iter(self.ends), None) if start is None else start
            if start is None:
                return GenerationError("the prompt is empty, and the model has no start token")
            return [start]
        if len(tokens) > self.room.wanted(asked.answer) and asked.history and self.room.may_cut:
            tokens = self._shortened(asked, tokens)
        return self.room.refusal(len(tokens), has_history=bool(asked.history)) or tokens

    def _shortened(self, asked: Asked, tokens: list[int]) -> list[int]:
        """The tokens of *asked*, which are *tokens*, without what was said first."""
        known = {0: tokens}

        def count(place: int) -> int:
            if place not in known:
                rest = asked._replace(history=asked.history[place:])
                (known[place],) = self._encoded([self._worded(rest)])
            return len(known[place])

        return known[self.room.start(asked.history, asked.answer, count)[0]]


def laid_out(asked: Asked) -> str:
    """Lay out what a model without a chat template is asked, each turn behind its role."""
    if asked.roles is None and not asked.history:
        return f"{asked.system}\n\n{asked.text}" if asked.system else asked.text
    roles = asked.roles or _TURNS
    names = {"user": roles.user, "assistant": roles.assistant, "system": roles.system}

    def start(role: str) -> str:
        name = names.get(role, role)
        return f"{name}:" if name else ""

    turns = [*asked.history, Message("user", asked.text)]
    said = [f"{start(turn.role)}{turn.content}" for turn in turns]
    return "\n".join([start("system"), asked.system or "", *said, start("assistant")])
