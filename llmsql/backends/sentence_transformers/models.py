"""Vectors, cosines and scores of sentence-transformers."""

from __future__ import annotations

from llmsql.backends.sentence_transformers.engine import Model
from llmsql.encoders.answers import Cosines, Scores, Vectors


class Embedder(Vectors, Model):
    """A model that makes vectors."""


class Similarity(Cosines, Model):
    """An embedding model that ranks."""


class Scorer(Scores, Model):
    """A cross-encoder."""
