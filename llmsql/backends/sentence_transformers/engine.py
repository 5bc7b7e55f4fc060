"""A loaded model of sentence-transformers, and the way of a window of texts through it.

Owns batches and memory: padding is the whole cost, so texts run sorted by their length in tokens.
What comes before and after is the business of `llmsql.encoders`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llmsql.backends import base
from llmsql.backends.sentence_transformers.options import Options
from llmsql.encoders import Encoder, Row, Rows, max_characters
from llmsql.errors import GenerationError

# Few tokens for each core keep a layer in its cache and the memory small: 768 to 2048 were as fast
# or 3 % faster, 8192 a third slower. A GPU wants as many as it holds, and says if it is too many.
TOKENS_PER_CORE = 512
TOKENS_PER_GPU = 65536
# Read at a time to be sorted: what the tokenizer makes of a text is 100 bytes and more a token.
WINDOW_BATCHES = 16
CHARACTERS_PER_TOKEN = 4


class Model(Encoder, base.Model):
    """One loaded model, and the way of a window of items through it."""

    overflow_hint = "\n  deploy it with dtype='float32'"

    def __init__(self, engine: Any, options: Options) -> None:
        import torch

        super().__init__(engine, options)
        self.device = str(engine.device)
        if options.max_length:
            engine.max_seq_length = options.max_length
        self.max_characters = max_characters(engine.max_seq_length or math.inf)
        is_cpu = engine.device.type == "cpu"
        tokens = TOKENS_PER_CORE * torch.get_num_threads() if is_cpu else TOKENS_PER_GPU
        self.batch_tokens = options.batch_tokens or tokens
        features = engine.preprocess(list(self.sample))
        mask = features.get("attention_mask")
        # Else the tokens follow each other without padding, as those of static embeddings do.
        self.is_padded = mask is not None and tuple(mask.shape[:-1]) == (len(self.sample),)
        batches = WINDOW_BATCHES if self.is_padded else 1
        self.window_characters = CHARACTERS_PER_TOKEN * batches * self.batch_tokens
        self.width = self._forward(features).shape[1]

    @property
    def prompts(self) -> Mapping[str, str]:
        """The prompts that came with the model, and the library's empty ones."""
        found: Mapping[str, str] = self.engine.prompts
        return found

    @property
    def default_prompt_name(self) -> str | None:
        """Which of the prompts stands before every text."""
        name: str | None = self.engine.default_prompt_name
        return name

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, those that mark its ends too."""
        found: list[list[int]] = self.engine.tokenizer(list(texts), verbose=False)["input_ids"]
        return found

    def meta(self) -> Mapping[str, Any]:
        """Return what the model's files say."""
        config = getattr(self.engine[0], "config", None) or getattr(self.engine, "config", None)
        most = self.engine.max_seq_length  # a static embedding reads any number
        return {
            "max_model_len": int(most) if most and most < math.inf else -1,
            "architectures": list(getattr(config, "architectures", None) or ()),
            "embedding_mode": self.dimension is not None,
        }

    def unload(self) -> None:
        """Give the memory back, the GPU's as well."""
        from llmsql.torch_models import placement

        self.engine = None
        placement.release()

    def read(self, items: Sequence[Any], prompt: str | None) -> Mapping[str, Any]:
        """Return *items* as tensors."""
        found: Mapping[str, Any] = self.engine.preprocess(items, prompt=prompt)
        return found

    def tokens(self, features: Mapping[str, Any]) -> np.ndarray | None:
        """How many tokens each item has; None where *features* do not say where one begins."""
        if self.is_padded:
            return np.asarray(features["attention_mask"].sum(dim=1))
        if "offsets" not in features:
            return None
        return np.diff(np.append(features["offsets"], len(features["input_ids"])))

    def rows_of(self, features: Mapping[str, Any], tokens: np.ndarray | None) -> Rows:
        """Yield the row of each item of *features*."""
        if self.is_padded and tokens is not None:
            yield from self._sorted(features, tokens)
        else:
            yield from enumerate(self._rows(features, tokens))

    def _sorted(self, features: Mapping[str, Any], tokens: np.ndarray) -> Rows:
        """Run the items by their length in tokens, as many at a time as fit."""
        from llmsql.torch_models import placement

        order = np.argsort(-tokens, kind="stable")
        start = 0
        while start < len(order):
            width = max(1, int(tokens[order[start]]))
            chosen = order[start : start + max(1, self.batch_tokens // width)]
            try:
                rows = self._rows(_cut(features, chosen, width), tokens[chosen])
            except (RuntimeError, MemoryError) as error:
                if not placement.is_out_of_memory(error):
                    raise
                if len(chosen) > 1 or placement.goes_without_onednn(error):
                    self.batch_tokens = max(1, width * len(chosen) // 2)
                    placement.release(error)
                    continue
                rows = [GenerationError(f"a text of {width} tokens does not fit into memory")]
            yield from zip(chosen.tolist(), rows, strict=True)
            start += len(chosen)
            if self.engine.device.type == "cpu":
                placement.trim()

    def _rows(self, features: Mapping[str, Any], tokens: np.ndarray | None) -> list[Row]:
        """Run *features* and return the row of each item, which has so many *tokens*."""
        return self.measured(self.finish(self._forward(features)), tokens)

    def _forward(self, features: Mapping[str, Any]) -> np.ndarray:
        """What the model makes of *features*, in float32."""
        import torch

        placed = {
            name: value.to(self.engine.device) if isinstance(value, torch.Tensor) else value
            for name, value in features.items()
        }
        with torch.inference_mode():
            output = self.engine(placed)[self.output].float()
            rows: np.ndarray = output.reshape(len(output), -1).cpu().numpy()
        return rows


def _cut(features: Mapping[str, Any], rows: np.ndarray, width: int) -> dict[str, Any]:
    """The chosen *rows* of *features*, without the padding that none of them needs."""
    import torch

    mask = features["attention_mask"]
    # A row of no tokens begins with padding on either side.
    is_left = bool(((mask[:, 0] == 0) & (mask[:, -1] == 1)).any())
    columns = slice(mask.shape[1] - width, None) if is_left else slice(width)
    chosen = torch.from_numpy(rows)
    return {
        name: value[chosen][:, columns]
        if isinstance(value, torch.Tensor) and value.shape == mask.shape
        else value
        for name, value in features.items()
    }
