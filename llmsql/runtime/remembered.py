"""Between what the database remembers and what is deployed.

A remembered deployment is offered without loading anything: its backend is found and its options
are read, and its model is loaded at the first call. How it is written down is the catalog's.
"""

from __future__ import annotations

import re
from dataclasses import is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from llmsql import backends, sources
from llmsql.backends.base import Backend, Model
from llmsql.catalog import Record, consent
from llmsql.errors import BackendError, LlmsqlError, OptionError, warn
from llmsql.runtime.deployments import Deployment, load_model
from llmsql.runtime.lazy import LazyModel
from llmsql.types import ModelSpec, Terms, read_options, split_terms

if TYPE_CHECKING:
    from llmsql.runtime.engine import Engine


def recall(engine: Engine) -> list[str]:
    """Offer every deployment that the database remembers; returns what is wrong with the others."""
    records, problems = engine.catalog.records()
    macros = engine.macros() if records else {}
    for record in records:
        if record.name.lower() in macros:
            problems.append(
                f'model "{record.name}" is remembered, but the database has a macro of that name\n'
                f'  DROP MACRO "{record.name}", and open it again'
            )
            continue
        try:
            offer(engine, record)
        except (duckdb.Error, ImportError) as error:
            problems.append(f'model "{record.name}" is remembered, but not offered: {error}')
    if records:
        stored = " ".join([engine.views(), *macros.values()])
        engine.use(re.findall(r"\w+", stored.lower()))
    return problems


def offer(engine: Engine, record: Record) -> Deployment:
    """Serve what *record* describes; raises LlmsqlError where that cannot be."""
    engine.check_name(record.name)
    deployment = offered(record)
    engine.serve(deployment)
    return deployment


def remember(engine: Engine, deployment: Deployment) -> None:
    """Keep *deployment* for when the database is opened again; warns where that fails.

    What it tells of the environment is what the user wants told.
    """
    consent.give(deployment.backend.discloses(deployment.spec))
    dimension = deployment.model.dimension
    try:
        engine.catalog.put(Record.of(deployment.spec, dimension, deployment.withheld))
    except (duckdb.Error, TypeError, ValueError) as error:
        warn(f'model "{deployment.name}" is deployed, but not remembered: {error}')


def forget(engine: Engine, name: str) -> None:
    """Remember *name* no longer; warns where that fails."""
    try:
        engine.catalog.forget(name)
    except duckdb.Error as error:
        warn(f'model "{name}" is removed, but still remembered: {error}')


def offered(record: Record) -> Deployment:
    """The deployment that *record* describes; raises LlmsqlError where it cannot be one."""
    said, options = split_terms(record.options)
    spec = ModelSpec(
        name=record.name,
        kind=record.kind,
        backend=record.backend,
        source=record.source,
        path=record.path,
        model_type=record.model_type,
        options=options,
        gpus=record.gpus,
        replicas=record.replicas,
        concurrency=record.concurrency,
        defaults=record.defaults,
        terms=read_options(Terms, said, owner="a deployment"),
    )
    backend = backends.get(record.backend)
    if record.kind not in backend.kinds:
        raise BackendError(f'backend "{backend.name}" runs no models of kind {record.kind}')
    try:
        spec = replace(spec, options=read_options(backend.options, options, owner=_owner(spec)))
    except (OptionError, TypeError) as error:
        if not record.withheld:  # else they may be whole again by the first call
            raise OptionError(str(error)) from error
    return unloaded(spec, backend, record.dimension, record.withheld)


def unloaded(
    spec: ModelSpec, backend: Backend, dimension: int | None, withheld: tuple[str, ...]
) -> Deployment:
    """A deployment of *spec* whose model is loaded at its first call."""
    model = LazyModel(spec.name, partial(fresh, spec, backend, withheld), dimension)
    return Deployment(spec, backend, model, withheld=withheld)


def reloaded(deployment: Deployment) -> Deployment:
    """A deployment of the same spec with a model loaded now."""
    withheld = deployment.withheld
    load = partial(fresh, withheld=withheld)
    return Deployment.loaded(deployment.spec, deployment.backend, load, withheld)


def fresh(spec: ModelSpec, backend: Backend, withheld: tuple[str, ...] = ()) -> Model:
    """Load the model of *spec* as it is now; an error says which secret may be missing."""
    try:
        backend.require()
        if withheld:  # with a default in its place, another server may be asked with another key
            raise BackendError(f'model "{spec.name}" cannot be loaded as it was')
        if not is_dataclass(spec.options):
            given = spec.options or {}
            spec = replace(spec, options=read_options(backend.options, given, owner=_owner(spec)))
        if spec.path and not Path(spec.path).exists():  # moved: perhaps its package or cache was
            spec = replace(spec, path=sources.locate(spec.source or spec.path))
        _check_consent(spec, backend)
        return load_model(spec, backend)
    except (LlmsqlError, TypeError) as error:
        if not withheld:
            raise
        keys = [f"{backend.option_prefix}{name}" for name in withheld]
        pairs = "".join(f" AND {key}='…'" for key in keys)
        raise BackendError(
            f'{error}\n  {", ".join(keys)} of model "{spec.name}" was not kept in the database; '
            "give it again:\n"
            f"  RUN command AS LLM WHERE udfName='{spec.name}' AND reconnect='true'{pairs}"
        ) from error


def _check_consent(spec: ModelSpec, backend: Backend) -> None:
    """Refuse to send a key where no statement of this user's has sent it."""
    for sent in consent.missing(backend.discloses(spec)):
        raise BackendError(
            f'model "{spec.name}" would send the key in ${sent.variable} to {sent.address}, '
            "where you never sent it\n  if you trust whoever deployed it, allow it:\n"
            f"  RUN command AS LLM WHERE udfName='{spec.name}' AND reconnect='true'"
        )


def _owner(spec: ModelSpec) -> str:
    return f'backend "{spec.backend}"'
