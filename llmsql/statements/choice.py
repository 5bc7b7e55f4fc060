"""What a RUN asks for: its keys sorted and checked, its source found, its backend and kind chosen.

Nothing is loaded here; the statement does that.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmsql import generation, sources, templates
from llmsql.backends.base import Backend
from llmsql.errors import BackendError, OptionError, StatementError, suggestion, warn
from llmsql.sources import families
from llmsql.sources.families import Family
from llmsql.statements import config_file, fitting, keys, terms
from llmsql.statements.keys import Keys
from llmsql.types import KINDS, Kind, ModelSpec, read_options, split_terms

if TYPE_CHECKING:
    from llmsql.config import Settings


@dataclass(frozen=True)
class Request:
    """What the WHERE clause asks for, its keys sorted by whose they are.

    *backend* is what the statement demands, *preferred* what the settings would rather have.
    """

    name: str
    model_type: str
    source: str
    base: str | None
    kind: Kind | None
    backend: str | None
    preferred: str | None
    device: str | None
    gpus: float
    replicas: int
    concurrency: int
    options: Mapping[str, Any]
    defaults: Mapping[str, Any]
    prices: str | None = None
    ignored: tuple[str, ...] = ()
    wants_gpu: bool = False  # said by the statement: the setting, 1 by default, asks for nothing

    @classmethod
    def read(cls, pairs: Mapping[str, str], path: str, settings: Settings) -> Request:
        """Sort and check *pairs*; raises StatementError or OptionError for what cannot be."""
        given = Keys.of(pairs)
        if "config" in given.own:
            lower = Keys.of(config_file.read(given.own["config"]))
            if "config" in lower.own:
                raise OptionError("a config file cannot name another: write the keys into one")
            given = given.over(lower)
        own = given.own
        for key in ("num_gpus", "maxConcurrency", "workerMaxConcurrency"):
            if key in own:
                settings = settings.changed(key, own[key])
        _check_action(own, given.options)
        if "udfName" not in own:
            raise StatementError(
                f"a model needs a name{keys.misspelt('udfName', given.options)}\n"
                "  RUN command AS LLM WHERE action='infer' AND udfName='…' …"
            )
        kind = own.get("kind", "").lower()
        if kind and kind not in KINDS:
            raise OptionError(
                f'there is no kind "{kind}"{suggestion(kind, KINDS)}\n  kinds: {", ".join(KINDS)}'
            )
        return cls(
            name=own["udfName"],
            model_type=own.get("pretrainedModelType") or families.AUTO,
            source=own.get("localModelDir") or path,
            base=own.get("baseModelDir") or None,
            kind=kind or None,
            backend=own.get("infer_backend") or None,
            preferred=settings.infer_backend or None,
            device=_device(own.get("devices", "-1")),
            gpus=settings.num_gpus,
            replicas=settings.maxConcurrency,
            concurrency=settings.workerMaxConcurrency,
            options=given.options,
            defaults=given.defaults,
            prices=settings.prices,
            ignored=tuple(key for key in own if key in keys.WITHOUT_EFFECT),
            wants_gpu="num_gpus" in own and settings.num_gpus > 0,
        )

    def resolved(self) -> tuple[ModelSpec, Backend]:
        """Find source, kind and backend, and check the backend's options."""
        choice = fitting.typed(self.model_type)
        family = Family() if choice else fitting.family(self.name, self.model_type)
        choice = choice or fitting.named(self.backend, self.preferred)
        wanted = self.kind or family.kind
        path, own_kind = "", None
        if choice is None or (choice.backend.needs_source and not choice.backend.is_remote):
            path, own_kind = self._found(wanted)
            self._agree(family, own_kind)
        backend, why = choice or self._best(path, wanted, own_kind)
        backend.require()
        said, rest = split_terms(self.options, (backend.option_prefix, "backend."))
        options, ignored = self._options(backend, family, rest)
        _check_adapter(path, backend)
        named = path or getattr(options, "model", None) or self.source
        kind = wanted or own_kind or backend.kind_of(named, self.model_type)
        if wanted is None and kind not in backend.kinds:
            kind = backend.kinds[0]
        if kind not in backend.kinds:
            raise BackendError(
                f'backend "{backend.name}" does not run models of kind {kind}; it runs '
                + ", ".join(backend.kinds)
            )
        defaults, unused = self._defaults(backend, options)
        self._say(*self.ignored, *ignored, *unused)
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
            defaults=defaults,
            terms=terms.read(said, self.prices, (named, self.source, self.name)),
            why=why,
        )
        return spec, backend

    def _best(self, path: str, wanted: Kind | None, own_kind: Kind | None) -> fitting.Choice:
        """The backend for the files at *path* where nobody has named one."""
        file_format = "gguf" if Path(path).is_file() else "directory"
        _, told = split_terms(self.options, ("backend.",))
        told |= {"device": self.device} if self.device else {}
        kind = wanted or own_kind or "chat"
        return fitting.best(kind, own_kind, self.preferred, file_format, path, told)

    def _found(self, wanted: Kind | None) -> tuple[str, Kind | None]:
        """Where the source is, and what its files are; None where they do not say and need not."""
        if not self.source:
            near = [k for k in self.options if difflib.get_close_matches(k, keys.OWN, 1, 0.8)]
            raise OptionError(
                "which model? give localModelDir='…', or pretrainedModelType='saas/…'"
                + "".join(f'\n  "{key}" is no key{suggestion(key, keys.OWN)}' for key in near)
            )
        path = sources.locate(self.source)
        model, _ = sources.adapted(path, self.base)
        try:
            return path, sources.kind_of(model)
        except BackendError:
            if wanted is None:
                raise
            return path, None  # what is wrong, if anything, is said when it loads

    def _agree(self, family: Family, own_kind: Kind | None) -> None:
        """Raise BackendError where type and files differ, and the statement does not say why."""
        if self.kind or not (family.kind and own_kind) or family.kind == own_kind:
            return
        raise BackendError(
            f'model type "{self.model_type}" is for {family.kind}, but "{self.source}" is a model '
            f"for {own_kind}\n  leave out the type, or set kind='{family.kind}' to use it so"
        )

    def _options(
        self, backend: Backend, family: Family, options: Mapping[str, Any]
    ) -> tuple[Any, list[str]]:
        """The backend's options, and the keys that have no effect."""
        known = {option.name for option in dataclasses.fields(backend.options)}
        said: dict[str, Any] = {k: v for k, v in family.options.items() if k in known}
        ignored = []
        if self.base:
            said["base_model"] = self.base
        if self.device and "device" in known:
            said["device"] = self.device
        elif not self.gpus and "device" in known:
            said["device"] = "cpu"
        elif self.device:
            ignored.append("devices")
        for key, value in options.items():
            name = keys.option_name(key, backend.option_prefix, known)
            if name not in known and name.lower() in keys.OPTIONS_WITHOUT_EFFECT:
                ignored.append(key)
            elif name not in known and name == "template" and value == templates.AUTO:
                pass  # a server writes the prompt itself
            else:
                said[name] = value
        owner = f'backend "{backend.name}"'
        try:
            return read_options(backend.options, said, owner=owner), ignored
        except OptionError as error:
            unknown = [name for name in said if name.lower() not in known]
            raise OptionError(f"{error}{_hints(unknown, backend)}") from None

    def _defaults(self, backend: Backend, options: Any) -> tuple[dict[str, Any], list[str]]:
        """The parameters of every call, checked, and those that have no effect."""
        known = {option.name for option in dataclasses.fields(backend.sampling)}
        said = {**getattr(options, "generation", {}), **self.defaults}
        unused = [n for n in said if n in generation.WITHOUT_EFFECT and n not in known]
        said = {name: value for name, value in said.items() if name not in unused}
        read_options(backend.sampling, said, owner=f'model "{self.name}"', prefix="gen.")
        return said, [f"gen.{name}" for name in unused]

    def _say(self, *ignored: str) -> None:
        if ignored:
            has = "has" if len(ignored) == 1 else "have"
            warn(f'model "{self.name}": {", ".join(ignored)} {has} no effect here')

    def _placed(self, backend: Backend) -> tuple[int, int]:
        """Replicas, and how much each is given at a time: a remote model has only the second."""
        if backend.is_remote:
            return 1, self.replicas * self.concurrency
        return self.replicas, self.concurrency


