"""The primitives: one file here is one SQL function `llm_NAME`, with a class `Function`.

Those of a kind of model also serve each deployed model of that kind. `fields` calls no model, but
makes prompts for one.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmsql.runtime.engine import Engine, SqlFunction


def primitives(engine: Engine) -> list[SqlFunction]:
    """One of every primitive, for *engine*."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [importlib.import_module(f"{__name__}.{name}").Function(engine) for name in names]
