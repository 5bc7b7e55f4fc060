"""What happened and what there is, as tables: one file here is one table, with a class `Table`.

A table NAME is the function `llmsql_NAME`, which returns its rows as one list; the macro `llm_NAME`
in `udfs/records` unnests it.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmsql.functions.tables.base import TableFunction
    from llmsql.runtime.engine import Engine


def tables(engine: Engine) -> list[TableFunction]:
    """One of every table, for *engine*."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base")
    return [importlib.import_module(f"{__name__}.{name}").Table(engine) for name in names]
