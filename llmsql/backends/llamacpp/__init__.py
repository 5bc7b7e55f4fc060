"""Run GGUF files through llama.cpp, in this process, by the package xllamacpp.

Chooses what is loaded and how. Starting is `server`'s business, how large `sizing`'s, asking
`model`'s. Rows run side by side in slots of llama.cpp's continuous batch; what else is in it
changes the order of its sums, and now and then a word, also of a greedy or a seeded answer.
"""

from __future__ import annotations

from pathlib import Path

from llmsql import sources
from llmsql.backends import base
from llmsql.backends.llamacpp import server, sizing
from llmsql.backends.llamacpp.model import Model
from llmsql.backends.llamacpp.options import Options, Sampling
from llmsql.backends.llamacpp.server import POOLING, Plan, Server
from llmsql.errors import BackendError
from llmsql.sources import gguf
from llmsql.types import Kind, ModelSpec

__all__ = ["Backend", "Model", "Options", "Sampling"]


class Backend(base.Backend):
    """GGUF models in llama.cpp."""

    options = Options
    sampling = Sampling
    kinds = ("chat", "emb", "rerank")
    file_formats = ("gguf",)
    preference = 1  # transformers runs a GGUF file too, and does until benchmarks say otherwise
    model_types = ("llamacpp", "llama_cpp")
    extra = "llamacpp"
    modules = ("xllamacpp",)
    paced = frozenset({"n_parallel", "n_batch", "n_threads", "use_mmap", "verbose"})

    def kind_of(self, path: str, model_type: str) -> Kind:
        """Read it from the head of the file."""
        return sources.kind_of(path)

    def load(self, spec: ModelSpec) -> base.Model:
        """Load the file *spec.path*, with as many slots as memory has room for."""
        self.require()
        options = server.placed(spec.options or Options(), spec.gpus)
        path = spec.path or sources.locate(spec.source)
        _check_file(spec.source or path, path)
        sources.check(path)
        server.check_gpus(spec.gpus)
        values = gguf.metadata(path)
        room = sizing.size(
            values, options.context, options.n_parallel, server.memory(options, spec.gpus)
        )
        template = options.preset.jinja if options.preset else options.chat_template
        pooling = "" if spec.kind == "chat" else _pooling(path, spec.kind)
        plan = Plan(path, spec.kind, room, options, template, pooling)
        model = Model(Server(plan), plan, values)
        model.device = _device(options)
        return model


def _check_file(source: str, path: str) -> None:
    if Path(path).is_file():
        return
    found = sorted(file.name for file in Path(path).glob("*.gguf"))
    shown = f"name one of its files: {', '.join(found)}" if found else (
        "set infer_backend='transformers', or convert it with llama.cpp's convert_hf_to_gguf.py"
    )  # fmt: skip
    raise BackendError(f'"{source}" is a directory, and llama.cpp runs a .gguf file\n  {shown}')


def _pooling(path: str, kind: Kind) -> str:
    """How the file *path* makes one vector of many; a model that answers is averaged."""
    values = gguf.metadata(path)
    number = values.get(f"{values.get('general.architecture')}.pooling_type")
    pooling = POOLING.get(number or 0, "MEAN")
    if (kind == "rerank") == (pooling == "RANK"):
        return pooling
    does, other = ("rerank", "emb") if kind == "emb" else (sources.kind_of(path), "rerank")
    raise BackendError(
        f'"{path}" is a model for {does}, and llama.cpp makes no {other} of it\n'
        f"  leave out kind, or set kind='{does}'"
    )


def _device(options: Options) -> str:
    is_cpu = options.device == "cpu" or options.n_gpu_layers == 0 or not server.gpus()
    return "cpu" if is_cpu else "cuda" if options.device == "auto" else options.device
