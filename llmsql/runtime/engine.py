"""One database and what belongs to it: the root connection, the deployments, the SQL functions.

A function is registered on the root connection, where every connection of the database sees it, and
is kept alive as long as the database: DuckDB crashes when one goes with a cursor.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import duckdb

from llmsql.runtime.collector import Collector
from llmsql.runtime.deployments import Deployments

NATIVE_PREFIX = "system.main."


class SqlFunction(Protocol):
    """What the engine registers: an Arrow callable, its name, its arguments and its type."""

    name: str

    @property
    def signatures(self) -> tuple[tuple[str, ...], ...]: ...

    @property
    def return_type(self) -> str: ...

    @property
    def __call__(self) -> Callable[..., Any]: ...


class Engine:
    """The runtime of one database; connections to the same database share it."""

    _by_database: dict[str, Engine] = {}
    _alive: weakref.WeakSet[Engine] = weakref.WeakSet()
    _class_lock = threading.Lock()

    def __init__(self, database: str, *, read_only: bool, config: Mapping[str, Any]) -> None:
        self.root = duckdb.connect(database, read_only=read_only, config=dict(config))
        self.deployments = Deployments()
        self.functions: dict[str, SqlFunction] = {}
        self.primitives: frozenset[str] = frozenset()
        self.collectors: dict[int, Collector] = {}
        self.version = 0
        self.users = 0
        self.children: weakref.WeakSet[Any] = weakref.WeakSet()
        self._database = database
        self._lock = threading.RLock()
        Engine._alive.add(self)

    @classmethod
    def open(
        cls,
        database: str,
        *,
        read_only: bool,
        config: Mapping[str, Any],
        primitives: Callable[[Engine], list[SqlFunction]],
    ) -> Engine:
        """Return the engine of *database*, made with *primitives* if nobody has it open here."""
        key = _key(database)
        with cls._class_lock:
            engine = cls._by_database.get(key) if key else None
            if engine is None:
                engine = cls(database, read_only=read_only, config=config)
                for function in primitives(engine):
                    engine.define(function)
                engine.primitives = frozenset(engine.functions)
                if key:
                    cls._by_database[key] = engine
            engine.users += 1
            return engine

    def release(self) -> None:
        """Give the engine back; the last user's call closes it."""
        with Engine._class_lock:
            self.users -= 1
            if self.users > 0:
                return
            Engine._by_database.pop(_key(self._database) or "", None)
        self.close()

    def define(self, function: SqlFunction) -> None:
        """Register *function*, in place of an earlier one of ours by that name."""
        with self._lock:
            key = function.name.lower()
            old = self.functions.get(key)
            if old is not None:
                self.root.remove_function(old.name)
            try:
                self._register(function)
            except Exception:
                if old is not None:
                    self._register(old)
                raise
            self.functions[key] = function
            self.version += 1

    def drop(self, name: str) -> None:
        """Unregister the function *name*."""
        with self._lock:
            function = self.functions.pop(name.lower())
            self.root.remove_function(function.name)
            self.version += 1

    def close(self) -> None:
        """Unload every model, unregister every function, close the root connection."""
        for child in list(self.children):
            child.close_native()
        with self._lock:
            for deployment in self.deployments:
                self.deployments.take(deployment.name).unload()
            for function in self.functions.values():
                self.root.remove_function(function.name)
            self.functions.clear()
            self.root.close()
        Engine._alive.discard(self)

    @property
    def model_names(self) -> frozenset[str]:
        """The names of the functions that call models, in lower case."""
        return frozenset(self.functions)

    def _register(self, function: SqlFunction) -> None:
        self.root.create_function(
            function.name,
            function,
            None,
            function.return_type,
            type="arrow",
            null_handling="special",
            side_effects=False,
        )


def _key(database: str) -> str | None:
    """What names the database in this process; None where every connection has its own."""
    if database in ("", ":memory:"):
        return None
    return database if database.startswith(":memory:") else os.path.realpath(database)


@atexit.register
def _close_all() -> None:
    """DuckDB 2.0 prints a page about leaks at exit if a function is still registered then."""
    for engine in list(Engine._alive):
        engine.close()
