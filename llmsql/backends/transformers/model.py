"""A loaded causal model: it answers, ranks, embeds, and tells its tokens."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from llmsql import types
from llmsql.backends import base
from llmsql.errors import BackendError, GenerationError
from llmsql.types import Completion, Measured, Message, Prompt, Usage

if TYPE_CHECKING:
    from llmsql.torch_models.decoding import Decoder
    from llmsql.torch_models.rows import Row
    from llmsql.torch_models.wording import Asked, Wording

EMBEDDING_TOKENS = 2048


class Model(base.Model):
    """
    A causal language model.

    `generate` decodes. `rerank` asks the model whether the passage answers the query, and returns
    the log-odds of yes against no as its next word: 0 is undecided, and no decoding is needed.
    `embed` pools what it has read of a text.
    """

    def __init__(
        self,
        decoder: Decoder,
        wording: Wording,
        system: str | None = None,
        cuts: tuple[str, ...] = (),
    ) -> None:
        self.decoder: Decoder | None = decoder
        self.wording = wording
        self.system = system
        self.cuts = cuts
        self.device = str(decoder.model.device)

    @property
    def being_written(self) -> int:
        """How many tokens the rows have that are side by side now."""
        return 0 if self.decoder is None else self.decoder.being_written

    def generate(self, prompts: Sequence[Prompt]) -> base.Answered:
        """Yield the completion of each prompt, the first to end first."""
        started = time.perf_counter()
        samplings = [self._cut(prompt.sampling) for prompt in prompts]
        rows = yield from self._rows([self._asked(prompt) for prompt in prompts], samplings)
        for row in self._ready().run(rows):
            usage = Usage(len(row.prompt), len(row.written), row.cached)
            yield (
                row.index,
                row.error
                or Completion(
                    row.text,
                    row.finish or "stop",
                    usage,
                    seconds=time.perf_counter() - started,
                    first_token_seconds=(row.began or started) - started,
                ),
            )

    def embed(self, texts: Sequence[str]) -> base.Embedded:
        """Yield the vector of each text, the longest texts first."""
        from llmsql.torch_models import pooling

        decoder = self._ready()
        tokens = [self._pooled(text) for text in texts]
        found = pooling.vectors(
            decoder.model,
            tokens,
            step_tokens=max(decoder.step_tokens, EMBEDDING_TOKENS),
            is_padded=decoder.is_attention,
        )
        for index, vector in found:
            if isinstance(vector, GenerationError):
                yield index, vector
            else:
                yield index, Measured(vector, Usage(len(tokens[index]), 0))

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> base.Scored:
        """Yield the log-odds of yes against no for each (query, passage)."""
        from llmsql.torch_models.wording import judging

        asked = [judging(pair) for pair in pairs]
        rows = yield from self._rows(asked, [types.Sampling(max_tokens=1)] * len(pairs))
        yes, no = self.wording.verdict()
        judge = partial(_odds, yes=yes, no=no)
        for row, odds in self._ready().score(rows, judge, [*yes, *no]):
            if odds is None or math.isnan(odds):
                yield row.index, row.error or GenerationError("the passage was not scored")
            else:
                yield row.index, Measured(odds, Usage(len(row.prompt), 0, row.cached))

    def count_tokens(self, inputs: Sequence[Any]) -> list[int]:
        """Return the tokens of each input: a prompt as the template writes it, a text or a pair."""
        if inputs and isinstance(inputs[0], str):
            return [len(self._pooled(text)) for text in inputs]
        from llmsql.torch_models.wording import judging

        asked = [self._asked(one) if isinstance(one, Prompt) else judging(one) for one in inputs]
        found = self.wording.tokens(asked)
        return [0 if isinstance(tokens, GenerationError) else len(tokens) for tokens in found]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text."""
        return [self.wording.plain(text) for text in texts]

    def apply_chat_template(self, messages: Sequence[Message]) -> str:
        """Return *messages* as the model reads them."""
        return self.wording.rendered(messages)

    def meta(self) -> Mapping[str, Any]:
        """Return what the model's files say."""
        engine = self._ready().model
        return {
            "max_model_len": self.wording.context,
            "architectures": list(engine.config.architectures or [type(engine).__name__]),
            "support_chat_template": bool(self.wording.template),
            "message_format": bool(self.wording.template),
            "dtype": str(engine.dtype).removeprefix("torch."),
        }

    def unload(self) -> None:
        """Free the weights and what was cached of prompts."""
        from llmsql.torch_models import placement

        self.decoder = None
        placement.release()

    def _asked(self, prompt: Prompt) -> Asked:
        from llmsql.torch_models.wording import Asked

        system = prompt.sampling.system or self.system
        answer = prompt.sampling.max_tokens
        return Asked(system, prompt.text, prompt.history, prompt.roles, answer)

    def _pooled(self, text: str) -> list[int]:
        """The tokens that are read of *text* for its vector."""
        return (self.wording.plain(text) or [0])[: self.wording.context]

    def _cut(self, sampling: types.Sampling) -> types.Sampling:
        """*sampling* with the stops that belong to the chat format, whatever a call's own are."""
        return replace(sampling, stop=sampling.stop + self.cuts) if self.cuts else sampling

    def _ready(self) -> Decoder:
        if self.decoder is None:
            raise BackendError("this model was unloaded")
        return self.decoder

    def _rows(
        self, asked: list[Asked], samplings: list[types.Sampling]
    ) -> Generator[tuple[int, GenerationError], None, list[Row]]:
        """Yield the rows that cannot be asked, and return the others."""
        from llmsql.torch_models.rows import Row

        rows: list[Row] = []
        for index, tokens in enumerate(self.wording.tokens(asked)):
            if isinstance(tokens, GenerationError):
                yield index, tokens
                continue
            sampling = samplings[index]
            limit = min(sampling.max_tokens, self.wording.context - len(tokens))
            ends = self.wording.ending(sampling).union(getattr(sampling, "stop_token_ids", ()))
            rows.append(Row(index, tokens, sampling, limit, ends, self.wording.text))
        return rows


def _odds(scores: Any, yes: Sequence[int], no: Sequence[int]) -> Any:
    """The log-odds of the tokens *yes* against *no*, of *scores* of shape (rows, vocabulary)."""
    return scores[:, yes].logsumexp(1) - scores[:, no].logsumexp(1)
