"""`!python conf`: the older spelling of `!llm setup`. Spec D11."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from llmsql.statements.base import Rows, Statement
from llmsql.statements.setup import Setup

if TYPE_CHECKING:
    from llmsql.connection import Connection


@dataclass(frozen=True)
class PythonConf(Statement):
    """Change one setting, as older Byzer scripts do: `!llm setup` is the same."""

    syntax: ClassVar[str] = "!python conf <setting>"
    is_byzer: ClassVar[bool] = True
    setting: str

    def run(self, connection: Connection) -> Rows:
        """As `!llm setup`."""
        return Setup(self.setting).run(connection)
