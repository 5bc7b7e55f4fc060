"""Where DuckDB finds a caller's DataFrames: in the frame that its method is called from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_CALL = compile("__llmsql_call__()", "<llmsql>", "eval")


@dataclass(frozen=True)
class Scope:
    """The variables a statement may read as tables: the caller's, as for DuckDB itself."""

    globals: dict[str, Any] = field(default_factory=dict)
    locals: dict[str, Any] = field(default_factory=dict)

    def call(self, function: Callable[[], Any]) -> Any:
        """Call *function* so that DuckDB finds these variables in the calling frame."""
        return eval(_CALL, self.globals, {**self.locals, "__llmsql_call__": function})

    def variables(self) -> dict[str, Any]:
        return {**self.globals, **self.locals}
