"""Embeddings and relevance scores by onnxruntime.

Knows what to load. What the files say is in `description` and `heads`, the file that runs in
`conversion` and `proof`, the way of texts through it in `network` and `engine`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from llmsql import encoders
from llmsql.backends import base
from llmsql.backends.onnxruntime import conversion, proof
from llmsql.backends.onnxruntime.options import Options
from llmsql.backends.sentence_transformers import Backend as SentenceTransformers
from llmsql.torch_models import numbers
from llmsql.types import ModelSpec


class Backend(base.Backend):
    """An encoder as an ONNX file: the directory's own, or one that is made of it once and kept."""

    options = Options
    kinds = ("emb", "rerank")
    preference = -1  # where it volunteers, it is the faster one
    extra = "onnx"
    modules = ("onnxruntime", "tokenizers")
    other_names = ("onnx",)
    paced = frozenset({"batch_tokens", "threads"})

    kind_of = SentenceTransformers.kind_of

    def volunteers(self, path: str, said: Mapping[str, Any]) -> bool:
        """Return whether it answers *path* as sentence-transformers does, and faster.

        That is known once somebody asked for it by name. On a GPU nobody has compared them.
        """
        known = {f"{prefix}{f.name}" for f in fields(Options) for prefix in ("", "backend.")}
        if not path or not self.is_installed or numbers.gpus():
            return False
        if not {key.lower() for key in said} <= known:
            return False
        found = conversion.proven(path)
        return found is not None and found.is_better

    def load(self, spec: ModelSpec) -> base.Model:
        """Load what the directory *spec.path* holds, which is converted first if need be."""
        self.require()
        from llmsql.backends.onnxruntime.description import describe
        from llmsql.backends.onnxruntime.models import model
        from llmsql.backends.onnxruntime.network import Network

        options: Options = spec.options or Options()
        description = describe(spec.path)
        if description.is_cross:
            encoders.check_pairs(spec)
        file = conversion.file(description, options)
        found = model(Network(file, description), spec.kind, options)
        found.note = "; ".join(filter(None, (found.note, _less_exact(spec.path, options))))
        return found


def _less_exact(path: str, options: Options) -> str:
    """How far the answers are from those of sentence-transformers, where that is far."""
    known = conversion.proven(path, options.quantization)
    if known is None or known.difference <= proof.EQUAL:
        return ""
    return f"answers differ from those of sentence_transformers by up to {known.difference:.2g}"
