"""The deployed models of a process, by name, and how long they stay.

Owns loading, replacing and unloading. What is asked of a model, and in what order, is the
scheduler's.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

from llmsql import replicas
from llmsql.backends.base import Backend, Model
from llmsql.catalog import secrets
from llmsql.errors import BackendError, CatalogError, suggestion
from llmsql.runtime.answers import Answers
from llmsql.runtime.bound import Bound
from llmsql.runtime.lazy import LazyModel
from llmsql.runtime.worker import Worker
from llmsql.store import Group
from llmsql.types import Kind, ModelSpec, Sampling

SMALL = {"chat": "'smollm2'", "emb": "'minilm'", "rerank": "'minilm' AND kind='rerank'"}
"""A model of each kind that runs anywhere, as a statement that deploys it says it."""

MAX_ANSWERS = 4_000_000
MAX_SAMPLINGS = 65_536
PROMPTS = frozenset({"system", "system_prompt", "system_msg", "prompt"})


class Retired(Exception):
    """The deployment was replaced before it could answer: ask the one that serves now."""


class Deployment:
    """One model, its thread and its answers.

    The model runs in the deployment's own thread, one call at a time, so that whoever waits for it
    can be interrupted. *withheld* names the secret options that the database did not remember.
    """

    def __init__(
        self,
        spec: ModelSpec,
        backend: Backend,
        model: Model,
        seconds: float = 0.0,
        *,
        withheld: Sequence[str] = (),
    ) -> None:
        self.spec = spec
        self.backend = backend
        self.model = model
        self.withheld = tuple(withheld)
        self._seconds = seconds
        self.turn = threading.RLock()  # held while inputs are computed, so that none is twice
        self.thread = Worker(f"llmsql-{spec.name}")
        self.is_retired = False
        self.answered = 0
        self.failed = 0
        self.bound = Bound()
        self._answers: dict[Any, Answers] = {}
        self._may_have_grown = False
        self._samplings: dict[str, Any] = {}

    @classmethod
    def loaded(
        cls,
        spec: ModelSpec,
        backend: Backend,
        load: Callable[[ModelSpec, Backend], Model],
        withheld: Sequence[str] = (),
    ) -> Deployment:
        """A deployment of the model that *load* loads now, which serves nothing yet."""
        started = time.perf_counter()
        model = load(spec, backend)
        deployment = cls(spec, backend, model, time.perf_counter() - started, withheld=withheld)
        _ = deployment.identity  # of the files as they were loaded
        return deployment

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def is_loaded(self) -> bool:
        """False until the first call of a model that the database remembered."""
        return self.seconds is not None

    @property
    def seconds(self) -> float | None:
        """How long the model took to load; None until it is."""
        return self.model.seconds if isinstance(self.model, LazyModel) else self._seconds

    @property
    def is_busy(self) -> bool:
        """True while inputs are computed."""
        if self.turn.acquire(blocking=False):
            self.turn.release()
            return False
        return True

    @property
    def known(self) -> int:
        """How many answers are kept."""
        return sum(map(len, list(self._answers.values())))

    def answers(self, sampling: Any) -> Answers:
        """What is known under *sampling*, shared by all statements."""
        self._may_have_grown = True
        return self._answers.setdefault(sampling, Answers(sampling))

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """What decides its answers, besides the input and the sampling."""
        return self.backend.identity(self.spec)

    @property
    def is_kept(self) -> bool:
        """True where its answers may be kept on disk: nobody objects, and it is known what it is.

        A server's only model may be another one tomorrow, and what was withheld may be its address.
        """
        if not self.spec.terms.cache or self.backend.decides(self.withheld):
            return False
        is_named = any(self.identity.get(name) for name in ("files", "source"))
        return is_named or not self.backend.needs_source

    def group(self, answers: Answers) -> Group:
        """The group of the store that *answers* belong to."""
        if answers.group is None:
            about = self._about(answers.sampling)
            answers.family = Group.of(self.name, about)
            if answers.statement is not None:
                about["statement"] = answers.statement.hex()
            answers.group = Group.of(self.name, about)
        return answers.group

    def family(self, answers: Answers) -> Group:
        """The group of *answers* and their like of other statements: what a model did counts so."""
        self.group(answers)
        assert answers.family is not None
        return answers.family

    def _about(self, sampling: Any) -> dict[str, Any]:
        about = {"model": self.identity, "sampling": _written(sampling)}
        if not isinstance(sampling, Sampling):  # a request says the rest, and its answer a name
            about |= {"defaults": self.spec.defaults, "name": self.name}
        return _sealed(about)  # type: ignore[no-any-return]

    def wake(self) -> None:
        """Load the model, if the database remembered it and nobody has called it yet."""
        if isinstance(self.model, LazyModel):
            self.model.wake()

    def any_vector(self) -> Any:
        """A vector as long as its answers, and none of them; None where it gives no vectors."""
        import numpy as np

        dimension = self.model.dimension if self.spec.kind == "emb" else None
        return dimension and np.full(dimension, dimension**-0.5, np.float32)

    def look_again(self) -> None:
        """See that a model which is about to be loaded is still the one that answered before."""
        if self.is_loaded or self.backend.identity(self.spec) == self.identity:
            return
        del self.identity
        self._regroup()

    def renew(self, spec: ModelSpec) -> None:
        """Serve as *spec* says from now on, which has nothing that is to be loaded."""
        with self.turn:
            self.spec = spec
            self._regroup()

    def _regroup(self) -> None:
        """Forget the answers in memory, and where in the store such answers are."""
        for answers in list(self._answers.values()):
            answers.group = None
        self.forget()

    def sampling(self, text: str, make: Callable[[], Any]) -> Any:
        """The sampling that options written as *text* mean, made once."""
        made = self._samplings.get(text)
        if made is None:
            made = self._samplings[text] = make()
        return made

    def forget(self) -> None:
        """Forget every answer that is known in memory."""
        with self.turn:
            for answers in list(self._answers.values()):
                answers.clear()

    def shrink(self) -> None:
        """Forget the oldest answers beyond what memory is meant for, unless some are being made."""
        if not self._may_have_grown or not self.turn.acquire(blocking=False):
            return
        try:
            self._shrink()
        finally:
            self.turn.release()

    def _shrink(self) -> None:
        self._may_have_grown = False
        for some in (self._answers, self._samplings):
            for key in list(some)[: max(0, len(some) - MAX_SAMPLINGS)]:
                some.pop(key, None)
        for answers in list(self._answers.values()):
            answers.shrink(MAX_ANSWERS)

    def retire(self) -> None:
        """Unload the model once whoever it works for has his answers; does not wait for that."""
        threading.Thread(target=self.unload, name=f"llmsql-unload-{self.name}", daemon=True).start()

    def unload(self, seconds: float | None = None) -> None:
        """Wait for the turn of whoever is being answered, then unload the model.

        With *seconds*, returns after so long at the latest.
        """
        if not self.turn.acquire(timeout=-1 if seconds is None else seconds):
            return
        try:
            if self.is_retired:
                return
            self.is_retired = True
            unloaded = self.thread.submit(self.model.unload)
            self.thread.stop()
        finally:
            self.turn.release()
        with suppress(TimeoutError):
            unloaded.result(seconds)
            self.thread.join(seconds)


class Deployments:
    """The deployments of one database."""

    def __init__(self) -> None:
        self._by_name: dict[str, Deployment] = {}
        self._loading: set[str] = set()
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Deployment]:
        return iter(list(self._by_name.values()))

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._by_name

    def get(self, name: str) -> Deployment:
        """Return the deployment called *name*; raises CatalogError with the nearest name."""
        found = self._by_name.get(name.lower())
        if found is None:
            names = [deployment.name for deployment in self]
            raise CatalogError(
                f'there is no model "{name}"{suggestion(name, names)}\n  !llm model list shows them'
            )
        return found

    def first(self, kind: Kind) -> Deployment:
        """Return the first deployment of *kind*; raises CatalogError where there is none."""
        for deployment in self:
            if deployment.spec.kind == kind:
                return deployment
        raise CatalogError(
            f"no {kind} model is deployed\n"
            f"  RUN command AS LLM WHERE localModelDir={SMALL[kind]} AND udfName='{kind}';"
        )

    @contextmanager
    def loading(self, name: str) -> Iterator[None]:
        """Hold *name* while its model loads; raises CatalogError when somebody else does."""
        key = name.lower()
        with self._lock:
            if key in self._loading:
                raise CatalogError(
                    f'a model named "{name}" is being deployed right now\n'
                    "  wait for it, or choose another udfName"
                )
            self._loading.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._loading.discard(key)

    def put(self, deployment: Deployment) -> Deployment | None:
        """Serve *deployment* under its name from now on; returns the one it replaces."""
        with self._lock:
            key = deployment.name.lower()
            replaced = self._by_name.get(key)
            self._by_name[key] = deployment
            return replaced

    def take(self, name: str) -> Deployment:
        """Stop serving *name* and return what served it; raises CatalogError if nothing did."""
        deployment = self.get(name)
        with self._lock:
            self._by_name.pop(name.lower(), None)
        return deployment


def load_model(spec: ModelSpec, backend: Backend) -> Model:
    """Load the model of *spec*; secrets that name an environment variable get its value now."""
    try:
        return replicas.load(replace(spec, options=_in_force(spec.options, backend)), backend)
    except MemoryError as error:
        raise BackendError(
            f'no memory left to load model "{spec.name}"\n'
            "  !llm model remove NAME unloads another; a smaller or quantized one may fit"
        ) from error


def _written(sampling: Any) -> Any:
    """*sampling* as JSON can hold it, of what its backend adds only what was asked for.

    So answers are found again when the backend has learnt another option.
    """
    if not is_dataclass(sampling) or isinstance(sampling, type):
        return None
    found = asdict(sampling)
    if isinstance(sampling, Sampling):
        for each in fields(sampling)[len(fields(Sampling)) :]:
            if found[each.name] == each.default:
                del found[each.name]
    return found


def _sealed(value: Any, name: str = "") -> Any:
    """*value* with a digest in place of each prompt: what is on disk shows none."""
    if isinstance(value, Mapping):
        return {key: _sealed(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sealed(inner, name) for inner in value]
    if isinstance(value, str) and name in PROMPTS:
        return hashlib.blake2b(value.encode("utf-8", "replace"), digest_size=16).hexdigest()
    return value


def _in_force(options: Any, backend: Backend) -> Any:
    """*options* with the values of the environment variables that its secrets name."""
    values: dict[str, str] = {}
    for option in fields(options) if is_dataclass(options) else ():
        if option.repr and not secrets.is_secret_name(option.name):
            continue  # a database file is not to read the environment at will
        name = secrets.variable(getattr(options, option.name))
        if name is None:
            continue
        values[option.name] = os.environ.get(name, "").strip()
        if not values[option.name]:
            raise BackendError(
                f"{backend.option_prefix}{option.name} names the environment variable "
                f'"{name}", which is not set or empty\n  set it before starting, or write the value'
            )
    return replace(options, **values) if values else options
