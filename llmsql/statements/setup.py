"""`!llm setup`: the settings of the connection. Spec C01, C07."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from llmsql.config import WITHOUT_EFFECT, Settings
from llmsql.errors import OptionError, warn
from llmsql.statements.base import Rows, Statement

if TYPE_CHECKING:
    from llmsql.connection import Connection

COLUMNS = ("k text", "v text")


@dataclass(frozen=True)
class SetupSingle(Statement):
    """Put every setting back to its default for one machine, and show them all."""

    syntax: ClassVar[str] = "!llm setup single"

    def run(self, connection: Connection) -> Rows:
        """Reset the settings; the folder of own SQL functions stays."""
        kept = connection.settings.udf_folder
        connection.change_settings(replace(Settings.from_environment(), udf_folder=kept))
        return Rows(COLUMNS, connection.settings.rows())


@dataclass(frozen=True)
class Setup(Statement):
    """Change one setting: a key, `=`, a value, in quotes."""

    syntax: ClassVar[str] = "!llm setup <setting>"
    setting: str

    def run(self, connection: Connection) -> Rows:
        """Check key and value, change the setting and show it."""
        key, equals, value = self.setting.partition("=")
        if not equals:
            raise OptionError(
                f'a setting is written "key=value", not "{self.setting}"\n'
                '  !llm setup "num_gpus=1";'
            )
        changed = connection.settings.changed(key.strip(), value.strip())
        if Settings.field(key.strip()) in WITHOUT_EFFECT:
            warn(f'setting "{key.strip()}" is kept, but has no effect here')
        before = dict(connection.settings.rows())
        connection.change_settings(changed)
        shown = [(k, v) for k, v in changed.rows() if before[k] != v]
        return Rows(COLUMNS, shown or [(key.strip(), value.strip())])
