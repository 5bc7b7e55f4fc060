"""What tests of encoders share: rows in order, and a small model that somebody else loads too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from llmsql import sources
from llmsql.backends import base

from .conftest import values


def matrix(model: base.Model, texts: list[str]) -> np.ndarray:
    """The vectors in the order of *texts*; every index comes once."""
    vectors = values(found := list(model.embed(texts)))
    assert len(found) == len(vectors) == len(texts)
    return np.stack([vectors[i] for i in range(len(texts))])


def save_bert(place: Path, cls: str, **config: Any) -> Path:
    """Save a small random BERT at *place* as the class *cls* of transformers; return *place*."""
    import torch
    import transformers

    torch.manual_seed(7)
    # The usual spread of 0.02 leaves so small a model with nearly one answer for all texts.
    small = {"hidden_size": 32, "intermediate_size": 64, "initializer_range": 0.5}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2}
    made = transformers.BertConfig(**small, **layers, **config)
    getattr(transformers, cls)(made).save_pretrained(place)
    transformers.AutoTokenizer.from_pretrained(sources.locate("minilm")).save_pretrained(place)
    return place


def logits(place: Path, pairs: list[tuple[str, str]]) -> list[float]:
    """What the cross-encoder at *place* gives each of *pairs* alone, by transformers."""
    import torch
    import transformers

    direct = transformers.BertForSequenceClassification.from_pretrained(place).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    with torch.inference_mode():
        return [
            direct(**tokenizer([query], [passage], return_tensors="pt")).logits.item()
            for query, passage in pairs
        ]
