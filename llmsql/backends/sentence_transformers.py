"""Embeddings and relevance scores by sentence-transformers.

Runs the library's own modules, whatever they are, over texts sorted by length: padding is the whole
cost. Where a directory comes from and whether it is whole is `sources`' business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from llmsql import sources
from llmsql.backends import base
from llmsql.errors import BackendError, GenerationError, OptionError, suggestion
from llmsql.types import Kind, ModelSpec

# Texts are tokenised some thousands at a time, so that the first vectors need not wait for the last.
WINDOW_TEXTS = 4096
WINDOW_CHARACTERS = 1 << 22
# A thousand tokens for each core keep a layer in its cache: 512 and 2048 were as fast, 8192 a third
# slower. A GPU wants as many as it can get, and says when that is too many.
TOKENS_PER_CORE = 1024
TOKENS_PER_GPU = 65536

Item = TypeVar("Item", str, tuple[str, str])


@dataclass(frozen=True)
class Options:
    """What RUN command AS LLM accepts for this backend; *prompt* is put before each text."""

    normalize: bool = True
    dimensions: int | None = None
    max_length: int | None = None
    prompt: str | None = None
    prompt_name: str | None = None
    batch_tokens: int | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        for name in ("dimensions", "max_length", "batch_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} must be 1 or more, not {value}")


class Backend(base.Backend):
    """Models of sentence-transformers, and plain encoders and classifiers of transformers."""

    options = Options
    kinds = ("emb", "rerank")
    model_types = ("custom/bge", "custom/m3e", "custom/bge_rerank")
    extra = "sentence_transformers"
    modules = ("sentence_transformers", "torch")

    def kind_of(self, path: str, model_type: str) -> Kind:
        """Rerank for a cross-encoder, else what the files say."""
        return "rerank" if is_cross_encoder(path) else sources.kind_of(path)

    def load(self, spec: ModelSpec) -> base.Model:
        """Load the directory *spec.path*, as what its files say it is."""
        self.require()
        import sentence_transformers

        options: Options = spec.options or Options()
        is_cross = is_cross_encoder(spec.path)
        if is_cross and spec.kind != "rerank":
            raise BackendError(
                f'model "{spec.name}" is a cross-encoder: it scores pairs and makes no vectors\n'
                "  deploy it with kind='rerank'"
            )
        name = "CrossEncoder" if is_cross else "SentenceTransformer"
        make = getattr(sentence_transformers, name)
        device = _device(options)
        try:
            with _silence():
                engine = make(
                    spec.path,
                    device=device,
                    local_files_only=True,
                    trust_remote_code=options.trust_remote_code,
                    model_kwargs={"dtype": _dtype(options, device)},
                )
                cls = Scorer if is_cross else Similarity if spec.kind == "rerank" else Embedder
                return cls(engine.eval(), options)
        except OptionError:
            raise
        except Exception as error:  # whatever torch, safetensors or a model's own code may raise
            raise BackendError(
                f'model "{spec.name}" cannot be loaded from "{spec.path}": {_first_line(error)}\n'
                f"  it must be a directory that {name} of sentence-transformers loads"
            ) from error


class Model(base.Model):
    """One loaded model, and the way of a set of items through it."""

    output: ClassVar[str]
    sample: ClassVar[Sequence[Any]]

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
        # Else the tokens follow each other without padding, as of static embeddings.
        self.is_padded = mask is not None and tuple(mask.shape[:-1]) == (len(self.sample),)
        self.width = self.forward(features).shape[1]

    def unload(self) -> None:
        """Give the memory back, the GPU's as well."""
        self.engine = None
        _empty_cache()

    def prompt(self, *names: str) -> str | None:
        """What to put before each text: the option, else what the model has under one of *names*."""
        prompts: dict[str, str] = self.engine.prompts
        name = self.options.prompt_name
        if name is not None and name not in prompts:
            raise OptionError(
                f'the model has no prompt "{name}"{suggestion(name, prompts)}\n'
                f"  its prompts: {', '.join(prompts) or 'none'}"
            )
        if self.options.prompt is not None:
            return self.options.prompt
        wanted = (name, *names, self.engine.default_prompt_name)
        return next((prompts[n] for n in wanted if n in prompts), None) or None

    def run(self, items: Sequence[Any], sizes: Sequence[int], prompt: str | None) -> Rows:
        """Yield the row of each item, the longest first; *sizes* are in characters."""
        lengths = np.minimum(np.asarray(sizes, dtype=np.int64), self.max_characters)
        characters = WINDOW_CHARACTERS if self.is_padded else 4 * self.batch_tokens
        for window in packs(lengths, characters, WINDOW_TEXTS):
            features = self.engine.preprocess([items[i] for i in window], prompt=prompt)
            if self.is_padded:
                yield from self._sorted(features, window)
            else:
                yield from zip(window.tolist(), self.rows(features), strict=True)

    def _sorted(self, features: Mapping[str, Any], window: np.ndarray) -> Rows:
        """Run the texts of *window* by their length in tokens, as many at a time as fit."""
        tokens = np.maximum(features["attention_mask"].sum(dim=1).numpy(), 1)
        order = np.argsort(-tokens, kind="stable")
        start = 0
        while start < len(order):
            width = int(tokens[order[start]])
            chosen = order[start : start + max(1, self.batch_tokens // width)]
            indexes = window[chosen].tolist()
            try:
                rows = self.rows(_cut(features, chosen, width))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if len(chosen) > 1:
                    self.batch_tokens = width * len(chosen) // 2
                    _empty_cache()
                    continue
                rows = [GenerationError(f"{width} tokens do not fit into memory")]
            yield from zip(indexes, rows, strict=True)
            start += len(chosen)

    def rows(self, features: Mapping[str, Any]) -> list[np.ndarray | GenerationError]:
        """Run *features* and return one row for each item, float32."""
        rows = self.forward(features).cpu().numpy()
        whole = np.isfinite(rows).all(axis=1)
        return [row if ok else _not_finite() for row, ok in zip(rows, whole, strict=True)]

    def forward(self, features: Mapping[str, Any]) -> Any:
        """What the model makes of *features*, as float32 on its device."""
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


class Embedder(Model):
    """Texts to vectors."""

    output = "sentence_embedding"
    sample = ("a", "b c")

    def __init__(self, engine: Any, options: Options) -> None:
        super().__init__(engine, options)
        if options.dimensions and options.dimensions > self.width:
            raise OptionError(
                f"dimensions is {options.dimensions}, but the model has only {self.width}"
            )
        self.dimension = options.dimensions or self.width
        self.prompt()

    def embed(self, texts: Sequence[str]) -> base.Embedded:
        """Yield the vector of each text, the longest texts first."""
        return self.run(texts, [len(text) for text in texts], self.prompt())

    def finish(self, rows: Any) -> Any:
        """Keep the first `dimensions` numbers, and divide by the length of what is left."""
        import torch

        rows = rows[:, : self.options.dimensions]
        return torch.nn.functional.normalize(rows) if self.options.normalize else rows


class Similarity(Embedder):
    """An embedding model that ranks: the score is the cosine of query and passage.

    Each distinct text is embedded once, however many pairs it is in; queries and passages get the
    prompts that the model has for them.
    """

    note = "scores are cosine similarities: this is an embedding model, not a cross-encoder"

    def __init__(self, engine: Any, options: Options) -> None:
        super().__init__(engine, replace(options, normalize=True))

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> base.Scored:
        """Yield each score as soon as both vectors are there."""
        prompts = self.prompt("query"), self.passage_prompt
        texts_by_prompt: dict[str | None, dict[str, list[int]]] = {}
        for index, pair in enumerate(pairs):
            for prompt, text in zip(prompts, pair, strict=True):
                texts_by_prompt.setdefault(prompt, {}).setdefault(text, []).append(index)
        vectors: dict[tuple[str | None, str], np.ndarray | GenerationError] = {}
        ...
