"""A loaded encoder in onnxruntime, and the way of a window of texts through it.

Owns batches and threads. What comes before and after is the business of `llmsql.encoders`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from llmsql.backends import base
from llmsql.backends.onnxruntime.network import Network
from llmsql.backends.onnxruntime.options import Options
from llmsql.encoders import Encoder, Row, Rows, max_characters, packs
from llmsql.errors import GenerationError, OptionError, first_line
from llmsql.process import own_cores

# From 128 to 384 tokens a batch took the same time for a token, 512 a little more, 4096 twice as
# much: what passes from layer to layer stays in a core's cache.
BATCH_TOKENS = 256
# Long texts need memory by the square of their length, so that fewer run side by side.
TOKENS_AT_ONCE = 16384


class Model(Encoder, base.Model):
    """One open network, and the way of a window of items through it."""

    engine: Network
    options: Options

    def __init__(self, engine: Network, options: Options) -> None:
        super().__init__(engine, options)
        self.batch_tokens = options.batch_tokens or BATCH_TOKENS
        self.threads = options.threads or len(own_cores())
        self.max_tokens = options.max_length or engine.description.max_tokens
        self.max_characters = max_characters(self.max_tokens or float("inf"))
        self._cut(engine.tokenizer)
        self._pool = ThreadPoolExecutor(self.threads, "llmsql-onnxruntime")
        self.width = engine.run(self.read(list(self.sample), None)).shape[1]

    def _cut(self, tokenizer: Any) -> None:
        around = tokenizer.num_special_tokens_to_add(self.engine.description.is_cross)
        if self.max_tokens and self.max_tokens <= around:
            raise OptionError(
                f"max_length is {self.max_tokens}, but the model puts {around} tokens of its own "
                "around a text"
            )
        if self.max_tokens:
            tokenizer.enable_truncation(self.max_tokens)
        else:
            tokenizer.no_truncation()

    @property
    def prompts(self) -> Mapping[str, str]:
        """The prompts that came with the model."""
        return self.engine.description.prompts

    @property
    def default_prompt_name(self) -> str | None:
        """Which of the prompts stands before every text."""
        return self.engine.description.default_prompt_name

    def read(self, items: Sequence[Any], prompt: str | None) -> list[Any]:
        """Return the encodings of *items*, which are texts or pairs."""
        if prompt:
            items = [
                prompt + item if isinstance(item, str) else (prompt + item[0], item[1])
                for item in items
            ]
        found: list[Any] = self.engine.tokenizer.encode_batch(items)
        return found

    def tokens(self, features: list[Any]) -> np.ndarray:
        """How many tokens each encoding has."""
        return np.fromiter(map(len, features), dtype=np.int64, count=len(features))

    def rows_of(self, features: list[Any], tokens: np.ndarray | None) -> Rows:
        """Yield the row of each encoding, the longest first, batches side by side."""
        assert tokens is not None
        batches = packs(tokens, self.batch_tokens)
        running: deque[tuple[np.ndarray, Future[list[Row]]]] = deque()
        try:
            while True:
                for chosen in islice(batches, self._room(running, tokens)):
                    batch = [features[at] for at in chosen]
                    running.append((chosen, self._pool.submit(self._rows, batch)))
                if not running:
                    return
                chosen, rows = running.popleft()
                yield from zip(chosen.tolist(), rows.result(), strict=True)
        finally:
            for _, rows in running:
                rows.cancel()

    def _room(self, running: deque[Any], tokens: np.ndarray) -> int:
        """How many batches may be begun beside those *running*, the first of which is longest."""
        longest = int(tokens[running[0][0]].max() if running else tokens.max(initial=1))
        width = max(self.batch_tokens, longest)
        most = max(1, min(2 * self.threads, TOKENS_AT_ONCE // width))
        return max(0, most - len(running))

    def _rows(self, batch: Sequence[Any]) -> list[Row]:
        """Return the row of each of *batch*; what breaks it is found by halving."""
        try:
            rows = self.finish(self.engine.run(batch))
        except Exception as error:  # onnxruntime's exceptions have no class in common
            if len(batch) == 1:
                return [GenerationError(f"a text of {len(batch[0])} tokens: {first_line(error)}")]
            half = len(batch) // 2
            return self._rows(batch[:half]) + self._rows(batch[half:])
        return self.measured(rows, self.tokens(list(batch)))

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, those that mark its ends too."""
        return [encoding.ids for encoding in self.read(list(texts), None)]

    def meta(self) -> Mapping[str, Any]:
        """Return what the model's files say."""
        return {
            "max_model_len": self.max_tokens or -1,
            "architectures": list(self.engine.description.about.get("architectures") or ()),
            "embedding_mode": self.dimension is not None,
        }

    def unload(self) -> None:
        """Give the memory back, and end the threads."""
        self._pool.shutdown(cancel_futures=True)
        del self.engine
