"""`RUN command AS LLM`: deploy a model as a SQL function. Spec R01."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from llmsql.catalog import secrets
from llmsql.errors import StatementError, warn
from llmsql.runtime import remembered
from llmsql.runtime.deployments import Deployment, load_model
from llmsql.statements import reconnect
from llmsql.statements.base import Rows, Statement
from llmsql.statements.choice import Request
from llmsql.statements.model import COLUMNS, row
from llmsql.workspace import Workspace


@dataclass(frozen=True)
class Deploy(Statement):
    """Deploy a model as a SQL function: a local directory, a packaged name, or a remote API."""

    syntax: ClassVar[str] = "RUN command AS LLM[.`<path>`] WHERE <pairs> [AS <out>]"
    expands: ClassVar[bool] = False  # `run` does it
    pairs: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None
    out: str | None = None

    def run(self, workspace: Workspace) -> Rows:
        """Load the model, then let it serve in place of one of that name; returns its row."""
        expand = workspace.variables.expand
        pairs = {key: _expanded(key, value, expand) for key, value in self.pairs.items()}
        out = expand(self.out or "")
        if reconnect.is_wanted(pairs):
            return _shown(workspace, reconnect.run(pairs, workspace), out)
        request = Request.read(pairs, expand(self.path or ""), workspace.settings)
        workspace.refuse_in_transaction("deploy a model")
        _check_name(request.name, workspace)
        deployments = workspace.engine.deployments
        before = deployments.get(request.name).spec.kind if request.name in deployments else None
        with deployments.loading(request.name):
            spec, backend = request.resolved()
            deployment = Deployment.loaded(spec, backend, load_model)
            workspace.engine.serve(deployment)
            remembered.remember(workspace.engine, deployment)
        if before not in (None, spec.kind):
            warn(f'model "{spec.name}" was of kind {before}, and is of kind {spec.kind} now')
        if note := deployment.model.note:
            warn(f'model "{spec.name}": {note}')
        if request.wants_gpu and deployment.model.device == "cpu" and not backend.is_remote:
            warn(
                f'model "{spec.name}" runs on the CPU, though num_gpus is {spec.gpus:g}\n'
                "  set num_gpus='0' where that is meant"
            )
        return _shown(workspace, deployment, out)


def _shown(workspace: Workspace, deployment: Deployment, out: str) -> Rows:
    rows = Rows(COLUMNS, [row(deployment)])
    if out:
        workspace.keep(rows.table(), out)
    return rows


def _expanded(key: str, value: str, expand: Callable[[str], str]) -> str:
    """*value* without `${name}`; a key that the environment holds is to be remembered as such."""
    is_kept = secrets.variable(value) is not None and secrets.is_secret_name(key)
    return value if is_kept else expand(value)


def _check_name(name: str, workspace: Workspace) -> None:
    """Refuse a name that cannot be called, or that means something else already."""
    workspace.engine.check_name(name)
    workspace.session.sync()  # the macro of a model that was removed is ours
    if name.lower() not in workspace.engine.functions and workspace.has_macro(name):
        raise StatementError(
            f'udfName "{name}" would shadow a macro of this database\n'
            f'  choose another name, or DROP MACRO "{name}"'
        )
