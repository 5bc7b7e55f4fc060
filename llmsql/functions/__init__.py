"""SQL functions that call models: the primitives, and one for each deployed model.

A primitive is one file here, found by its name, with a class `Function`. `fields` calls no model,
but makes prompts for one.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmsql.functions.base import ModelFunction
    from llmsql.runtime.engine import Engine, SqlFunction

_NOT_PRIMITIVES = (
    "base", "captured", "columns", "fields", "library", "policy", "replies", "tables", "wishes",
)  # fmt: skip


def classes() -> list[type[ModelFunction]]:
    """The class of every primitive."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _NOT_PRIMITIVES)
    return [importlib.import_module(f"{__name__}.{name}").Function for name in names]


def primitives(engine: Engine) -> list[SqlFunction]:
    """One of every primitive, for *engine*, and what makes prompts for them."""
    from llmsql.functions import fields

    return [*(cls(engine) for cls in classes()), fields.Function(engine)]
