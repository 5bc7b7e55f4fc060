"""llmsql: language models as SQL functions in DuckDB.

    import llmsql
    con = llmsql.connect()

Everything is found on first use: importing llmsql costs importing DuckDB.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import duckdb

__version__ = "0.1.0"

apilevel = duckdb.apilevel
threadsafety = duckdb.threadsafety
paramstyle = duckdb.paramstyle

_HOMES = {
    "connect": "connection",
    "Connection": "connection",
    "load_ipython_extension": "magic",
    **dict.fromkeys(
        (
            "LlmsqlError",
            "StatementError",
            "CatalogError",
            "OptionError",
            "BackendError",
            "GenerationError",
            "LimitError",
            "ClosedError",
            "LlmsqlWarning",
        ),
        "errors",
    ),
}
_DB_API = frozenset(
    [
        "Warning",
        "Error",
        "InterfaceError",
        "DatabaseError",
        "DataError",
        "OperationalError",
        "IntegrityError",
        "InternalError",
        "ProgrammingError",
        "NotSupportedError",
    ]
)

if TYPE_CHECKING:
    from llmsql.connection import Connection, connect
    from llmsql.errors import (
        BackendError,
        CatalogError,
        ClosedError,
        GenerationError,
        LimitError,
        LlmsqlError,
        LlmsqlWarning,
        OptionError,
        StatementError,
    )
    from llmsql.magic import load_ipython_extension

__all__ = [
    "BackendError",
    "CatalogError",
    "ClosedError",
    "Connection",
    "GenerationError",
    "LimitError",
    "LlmsqlError",
    "LlmsqlWarning",
    "OptionError",
    "StatementError",
    "apilevel",
    "connect",
    "load_ipython_extension",
    "paramstyle",
    "threadsafety",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"llmsql.{_HOMES[name]}"), name)
    if name in _DB_API:
        return getattr(duckdb, name)
    raise AttributeError(f"module 'llmsql' has no attribute {name!r}")
