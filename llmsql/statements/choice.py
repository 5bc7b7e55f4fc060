"""What a RUN asks for: its keys sorted and checked, its source found, its backend and kind chosen.

Nothing is loaded here; the statement does that.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsql import backends, sources
from llmsql.backends.base import Backend
from llmsql.errors import BackendError, OptionError, StatementError, suggestion, warn
from llmsql.types import KINDS, Kind, ModelSpec, read_options

if TYPE_CHECKING:
    from llmsql.config import Settings

OWN_KEYS = {
    "action": "what to do: infer",
    "udfName": "the name of the SQL function",
    "pretrainedModelType": "the type of the model: custom/auto, saas/openai, debug, …",
    "localModelDir": "a directory, a GGUF file, a packaged name or a Hugging Face id",
    "kind": "chat, emb or rerank, where the files do not say it",
    "infer_backend": "the backend, where the best installed one is not wanted",
    "num_gpus": "GPUs for the model",
    "maxConcurrency": "replicas",
    "workerMaxConcurrency": "requests in flight for each replica",
    "modelTable": "accepted: models are read from localModelDir",
    "model": "accepted: models are read from localModelDir",
    "reconnect": "accepted when false",
}
"""The keys of the statement itself; every other key is an option of the backend."""

OTHER_SPELLINGS = {
    "gpus_per_worker": "num_gpus",
    "num_workers": "maxConcurrency",
    "worker_concurrency": "workerMaxConcurrency",
}
GENERATION_PREFIXES = ("generation.", "gen.")
NOT_LOCAL = "saas/"


@dataclass(frozen=True)
class Request:
    """What the WHERE clause asks for, its keys sorted by whose they are."""

    name: str
    model_type: str
    source: str
    kind: Kind | None
    backend: str | None
    gpus: float
    replicas: int
    concurrency: int
    options: Mapping[str, str]
    defaults: Mapping[str, str]

    @classmethod
    def read(cls, pairs: Mapping[str, str], path: str, settings: Settings) -> Request:
        """Sort and check *pairs*; raises StatementError or OptionError for what cannot be."""
        own, rest = _sorted(pairs)
        for key in ("num_gpus", "maxConcurrency", "workerMaxConcurrency"):
            if key in own:
                settings = settings.changed(key, own[key])
        action = own.get("action") or ("infer" if "udfName" in own else "")
        if action.lower() != "infer":
            raise StatementError(
                f'there is no action "{action}"{suggestion(action, ["infer"])}\n  actions: infer'
                if action
                else "what is to be done? give udfName='…' to deploy a model, or action='…'"
            )
        if "udfName" not in own:
            raise StatementError(
                "a model needs a name\n  RUN command AS LLM WHERE action='infer' AND udfName='…' …"
            )
        if own.get("reconnect", "false").lower() != "false":
            raise OptionError("reconnect='true' needs a deployment that the database remembers")
        kind = own.get("kind", "").lower()
        if kind and kind not in KINDS:
            raise OptionError(
                f'there is no kind "{kind}"{suggestion(kind, KINDS)}\n  kinds: {", ".join(KINDS)}'
            )
        defaults = {k: v for k, v in rest.items() if k.lower().startswith(GENERATION_PREFIXES)}
        return cls(
            name=own["udfName"],
            model_type=own.get("pretrainedModelType", "custom/auto"),
            source=own.get("localModelDir") or path,
            kind=kind or None,
            backend=own.get("infer_backend", settings.infer_backend or "") or None,
            gpus=settings.num_gpus,
            replicas=settings.maxConcurrency,
            concurrency=settings.workerMaxConcurrency,
            options={k: v for k, v in rest.items() if k not in defaults},
            defaults={k.split(".", 1)[1]: v for k, v in defaults.items()},
        )

    def resolved(self) -> tuple[ModelSpec, Backend]:
        """Find source, kind and backend, and check the backend's options."""
        backend = self._named_backend()
        path, own_kind = "", None
        if backend is None or (backend.needs_source and not backend.is_remote):
            if not self.source:
                raise OptionError(
                    "which model? give localModelDir='…', or pretrainedModelType='saas/…'"
                )
            path = sources.locate(self.source)
            own_kind = sources.kind_of(path) if self.kind is None or backend is None else None
        if backend is None:
            backend = _best(self.kind or own_kind or "chat", own_kind)
        backend.require()
        options = self._options(backend)
        named = path or getattr(options, "model", None) or self.source
        kind = self.kind or own_kind or backend.kind_of(named, self.model_type)
        kind = self._settled_kind(kind, backend)
        if kind not in backend.kinds:
            raise BackendError(
                f'backend "{backend.name}" does not run models of kind {kind}; it runs '
                + ", ".join(backend.kinds)
            )
        read_options(backend.sampling, self.defaults, owner=f'model "{self.name}"')
        replicas, concurrency = self._placed(backend)
        spec = ModelSpec(
            name=self.name,
            kind=kind,
            backend=backend.name,
            source=self.source,
            path=path,
            model_type=self.model_type,
            options=options,
            gpus=self.gpus,
            replicas=replicas,
            concurrency=concurrency,
            defaults=dict(self.defaults),
        )
        return spec, backend

    def _named_backend(self) -> Backend | None:
        """The backend that the type or infer_backend names."""
        kind = self.model_type.lower()
        for name in backends.names():
            backend = backends.get(name)
            if kind in backend.model_types:
                return backend
        if kind.startswith(NOT_LOCAL):
            known = [t for name in backends.names() for t in backends.get(name).model_types]
            raise BackendError(
                f'there is no model type "{self.model_type}"{suggestion(kind, known)}\n'
                f"  types: custom/auto, {', '.join(known)}"
            )
        return backends.get(self.backend.lower().replace("-", "_")) if self.backend else None

    def _settled_kind(self, kind: Kind, backend: Backend) -> Kind:
        return self.kind or (kind if kind in backend.kinds else backend.kinds[0])

    def _options(self, backend: Backend) -> Any:
        given = {}
        for key, value in self.options.items():
            for prefix in {backend.option_prefix, "backend."}:
                if key.lower().startswith(prefix):
                    key = key[len(prefix) :]
                    break
            given[key] = value
        owner = f'backend "{backend.name}"'
        try:
            return read_options(backend.options, given, owner=owner)
        except OptionError as error:
            known = {option.name for option in dataclasses.fields(backend.options)}
            near = {k: difflib.get_close_matches(k, OWN_KEYS, 1, 0.8) for k in given.keys() - known}
            hints = [
                f'\n  the statement itself has the key "{found[0]}": is that what you mean?'
                for found in near.values()
                if found
            ]
            raise OptionError(str(error) + "".join(hints)) from None

    def _placed(self, backend: Backend) -> tuple[int, int]:
        """Replicas and requests in flight: a remote model has only the second."""
        if backend.is_remote:
            return 1, self.replicas * self.concurrency
        if self.replicas > 1:
            warn(f'model "{self.name}": one replica is loaded, not {self.replicas}')
        return 1, self.concurrency


def _sorted(pairs: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The statement's own keys, in their usual spelling, and the others."""
    by_folded = {key.lower(): key for key in OWN_KEYS} | OTHER_SPELLINGS
    own: dict[str, str] = {}
    rest: dict[str, str] = {}
    for key, value in pairs.items():
        name = by_folded.get(key.lower())
        if name in own:
            raise StatementError(f'the key "{name}" is given twice')
        if name:
            own[name] = value
        else:
            rest[key] = value
    return own, rest


def _best(kind: Kind, own_kind: Kind | None) -> Backend:
    """The backend for a local model: one that runs its files and what is wanted of them."""
    fitting = []
    for name in backends.names():
        backend = backends.get(name)
        if backend.is_remote or not backend.needs_source or kind not in backend.kinds:
            continue
        fits_files = own_kind is None or own_kind in backend.kinds
        fitting.append((not fits_files, not backend.is_installed, backend.kinds.index(kind), name))
    if not fitting:
        raise BackendError(f"no backend runs local models of kind {kind}")
    return backends.get(min(fitting)[-1])
