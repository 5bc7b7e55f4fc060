"""Which backend runs a model: the one its type names, the one that was asked for, the best one.

Reads names and kinds. Where the files are, and what the backend is told, is `choice`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from llmsql import backends
from llmsql.backends.base import Backend
from llmsql.errors import BackendError, suggestion, warn
from llmsql.sources import families
from llmsql.sources.families import Family
from llmsql.types import Kind

NOT_LOCAL = "saas/"
PREFERRED = "the setting infer_backend"


class Choice(NamedTuple):
    """A backend, and why it is the one."""

    backend: Backend
    why: str


def typed(model_type: str) -> Choice | None:
    """The backend that *model_type* names; BackendError for an API that nothing here speaks."""
    known = _types()
    wanted = model_type.lower()
    if wanted in known:
        return Choice(backends.get(known[wanted]), f"the type {wanted}")
    if wanted.startswith(NOT_LOCAL):
        raise _no_type(model_type, known)
    return None


def family(name: str, model_type: str) -> Family:
    """What *model_type* says about the local model that *name* is to be."""
    found = families.find(model_type)
    if found is None:
        if not model_type.lower().startswith(families.PREFIX):
            raise _no_type(model_type, [*families.names(), *_types()], families.FAMILIES)
        near = suggestion(model_type, families.names())
        warn(
            f'model "{name}": there is no model type "{model_type}"{near}\n'
            f"  its files decide, as for {families.AUTO}"
        )
        return Family()
    if found.purpose:
        raise BackendError(
            f'model type "{model_type}" is for {found.purpose}, which is not supported yet\n'
            f"  supported types: {', '.join(families.names())}"
        )
    return found


def named(demanded: str | None, preferred: str | None) -> Choice | None:
    """The backend that the statement demands, or the settings where it takes no local files."""
    if demanded:
        return Choice(backends.get(_own_name(demanded)), "infer_backend")
    name = _own_name(preferred or "")
    backend = backends.get(name) if name in backends.names() else None
    if backend is None or not (backend.is_remote or not backend.needs_source):
        return None
    return Choice(backend, PREFERRED)


def best(
    kind: Kind,
    own_kind: Kind | None,
    preferred: str | None,
    file_format: str = "directory",
    path: str = "",
    said: Mapping[str, Any] = MappingProxyType({}),
) -> Choice:
    """The backend for a local model: it runs the files, of *own_kind*, and what is wanted of them.

    A GGUF file goes to transformers, which converts it once, where that is installed, and to
    llama.cpp where it is not or where only llama.cpp makes *kind* of it: see `preference`. One that
    does not volunteer for the files at *path* with the options *said* has to be named.

    The settings' backend where it is one of these; BackendError where a chat model cannot have it
    because there is none of that name.
    """
    wished = _own_name(preferred or "")
    if kind == "chat" and wished and wished not in backends.names():
        backends.get(wished)  # says which there are
    fitting = []
    for name in backends.names():
        backend = backends.get(name)
        if backend.is_remote or not backend.needs_source or kind not in backend.kinds:
            continue
        if name == wished or backend.volunteers(path, said):
            unfit = file_format not in backend.file_formats, not _makes(backend, kind, own_kind)
            order = (backend.kinds.index(kind), backend.preference)
            fitting.append((unfit, name != wished, order, name))
    if not fitting:
        raise BackendError(f"no backend runs local models of kind {kind}")
    least, *_, first = min(fitting)
    if first == wished:
        return Choice(backends.get(wished), PREFERRED)
    # One that is here, and tries whatever it is given, is better than one that is not.
    able = [
        name
        for unfit, *_, name in sorted(fitting)
        if unfit == least or (unfit[0] == least[0] and not backends.get(name).file_kinds)
    ]
    chosen = next((name for name in able if backends.get(name).is_installed), first)
    return Choice(backends.get(chosen), f"the first installed of {', '.join(able)}")


def _makes(backend: Backend, kind: Kind, own_kind: Kind | None) -> bool:
    """True where *backend* makes *kind* of files that are of *own_kind*, as far as it says."""
    if own_kind is None:
        return True
    is_possible = kind != "chat" or own_kind == "chat"  # what only reads cannot be made to write
    return is_possible and own_kind in (backend.file_kinds or backend.kinds)


def _own_name(name: str) -> str:
    """*name* as backends are called here: without `ray/`, whatever the case and the hyphens."""
    plain = name.lower().removeprefix("ray/").replace("-", "_")
    same = [own for own in backends.names() if own.replace("_", "") == plain.replace("_", "")]
    same = same or [own for own in backends.names() if plain in backends.get(own).other_names]
    return same[0] if same else plain


def _types() -> dict[str, str]:
    """Each model type that names a backend, with that backend's name."""
    return {kind: name for name in backends.names() for kind in backends.get(name).model_types}


def _no_type(model_type: str, known: Iterable[str], short: Iterable[str] = ()) -> BackendError:
    known = list(known)
    return BackendError(
        f'there is no model type "{model_type}"{suggestion(model_type, [*known, *short])}\n'
        f"  types: {', '.join(dict.fromkeys([families.AUTO, *known]))}"
    )
