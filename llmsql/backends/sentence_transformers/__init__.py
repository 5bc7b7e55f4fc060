"""Embeddings and relevance scores by sentence-transformers.

Knows what to load and how. How texts go through it is in `engine`, what comes out in `models`;
where a directory comes from, and whether it is whole, is `sources`' business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmsql import encoders, sources
from llmsql.backends import base
from llmsql.backends.sentence_transformers.models import Embedder, Scorer, Similarity
from llmsql.backends.sentence_transformers.options import Options
from llmsql.errors import BackendError, OptionError, first_line
from llmsql.sources.files import read_json
from llmsql.torch_models import numbers
from llmsql.types import Kind, ModelSpec


class Backend(base.Backend):
    """Whatever SentenceTransformer and CrossEncoder load from a directory."""

    options = Options
    kinds = ("emb", "rerank")
    extra = "sentence_transformers"
    modules = ("sentence_transformers", "torch")
    paced = frozenset({"batch_tokens"})

    def kind_of(self, path: str, model_type: str) -> Kind:
        """Rerank for a cross-encoder, else what the files say."""
        return "rerank" if is_cross_encoder(path) else sources.kind_of(path)

    def load(self, spec: ModelSpec) -> base.Model:
        """Load the directory *spec.path*, and try it on two short inputs."""
        self.require()
        import sentence_transformers

        from llmsql.torch_models import placement

        options: Options = spec.options or Options()
        is_cross = is_cross_encoder(spec.path)
        if is_cross:
            encoders.check_pairs(spec)
        name = "CrossEncoder" if is_cross else "SentenceTransformer"
        model = Scorer if is_cross else Similarity if spec.kind == "rerank" else Embedder
        placement.check_gpus(spec.gpus)
        device = placement.device(options.device)
        dtype = placement.dtype(options.dtype, device)
        try:
            with placement.quiet():
                engine = getattr(sentence_transformers, name)(
                    spec.path,
                    device=str(device),
                    local_files_only=True,
                    trust_remote_code=options.trust_remote_code,
                    model_kwargs={"dtype": dtype},
                )
                return model(engine.eval(), options)
        except (BackendError, OptionError):
            raise
        except Exception as error:  # torch, safetensors, tokenizers and a model's own code
            placement.release(error)
            if placement.is_out_of_memory(error):
                raise BackendError(
                    f'there is not enough memory on {device} for "{spec.path}"\n'
                    "  deploy a smaller model, or !llm model remove NAME unloads another"
                ) from error
            raise BackendError(
                f'model "{spec.name}" cannot be loaded from "{spec.path}": {first_line(error)}\n'
                f"  it takes a whole directory that {name} of sentence-transformers loads"
            ) from error

    def deciding(self, options: Any) -> dict[str, Any]:
        """Return the options that change answers; a device only where it chooses the numbers."""
        device = numbers.deciding_device(options.dtype, options.device)
        return {**super().deciding(options), "device": device}


def is_cross_encoder(path: str) -> bool:
    """True when the directory *path* holds a model that reads a pair of texts at once."""
    place = Path(path)
    if (place / "config_sentence_transformers.json").exists():
        about = read_json(place / "config_sentence_transformers.json")
        return about.get("model_type") == "CrossEncoder"
    if (place / "modules.json").exists() or not (place / "config.json").exists():
        return False
    names = read_json(place / "config.json").get("architectures") or ()
    return any(name.endswith("ForSequenceClassification") for name in names)
