"""A loaded model of sentence-transformers, and the way of a set of texts through it.

Owns order, batches and memory: padding is the whole cost, so texts run sorted by their length in
tokens. What a row of numbers means is `models`' business.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from llmsql.backends import base
from llmsql.backends.sentence_transformers.options import Options
from llmsql.errors import GenerationError, OptionError, suggestion
from llmsql.types import Measured, Usage

# Texts are tokenised some thousands at a time: the first vectors need not wait for the last.
WINDOW_TEXTS = 4096
WINDOW_CHARACTERS = 1 << 22
# A thousand tokens for each core keep a layer in its cache: 512 and 2048 were as fast, 8192 a third
# slower. A GPU wants as many as it can hold, and says when that is too many.
TOKENS_PER_CORE = 1024
TOKENS_PER_GPU = 65536

Row = Measured[np.ndarray] | GenerationError
Rows = Iterator[tuple[int, Row]]


class Model(base.Model):
    """One loaded model, and the way of a set of items through it."""

    output: ClassVar[str]
    sample: ClassVar[tuple[Any, Any]]

    def __init__(self, engine: Any, options: Options) -> None:
        import torch

        self.engine = engine
        self.options = options
        self.device = str(engine.device)
        if options.max_length:
            engine.max_seq_length = options.max_length
        # Hardly a token is longer than 8 characters, and what is cut off costs nothing.
        self.max_characters = int(min(8 * (engine.max_seq_length or math.inf), WINDOW_CHARACTERS))
        is_cpu = engine.device.type == "cpu"
        tokens = TOKENS_PER_CORE * torch.get_num_threads() if is_cpu else TOKENS_PER_GPU
        self.batch_tokens = options.batch_tokens or tokens
        features = engine.preprocess(list(self.sample))
        mask = features.get("attention_mask")
        # Else the tokens follow each other without padding, as those of static embeddings do.
        self.is_padded = mask is not None and tuple(mask.shape[:-1]) == (len(self.sample),)
        self.width = self.forward(features).shape[1]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, those that mark its ends too."""
        found: list[list[int]] = self.engine.tokenizer(list(texts), verbose=False)["input_ids"]
        return found

    def meta(self) -> Mapping[str, Any]:
        """Return what the model's files say."""
        config = getattr(self.engine[0], "config", None) or getattr(self.engine, "config", None)
        return {
            "max_model_len": int(self.engine.max_seq_length or -1),
            "architectures": list(getattr(config, "architectures", None) or ()),
            "embedding_mode": self.dimension is not None,
        }

    def unload(self) -> None:
        """Give the memory back, the GPU's as well."""
        self.engine = None
        _empty_cache()

    def prompt(self, *names: str) -> str | None:
        """What to put before each text: the option, else what the model calls one of *names*."""
        prompts, name = self.engine.prompts, self.options.prompt_name
        if name is not None and name not in prompts:
            raise OptionError(
                f'the model has no prompt "{name}"{suggestion(name, prompts)}\n'
                f"  its prompts: {', '.join(prompts) or 'none'}"
            )
        return self.options.prompt or self.own_prompt(*([name] if name else names))

    def own_prompt(self, *names: str) -> str | None:
        """The prompt that the model came with under one of *names*, else its default one."""
        prompts = self.engine.prompts
        # The library adds empty ones for query and document to every model.
        found = [prompts[name] for name in names if name in prompts]
        found = found or [prompts.get(self.engine.default_prompt_name)]
        return next(filter(None, found), None)

    def run(self, items: Sequence[Any], sizes: Sequence[int], prompt: str | None) -> Rows:
        """Yield the row of each item, `Measured`, the longest first; *sizes* are in characters."""
        for window, features in self._windows(items, sizes, prompt):
            tokens = self._tokens(features)
            if self.is_padded and tokens is not None:
                yield from self._sorted(features, tokens, window)
            else:
                yield from zip(window.tolist(), self.rows(features, tokens), strict=True)

    def counts(
        self, items: Sequence[Any], sizes: Sequence[int], prompt: str | None
    ) -> list[int] | None:
        """Return the tokens that `run` would read of each item."""
        found = [0] * len(items)
        for window, features in self._windows(items, sizes, prompt):
            tokens = self._tokens(features)
            if tokens is None:
                return None
            for index, count in zip(window.tolist(), tokens.tolist(), strict=True):
                found[index] = count
        return found

    def _windows(
        self, items: Sequence[Any], sizes: Sequence[int], prompt: str | None
    ) -> Iterator[tuple[np.ndarray, Mapping[str, Any]]]:
        """Yield some thousand indexes at a time, with what the tokenizer makes of their items."""
        lengths = np.minimum(np.asarray(sizes, dtype=np.int64), self.max_characters)
        characters = WINDOW_CHARACTERS if self.is_padded else 4 * self.batch_tokens
        for window in packs(lengths, characters):
            yield window, self.engine.preprocess([items[i] for i in window], prompt=prompt)

    def _tokens(self, features: Mapping[str, Any]) -> np.ndarray | None:
        """How many tokens each item has; None where *features* do not say where one begins."""
        if self.is_padded:
            return np.asarray(features["attention_mask"].sum(dim=1))
        if "offsets" not in features:
            return None
        return np.diff(np.append(features["offsets"], len(features["input_ids"])))

    def _sorted(self, features: Mapping[str, Any], tokens: np.ndarray, window: np.ndarray) -> Rows:
        """Run the items of *window* by their length in tokens, as many at a time as fit."""
        order = np.argsort(-tokens, kind="stable")
        start = 0
        while start < len(order):
            width = max(1, int(tokens[order[start]]))
            chosen = order[start : start + max(1, self.batch_tokens // width)]
            try:
                rows = self.rows(_cut(features, chosen, width), tokens[chosen])
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if len(chosen) > 1:
                    self.batch_tokens = width * len(chosen) // 2
                    _empty_cache()
                    continue
                rows = [GenerationError(f"a text of {width} tokens does not fit into memory")]
            yield from zip(window[chosen].tolist(), rows, strict=True)
            start += len(chosen)

    def rows(self, features: Mapping[str, Any], tokens: np.ndarray | None) -> list[Row]:
        """Run *features* and return the row of each item, which has so many *tokens*."""
        rows = self.forward(features).cpu().numpy()
        counts = [None] * len(rows) if tokens is None else tokens.tolist()
        return [
            Measured(row, Usage(count, 0)) if math.isfinite(row.sum()) else _not_finite()
            for row, count in zip(rows, counts, strict=True)
        ]

    def forward(self, features: Mapping[str, Any]) -> Any:
        """What the model makes of *features*, in float32, on its device."""
        import torch

        placed = {
            name: value.to(self.engine.device) if isinstance(value, torch.Tensor) else value
            for name, value in features.items()
        }
        with torch.inference_mode():
            output = self.engine(placed)[self.output].float()
            return self.finish(output.reshape(len(output), -1))

    def finish(self, rows: Any) -> Any:
        """Make of the model's *rows* what is handed out."""
        return rows


def packs(lengths: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Yield indexes in packs, the longest first; longest times count is within *budget*."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        count = budget // max(1, int(lengths[order[start]]))
        pack = order[start : start + min(max(1, count), WINDOW_TEXTS)]
        yield pack
        start += len(pack)


def is_out_of_memory(error: RuntimeError) -> bool:
    """True when a smaller batch might do; on the CPU torch has no class for it, only words."""
    import torch

    words = ("can't allocate memory", "not enough memory")
    is_gpu = isinstance(error, torch.OutOfMemoryError)
    return is_gpu or any(word in str(error) for word in words)


def _cut(features: Mapping[str, Any], rows: np.ndarray, width: int) -> dict[str, Any]:
    """The chosen *rows* of *features*, without the padding that none of them needs."""
    import torch

    mask = features["attention_mask"]
    is_left = bool((mask[:, 0] == 0).any())
    columns = slice(mask.shape[1] - width, None) if is_left else slice(width)
    chosen = torch.from_numpy(rows)
    return {
        name: value[chosen][:, columns]
        if isinstance(value, torch.Tensor) and value.shape == mask.shape
        else value
        for name, value in features.items()
    }


def _empty_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _not_finite() -> GenerationError:
    return GenerationError(
        "the model's numbers overflow on this text\n  deploy it with dtype='float32'"
    )
