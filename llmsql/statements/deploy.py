"""`RUN command AS LLM`: deploy a model as a SQL function. Spec R01, C07."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from llmsql.errors import StatementError, warn
from llmsql.functions import of_kind
from llmsql.runtime.deployments import Deployment
from llmsql.statements.base import Rows, Statement
from llmsql.statements.choice import Request
from llmsql.statements.model import COLUMNS, row
from llmsql.syntax import tree

if TYPE_CHECKING:
    from llmsql.connection import Connection


@dataclass(frozen=True)
class Deploy(Statement):
    """Deploy a model as a SQL function: a local directory, a packaged name, or a remote API."""

    syntax: ClassVar[str] = "RUN command AS LLM[.`<path>`] WHERE <pairs> [AS <out>]"
    pairs: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None
    out: str | None = None

    def run(self, connection: Connection) -> Rows:
        """Load the model, then let it serve in place of one of that name; returns its row."""
        request = Request.read(self.pairs, self.path or "", connection.settings)
        connection.refuse_in_transaction("deploy a model")
        _check_name(request.name, connection)
        deployments = connection.engine.deployments
        with deployments.loading(request.name):
            spec, backend = request.resolved()
            deployment = deployments.load(spec, backend)
            _serve(deployment, connection)
        if note := getattr(deployment.model, "note", ""):
            warn(f'model "{spec.name}": {note}')
        rows = Rows(COLUMNS, [row(deployment)])
        if self.out:
            connection.keep(rows, self.out)
        return rows


def _check_name(name: str, connection: Connection) -> None:
    """Refuse a name that cannot be called, or that means something else already."""
    if not name.isidentifier() or name.lower() in tree.reserved():
        raise StatementError(
            f'udfName "{name}" cannot be the name of a SQL function\n'
            "  use letters, digits and _, beginning with a letter, and no reserved word"
        )
    engine = connection.engine
    if name.lower() in engine.primitives or name.lower() in tree.builtins():
        raise StatementError(
            f'udfName "{name}" would shadow the function {name.lower()}() of DuckDB or llmsql\n'
            "  choose another name"
        )
    if name.lower() not in engine.functions and connection.has_macro(name):
        raise StatementError(
            f'udfName "{name}" would shadow a macro of this database\n'
            f'  choose another name, or DROP MACRO "{name}"'
        )


def _serve(deployment: Deployment, connection: Connection) -> None:
    """Put *deployment* in the place of an earlier one, and its function with it."""
    engine = connection.engine
    replaced = engine.deployments.put(deployment)
    function = of_kind(deployment.spec.kind)(engine, deployment.name)
    old = engine.functions.get(deployment.name.lower())
    try:
        if type(old) is not type(function) or _returned(replaced) != _returned(deployment):
            engine.define(function)
    except Exception:
        if replaced is not None:
            engine.deployments.put(replaced)
        else:
            engine.deployments.take(deployment.name)
        deployment.retire()
        raise
    if replaced is not None:
        replaced.retire()


def _returned(deployment: Deployment | None) -> tuple[object, ...]:
    """What decides the type a deployment's function returns."""
    if deployment is None:
        return ()
    return (deployment.spec.kind, deployment.model.dimension)
