"""`!llm setup`: the settings of the connection. Spec C01 to C07."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from llmsql.config import ELSEWHERE, RESOURCE, WITHOUT_EFFECT, Settings
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
        """Reset the settings; one row each."""
        return _reset(connection)


@dataclass(frozen=True)
class SetupSft(Statement):
    """Put every setting back, then say that training runs where the data is."""

    syntax: ClassVar[str] = "!llm setup sft"

    def run(self, connection: Connection) -> Rows:
        """Reset the settings and let training run; one row each."""
        return _reset(connection, runIn="executor")


@dataclass(frozen=True)
class SetupSfft(Statement):
    """Put every setting back, then say that full training runs where the data is."""

    syntax: ClassVar[str] = "!llm setup sfft"

    def run(self, connection: Connection) -> Rows:
        """Reset the settings and let training run; one row each."""
        return _reset(connection, runIn="executor")


@dataclass(frozen=True)
class SetupData(Statement):
    """Put every setting back, then those for working on data without a GPU."""

    syntax: ClassVar[str] = "!llm setup data"

    def run(self, connection: Connection) -> Rows:
        """Reset the settings, without a GPU; one row each."""
        return _reset(connection, dataMode="data", num_gpus="0", runIn="executor")


@dataclass(frozen=True)
class SetupRetrieval(Statement):
    """Put every setting back, then those for looking things up without a GPU."""

    syntax: ClassVar[str] = "!llm setup retrieval"

    def run(self, connection: Connection) -> Rows:
        """Reset the settings, without a GPU; one row each."""
        return _reset(connection, **_RETRIEVAL)


@dataclass(frozen=True)
class SetupRetrievalData(Statement):
    """Put every setting back, then those for filling what retrieval looks things up in."""

    syntax: ClassVar[str] = "!llm setup retrieval/data"

    def run(self, connection: Connection) -> Rows:
        """Reset the settings, without a GPU; one row each."""
        return _reset(connection, **_RETRIEVAL, dataMode="data", runIn="executor")


@dataclass(frozen=True)
class Setup(Statement):
    """Change one setting: a key, `=`, a value, in quotes."""

    syntax: ClassVar[str] = "!llm setup <setting>"
    setting: str

    def run(self, connection: Connection) -> Rows:
        """Check key and value, change the setting and show it."""
        key, equals, value = (part.strip() for part in self.setting.partition("="))
        if not equals:
            raise OptionError(
                f'a setting is written "key=value", not "{self.setting}"\n'
                '  !llm setup "num_gpus=1";'
            )
        changed = connection.settings.changed(key, value)
        field = Settings.field(key)
        if field in WITHOUT_EFFECT or field.startswith(RESOURCE):
            warn(f'setting "{key}" is kept, but has no effect here')
        connection.change_settings(changed)
        return Rows(COLUMNS, [(k, v) for k, v in changed.rows() if k == field])


_RETRIEVAL = {"rayAddress": "worker", "num_gpus": "0", "schema": "st(field(value,string))"}


def _reset(connection: Connection, **changes: str) -> Rows:
    """Put every setting back, then make *changes*; says which other settings were put back."""
    before, settings = dict(connection.settings.rows()), Settings.from_environment()
    fresh = dict(settings.rows())
    others = [k for k, v in before.items() if fresh.get(k) != v and k not in ELSEWHERE]
    for key, value in changes.items():
        settings = settings.changed(key, value)
    connection.change_settings(settings)
    if others:
        warn(f"every setting is back at its default, {', '.join(others)} too")
    return Rows(COLUMNS, settings.rows())
