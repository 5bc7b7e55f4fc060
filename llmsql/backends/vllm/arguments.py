"""The engine arguments of the installed vLLM, read from its source: importing it takes seconds.

Knows their names, and the types of the simple ones. What a value means, and whether it fits the
others, vLLM says when the model loads.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import importlib.util
from collections.abc import Mapping
from dataclasses import field, make_dataclass
from functools import cache
from pathlib import Path
from typing import Any

_SOURCE = "engine/arg_utils.py"
_CLASS = "EngineArgs"
OURS = frozenset({"model", "model_weights", "served_model_name", "runner", "convert", "hf_token"})
"""Arguments that the statement's own keys decide, and one for fetching, which is not done."""

_TYPES: dict[str, Any] = {"int": int | None, "float": float | None, "bool": bool | None}


@cache
def known() -> Mapping[str, Any]:
    """Each engine argument with the type it takes; a text where only vLLM can tell.

    Empty where vLLM is not installed.
    """
    spec = importlib.util.find_spec("vllm")
    for folder in (spec and spec.submodule_search_locations) or ():
        tree = ast.parse((Path(folder) / _SOURCE).read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == _CLASS:
                return dict(_arguments(node))
    return {}


def _arguments(node: ast.ClassDef) -> list[tuple[str, Any]]:
    fields = [
        (line.target.id, ast.unparse(line.annotation))
        for line in node.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    ]
    return [
        (name, _TYPES.get(annotation.removesuffix(" | None"), str | None))
        for name, annotation in fields
        if name not in OURS and not name.startswith("_")
    ]


def opened(options: Any, given: Mapping[str, Any]) -> type[Any]:
    """Return *options* with a field for each engine argument that *given* names, or nearly names.

    The near ones are there to be suggested.
    """
    own = {own.name for own in dataclasses.fields(options)}
    names: dict[str, None] = {}
    for key in given:
        if key.lower() not in own:
            near = difflib.get_close_matches(key.lower(), known(), 1)
            names |= dict.fromkeys([key.lower()] if key.lower() in known() else near)
    return _opened(options, tuple(sorted(names))) if names else options


def given(options: Any, own: type[Any]) -> dict[str, Any]:
    """Return those of *options* that were given beyond the fields of *own*."""
    fields = {option.name for option in dataclasses.fields(own)}
    others = [option.name for option in dataclasses.fields(options) if option.name not in fields]
    return {name: value for name in others if (value := getattr(options, name)) is not None}


@cache
def _opened(options: Any, names: tuple[str, ...]) -> type[Any]:
    fields = [(name, known()[name], field(default=None)) for name in names if name in known()]
    return make_dataclass("Options", fields, bases=(options,), frozen=True)
