"""How a model is asked: its chat template, its tokens, its context, and what ends an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmsql.errors import BackendError, GenerationError
from llmsql.types import Sampling

_UNLIMITED = 1 << 30


class Wording:
    """A tokenizer with what the model's files say about prompts and answers."""

    def __init__(
        self, model: Any, tokenizer: Any, *, template: str | None = None, context: int | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template or tokenizer.chat_template
        known = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        own = known or min(tokenizer.model_max_length, _UNLIMITED)
        self.context = min(context or own, own)
        ends = model.generation_config.eos_token_id
        ends = tokenizer.eos_token_id if ends is None else ends
        self.ends = frozenset([ends] if isinstance(ends, int) else ends or ())
        self.special = dict(
            zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
        )

    def tokens(self, asked: Sequence[tuple[str | None, str]]) -> list[list[int] | GenerationError]:
        """Return each (system prompt, prompt) in tokens, or why it cannot be asked."""
        texts = [self._worded(system, text) for system, text in asked]
        try:
            found = self._encoded(texts)
        except (TypeError, ValueError):  # one of them; find out which
            found = [self._one(text) for text in texts]
        return [self._fitting(tokens) for tokens in found]

    def text(self, tokens: list[int]) -> str:
        """Return *tokens* as the user reads them."""
        decoded: str = self.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded

    def ending(self, sampling: Sampling) -> frozenset[int]:
        """Return the tokens that end an answer; a special token given as a stop is never text."""
        return self.ends | {self.special[stop] for stop in sampling.stop if stop in self.special}

    def word(self, word: str) -> list[int]:
        """Return the first tokens of *word* in its usual spellings, as a next word."""
        spellings = {start + case for start in ("", " ") for case in (word, word.capitalize())}
        encoded = (self.tokenizer(s, add_special_tokens=False)["input_ids"] for s in spellings)
        return sorted({tokens[0] for tokens in encoded if tokens})

    def _worded(self, system: str | None, text: str) -> str:
        if not self.template:
            return f"{system}\n\n{text}" if system else text
        from jinja2 import TemplateError

        asked = [{"role": "user", "content": text}]
        if system:
            try:
                return self._templated([{"role": "system", "content": system}, *asked])
            except TemplateError:  # some templates know no system prompt and say so
                asked[0]["content"] = f"{system}\n\n{text}"
        try:
            return self._templated(asked)
        except TemplateError as error:
            raise BackendError(f"the model's chat template fails: {error}") from error

    def _templated(self, messages: list[dict[str, str]]) -> str:
        rendered: str = self.tokenizer.apply_chat_template(
            messages, chat_template=self.template, tokenize=False, add_generation_prompt=True
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

    def _fitting(self, tokens: list[int] | GenerationError) -> list[int] | GenerationError:
        if isinstance(tokens, GenerationError):
            return tokens
        if not tokens:
            start = self.tokenizer.bos_token_id
            start = next(iter(self.ends), None) if start is None else start
            if start is None:
                return GenerationError("the prompt is empty, and the model has no start token")
            return [start]
        if len(tokens) >= self.context:
            return GenerationError(
                f"the prompt has {len(tokens)} tokens, the model takes fewer than {self.context}\n"
                "  shorten the text, or deploy a model with a longer context"
            )
        return tokens
