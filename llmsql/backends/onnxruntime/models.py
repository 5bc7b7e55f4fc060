"""Vectors, cosines and scores by onnxruntime."""

from __future__ import annotations

from llmsql.backends.onnxruntime.engine import Model
from llmsql.backends.onnxruntime.network import Network
from llmsql.backends.onnxruntime.options import Options
from llmsql.encoders import Cosines, Scores, Vectors
from llmsql.types import Kind


class Embedder(Vectors, Model):
    """A model that makes vectors."""


class Similarity(Cosines, Model):
    """An embedding model that ranks."""


class Scorer(Scores, Model):
    """A cross-encoder."""


def model(network: Network, kind: Kind, options: Options) -> Model:
    """Return the model that *network* is for *kind*."""
    if network.description.is_cross:
        return Scorer(network, options)
    if kind == "rerank":
        return Similarity(network, options)
    return Embedder(network, options)
