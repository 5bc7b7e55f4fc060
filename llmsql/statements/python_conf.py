"""`!python conf`: the older spelling of `!llm setup`. Spec D11."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from llmsql.statements.base import Rows, Statement
from llmsql.statements.setup import Setup
from llmsql.workspace import Workspace


@dataclass(frozen=True)
class PythonConf(Statement):
    """Change one setting, as older Byzer scripts do: `!llm setup` is the same."""

    syntax: ClassVar[str] = "!python conf <setting>"
    is_byzer: ClassVar[bool] = True
    setting: str

    def run(self, workspace: Workspace) -> Rows:
        """As `!llm setup`."""
        return Setup(self.setting).run(workspace)