def _check_action(own: Mapping[str, str], options: Mapping[str, Any]) -> None:
    """Raise StatementError unless a model is to be deployed: Decision 1 of the spec."""
    is_training = "inputtable" in map(str.lower, options)
    action = own.get("action") or ("finetune" if is_training else "infer")
    if action.lower() in ("finetune", "convert", "merge"):
        raise StatementError(
            f'action "{action}" is not here yet: llmsql deploys models, and does not train them\n'
            "  actions: infer"
        )
    if action.lower() != "infer":
        raise StatementError(
            f'there is no action "{action}"{suggestion(action, ["infer"])}\n  actions: infer'
        )
    if "action" not in own and "udfName" not in own:
        raise StatementError(
            "what is to be done? give udfName='…' to deploy a model, or action='…'"
            + keys.misspelt("udfName", options)
        )


def _device(devices: str) -> str | None:
    """The device that the key `devices` names, None where the backend may choose."""
    if devices == "-1":
        return None
    if not devices.isdecimal():
        raise OptionError(
            f'devices takes the number of one CUDA device, or -1, not "{devices}"\n'
            "  num_gpus='2' spreads a model over two"
        )
    return f"cuda:{devices}"


def _check_adapter(path: str, backend: Backend) -> None:
    is_adapter = bool(path) and (Path(path) / sources.adapters.CONFIG).exists()
    if is_adapter and not hasattr(backend.options, "base_model"):
        raise BackendError(
            f'"{path}" is an adapter, which backend "{backend.name}" does not take\n'
            "  merge it into its model first, or set infer_backend='transformers'"
        )


def _hints(unknown: Iterable[str], backend: Backend) -> str:
    """What each of the *unknown* options may have been meant as."""
    hints = ""
    calls = {option.name for option in dataclasses.fields(backend.sampling)}
    for name in unknown:
        own = difflib.get_close_matches(name, keys.OWN, 1, 0.8)
        if own:
            hints += f'\n  the statement itself has the key "{own[0]}": is that what you mean?'
        elif generation.ours({name: ""}).keys() & calls:
            hints += f'\n  what every call is to have is written "gen.{name}"'
    return hints
