"""`!llm setup`: the settings of the connection. Spec C01 to C07."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from llmsql.config import (
    ELSEWHERE,
    OF_DEPLOYMENTS,
    OF_STATEMENTS,
    RESOURCE,
    WITHOUT_EFFECT,
    Settings,
)
from llmsql.errors import OptionError, warn
from llmsql.statements import terms
from llmsql.statements.base import Rows, Statement
from llmsql.workspace import Workspace

COLUMNS = ("k text", "v text")


@dataclass(frozen=True)
class SetupShow(Statement):
    """Show every setting, and change none."""

    syntax: ClassVar[str] = "!llm setup"

    def run(self, workspace: Workspace) -> Rows:
        """One row each."""
        return Rows(COLUMNS, workspace.settings.rows())


@dataclass(frozen=True)
class SetupSingle(Statement):
    """Put every setting back to its default for one machine, and show them all."""

    syntax: ClassVar[str] = "!llm setup single"

    def run(self, workspace: Workspace) -> Rows:
        """Reset the settings; one row each."""
        return _reset(workspace)


@dataclass(frozen=True)
class SetupSft(Statement):
    """Put every setting back, then say that training runs where the data is."""

    syntax: ClassVar[str] = "!llm setup sft"

    def run(self, workspace: Workspace) -> Rows:
        """Reset the settings and let training run; one row each."""
        return _reset(workspace, runIn="executor")


@dataclass(frozen=True)
class SetupSfft(Statement):
    """Put every setting back, then say that full training runs where the data is."""

    syntax: ClassVar[str] = "!llm setup sfft"

    def run(self, workspace: Workspace) -> Rows:
        """Reset the settings and let training run; one row each."""
        return _reset(workspace, runIn="executor")


@dataclass(frozen=True)
class SetupData(Statement):
    """Put every setting back, then those for working on data without a GPU."""

    syntax: ClassVar[str] = "!llm setup data"

    def run(self, workspace: Workspace) -> Rows:
        """Reset the settings, without a GPU; one row each."""
        return _reset(workspace, dataMode="data", num_gpus="0", runIn="executor")


@dataclass(frozen=True)
class SetupRetrieval(Statement):
    """Put every setting back, then those for looking things up without a GPU."""

    syntax: ClassVar[str] = "!llm setup retrieval"

    def run(self, workspace: Workspace) -> Rows:
        """Reset the settings, without a GPU; one row each."""
        return _reset(workspace, **_RETRIEVAL)


@dataclass(frozen=True)
class SetupRetrievalData(Statement):
    """Put every setting back, then those for filling what retrieval looks things up in."""

    syntax: ClassVar[str] = "!llm setup retrieval/data"

    def run(self, workspace: Workspace) -> Rows:
        """Reset the settings, without a GPU; one row each."""
        return _reset(workspace, **_RETRIEVAL, dataMode="data", runIn="executor")


@dataclass(frozen=True)
class Setup(Statement):
    """Change one setting: a key, `=`, a value, in quotes."""

    syntax: ClassVar[str] = "!llm setup <setting>"
    setting: str

    def run(self, workspace: Workspace) -> Rows:
        """Check key and value, change the setting and show it."""
        before = workspace.settings
        field, changed = _changed(self.setting, before)
        workspace.change_settings(changed, field)
        has_models = any(workspace.engine.deployments)
        if field in OF_DEPLOYMENTS and changed != before and has_models:
            warn(
                f'setting "{field}" is for models that are deployed from now on\n'
                "  RUN a model again for it to count there"
            )
        return Rows(COLUMNS, [(k, v) for k, v in changed.rows() if k == field])


@dataclass(frozen=True)
class SetupNext(Statement):
    """Change one setting for the next statement that calls models, and for no other."""

    syntax: ClassVar[str] = "!llm setup next <setting>"
    setting: str

    def run(self, workspace: Workspace) -> Rows:
        """Check key and value and show them; several such statements add up."""
        field, changed = _changed(self.setting, workspace.next_settings)
        if field not in OF_STATEMENTS:
            raise OptionError(
                f'setting "{field}" is not one of a statement\n  those are '
                + ", ".join(sorted(OF_STATEMENTS))
            )
        workspace.next_settings = changed
        return Rows(COLUMNS, [(k, v) for k, v in changed.rows() if k == field])


_RETRIEVAL = {"rayAddress": "worker", "num_gpus": "0", "schema": "st(field(value,string))"}


def _changed(setting: str, settings: Settings) -> tuple[str, Settings]:
    """The setting that *setting* names, and *settings* with it changed."""
    key, equals, value = (part.strip() for part in setting.partition("="))
    if not equals:
        raise OptionError(
            f'a setting is written "key=value", not "{setting}"\n  !llm setup "num_gpus=1";'
        )
    changed, field = settings.changed(key, value), Settings.field(key)
    if field in WITHOUT_EFFECT or field.startswith(RESOURCE):
        warn(f'setting "{key}" is kept, but has no effect here')
    if field == "prices" and value:
        terms.check(value)
    return field, changed


def _reset(workspace: Workspace, **changes: str) -> Rows:
    """Put every setting back, then make *changes*; says which other settings were put back."""
    before, settings = dict(workspace.settings.rows()), Settings.from_environment()
    fresh = dict(settings.rows())
    others = [k for k, v in before.items() if fresh.get(k) != v and k not in ELSEWHERE]
    for key, value in changes.items():
        settings = settings.changed(key, value)
    workspace.change_settings(settings)
    if others:
        warn(f"every setting is back at its default, {', '.join(others)} too")
    return Rows(COLUMNS, settings.rows())
