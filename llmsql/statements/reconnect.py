"""`RUN command AS LLM … reconnect='true'`: offer a model that is known already. Spec R01.

Nothing is loaded: the model is deployed in this process, or the database remembers it. Options
that are given are merged over its own; the statement's other keys, which say what model it is and
where it runs, stay as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from llmsql import generation
from llmsql.catalog.record import given
from llmsql.errors import CatalogError, OptionError, StatementError, suggestion
from llmsql.runtime import remembered
from llmsql.runtime.deployments import Deployment
from llmsql.runtime.engine import Engine
from llmsql.statements import terms
from llmsql.statements.keys import OPTIONS_WITHOUT_EFFECT, Keys, option_name
from llmsql.types import ModelSpec, coerce, read_options, split_terms
from llmsql.workspace import Workspace


def is_wanted(pairs: Mapping[str, str]) -> bool:
    """True where *pairs* ask for it; raises OptionError for what is neither true nor false."""
    said = next((value for key, value in pairs.items() if key.lower() == "reconnect"), "false")
    try:
        return bool(coerce(said, bool))
    except ValueError:
        raise OptionError(f'option "reconnect" takes true or false, not "{said}"') from None


def run(pairs: Mapping[str, str], workspace: Workspace) -> Deployment:
    """Offer the model that *pairs* name, with what they give; raises CatalogError for no such."""
    keys, engine = Keys.of(pairs), workspace.engine
    name = keys.own.get("udfName")
    if not name:
        raise StatementError(
            "a model needs a name\n  RUN command AS LLM WHERE udfName='…' AND reconnect='true'"
        )
    workspace.refuse_in_transaction("deploy a model")
    with engine.deployments.loading(name):
        known = _known(name, engine)
        spec = _merged(known, keys)
        if spec.options != known.spec.options:
            known = _replaced(known, spec)
            engine.serve(known)
        if spec != known.spec:
            known.renew(spec)  # what every call is to have: nothing to load again for
        remembered.remember(engine, known)
        return known


def _known(name: str, engine: Engine) -> Deployment:
    """The deployment called *name*: it may be remembered, but not offered so far."""
    if name in engine.deployments:
        return engine.deployments.get(name)
    records, problems = engine.catalog.records()
    for record in records:
        if record.name.lower() == name.lower():
            return remembered.offer(engine, record)
    names = [deployment.name for deployment in engine.deployments]
    raise CatalogError(
        f'there is no model "{name}" to reconnect to{suggestion(name, names)}\n'
        f"  models: {', '.join(names) or 'none'}\n"
        + "".join(f"  {problem}\n" for problem in problems)
        + "  without reconnect='true' it is deployed"
    )


def _replaced(known: Deployment, spec: ModelSpec) -> Deployment:
    """What takes the place of *known* under other options, which only loading puts in force."""
    options = given(spec.options)
    withheld = tuple(name for name in known.withheld if name not in options)
    return remembered.unloaded(spec, known.backend, known.model.dimension, withheld)


def _merged(known: Deployment, keys: Keys) -> ModelSpec:
    """The known deployment's spec, with what *keys* give over it."""
    spec, backend = known.spec, known.backend
    terms_said, rest = split_terms(keys.options, (backend.option_prefix, "backend."))
    names = _names(backend.options)
    said = {
        option_name(key, backend.option_prefix, names).lower(): value for key, value in rest.items()
    }
    for name in OPTIONS_WITHOUT_EFFECT.intersection(said) - names:
        del said[name]
    options = spec.options
    if said:
        given_options = {**given(spec.options), **said}
        options = read_options(backend.options, given_options, owner=f'backend "{backend.name}"')
    unused = generation.WITHOUT_EFFECT - _names(backend.sampling)
    defaults = {**spec.defaults, **{k: v for k, v in keys.defaults.items() if k not in unused}}
    read_options(backend.sampling, defaults, owner=f'model "{spec.name}"', prefix="gen.")
    priced = terms.read({**given(spec.terms), **terms_said}, None, ())
    return replace(spec, options=options, defaults=defaults, terms=priced)


def _names(options: type[Any]) -> set[str]:
    return {option.name for option in fields(options)}
