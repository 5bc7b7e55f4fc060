"""Backends, found by name: `llmsql.backends.NAME`, or the entry point NAME of a stranger's package.

A backend is one file with a class `Backend`, and nothing here names one. All are made of `base`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import pkgutil
import sys
from functools import cache

from llmsql.backends.base import Backend
from llmsql.errors import BackendError, suggestion

ENTRY_POINTS = "llmsql.backends"


def names() -> list[str]:
    """Every backend's name, sorted; nothing is imported to find them."""
    return list(_names(tuple(map(_state, sys.path))))


@cache
def _names(_: tuple[object, ...]) -> tuple[str, ...]:
    """The names where packages come from folders of this state: reading all of them takes 20 ms."""
    own = {module.name for module in pkgutil.iter_modules(__path__)} - {"base"}
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return tuple(sorted(own | {point.name for point in points}))


def _state(folder: str) -> tuple[str, int]:
    """*folder* and its time, which changes when a package is installed there or goes."""
    try:
        return folder, os.stat(folder or ".").st_mtime_ns
    except OSError:
        return folder, 0


@cache
def get(name: str) -> Backend:
    """Return the backend called *name*; raises BackendError with the nearest name."""
    known = names()
    if name not in known:
        raise BackendError(
            f'there is no backend "{name}"{suggestion(name, known)}\n'
            f"  backends: {', '.join(known)} (!llm backends describes them)"
        )
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS, name=name):
        return _made(name, point.load())
    return _made(name, importlib.import_module(f"{__name__}.{name}").Backend)


def _made(name: str, cls: type[Backend]) -> Backend:
    backend = cls()
    backend.name = name
    return backend
