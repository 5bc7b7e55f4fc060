"""`!llm model`: the deployed models. Spec C08, C09."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from llmsql.runtime.deployments import Deployment
from llmsql.statements.base import Rows, Statement

if TYPE_CHECKING:
    from llmsql.connection import Connection

COLUMNS = (
    "name text",
    "kind text",
    "backend text",
    "replicas integer",
    "device text",
    "seconds number",
)


def row(deployment: Deployment) -> tuple[object, ...]:
    """A deployed model as a row."""
    spec = deployment.spec
    seconds = round(deployment.seconds, 3)
    return (spec.name, spec.kind, spec.backend, spec.replicas, deployment.model.device, seconds)


@dataclass(frozen=True)
class ModelList(Statement):
    """Show the deployed models."""

    syntax: ClassVar[str] = "!llm model list"

    def run(self, connection: Connection) -> Rows:
        """One row a model, with what it was deployed from."""
        deployments = connection.engine.deployments
        rows = [(*row(d), d.spec.source or None) for d in deployments]
        return Rows((*COLUMNS, "source text"), rows)


@dataclass(frozen=True)
class ModelExists(Statement):
    """Tell whether a model of that name is deployed."""

    syntax: ClassVar[str] = "!llm model exists <name>"
    name: str

    def run(self, connection: Connection) -> Rows:
        """One row: true or false."""
        return Rows(("value boolean",), [(self.name in connection.engine.deployments,)])


@dataclass(frozen=True)
class ModelRemove(Statement):
    """Unload a model and drop its SQL function."""

    syntax: ClassVar[str] = "!llm model remove <name>"
    name: str

    def run(self, connection: Connection) -> Rows:
        """Return the row of the model that went."""
        connection.refuse_in_transaction("remove a model")
        deployment = connection.engine.deployments.take(self.name)
        connection.engine.drop(deployment.name)
        deployment.retire()
        return Rows(COLUMNS, [row(deployment)])
