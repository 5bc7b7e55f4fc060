"""`!llm model`: the deployed models. Spec C08, C09, O03."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from llmsql.runtime import remembered, scheduler
from llmsql.runtime.answers import Answers
from llmsql.runtime.deployments import Deployment
from llmsql.statements.base import Rows, Statement
from llmsql.workspace import Workspace

COLUMNS = (
    "name text",
    "kind text",
    "backend text",
    "replicas integer",
    "device text",
    "seconds number",
)
REMEMBERED = "remembered by the database"
STATISTICS = (
    "name text",
    "total_workers integer",
    "busy_workers integer",
    "idle_workers integer",
    "requests integer",
    "failed integer",
    "known_answers integer",
    "seconds number",
    "device text",
)


def row(deployment: Deployment) -> tuple[object, ...]:
    """A deployed model as a row; it has neither device nor seconds until it is loaded."""
    spec, model = deployment.spec, deployment.model
    device = model.device if deployment.is_loaded else None
    return (spec.name, spec.kind, spec.backend, spec.replicas, device, _seconds(deployment))


def _seconds(deployment: Deployment) -> float | None:
    return None if deployment.seconds is None else round(deployment.seconds, 3)


@dataclass(frozen=True)
class ModelList(Statement):
    """Show the deployed models."""

    syntax: ClassVar[str] = "!llm model list"

    def run(self, workspace: Workspace) -> Rows:
        """One row a model, with what it was deployed from, and why it has this backend.

        A remembered one may not be loaded.
        """
        deployments = workspace.engine.deployments
        rows = [
            (*row(d), d.spec.source or None, d.spec.why or REMEMBERED, d.is_loaded)
            for d in deployments
        ]
        return Rows((*COLUMNS, "source text", "why text", "is_loaded boolean"), rows)


@dataclass(frozen=True)
class ModelExists(Statement):
    """Tell whether a model of that name is deployed."""

    syntax: ClassVar[str] = "!llm model exists <name>"
    name: str

    def run(self, workspace: Workspace) -> Rows:
        """One row: true or false."""
        return Rows(("value boolean",), [(self.name in workspace.engine.deployments,)])


@dataclass(frozen=True)
class ModelRemove(Statement):
    """Unload a model and let the database forget it; its SQL function is an error then."""

    syntax: ClassVar[str] = "!llm model remove <name>"
    name: str

    def run(self, workspace: Workspace) -> Rows:
        """Return the row of the model that went."""
        workspace.refuse_in_transaction("remove a model")
        engine = workspace.engine
        with engine.deployments.loading(self.name):  # what is being reloaded would come back
            deployment = engine.deployments.take(self.name)
            engine.drop(deployment.name)
            remembered.forget(engine, deployment.name)
        deployment.retire()
        return Rows(COLUMNS, [row(deployment)])


@dataclass(frozen=True)
class ModelReload(Statement):
    """Load a model afresh while the old one serves, then let it take its place."""

    syntax: ClassVar[str] = "!llm model reload <name>"
    name: str

    def run(self, workspace: Workspace) -> Rows:
        """Return the row of the fresh model; where it fails to load, the old one stays."""
        workspace.refuse_in_transaction("reload a model")
        engine = workspace.engine
        with engine.deployments.loading(self.name):
            deployment = remembered.reloaded(engine.deployments.get(self.name))
            engine.serve(deployment)
            remembered.remember(engine, deployment)
        return Rows(COLUMNS, [row(deployment)])


@dataclass(frozen=True)
class ModelCheck(Statement):
    """Ask a model one tiny thing, to see that it answers."""

    syntax: ClassVar[str] = "!llm model check <name>"
    name: str

    def run(self, workspace: Workspace) -> Rows:
        """Return what it answered and how long that took, loading included; raises its error."""
        deployment = workspace.engine.deployments.get(self.name)
        kind, started = deployment.spec.kind, time.perf_counter()
        key, shown = _QUESTIONS[kind]
        sampling = deployment.backend.sampling(max_tokens=1) if kind == "chat" else None
        answers = Answers(sampling)  # its own: a known answer would prove nothing
        collector = workspace.engine.detached(cache="off")
        collector.demand(answers, [key])
        scheduler.resolve(deployment, {answers: {key: -1}}, collector)
        seconds = round(time.perf_counter() - started, 3)
        columns = ("name text", "kind text", "ok boolean", "seconds number", "answer text")
        answer = shown(answers.known[key])
        return Rows(columns, [(deployment.name, kind, True, seconds, answer)])


@dataclass(frozen=True)
class ModelStat(Statement):
    """Show how busy the models are and what they did, or one of them."""

    syntax: ClassVar[str] = "!llm model stat [<name>]"
    name: str | None = None

    def run(self, workspace: Workspace) -> Rows:
        """One row a model; a model that is not loaded has no workers."""
        deployments = workspace.engine.deployments
        chosen = [deployments.get(self.name)] if self.name else list(deployments)
        return Rows(STATISTICS, [_statistics(deployment) for deployment in chosen])


def _statistics(deployment: Deployment) -> tuple[object, ...]:
    workers = deployment.spec.replicas if deployment.is_loaded else 0
    busy = workers if deployment.is_busy else 0  # each has its part of what is asked
    return (
        deployment.name,
        workers,
        busy,
        workers - busy,
        deployment.answered,
        deployment.failed,
        deployment.known,
        _seconds(deployment),
        deployment.model.device if deployment.is_loaded else None,
    )


_QUESTIONS: Mapping[str, tuple[Any, Callable[[Any], str]]] = {
    "chat": ("Hello", str),
    "emb": ("Hello", lambda vector: f"a vector of {len(vector)} numbers"),
    "rerank": (("Hello", "Hello"), lambda score: f"a score of {score:.4g}"),
}
"""For each kind the smallest thing to ask, and how its answer is shown."""
