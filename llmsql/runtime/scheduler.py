"""From distinct inputs to stored answers: the only caller of a model.

Orders inputs for the engine, runs the model in its deployment's thread, stores each answer as it
arrives, and finds the one row that breaks a batch. Which inputs are needed is the resolver's
business.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import duckdb

from llmsql.errors import BackendError, GenerationError, LlmsqlError
from llmsql.ordering.work import in_order
from llmsql.runtime.answers import Answers
from llmsql.runtime.collector import Collector
from llmsql.runtime.deployments import Deployment, Retired
from llmsql.runtime.run import Run, Sites, value_of
from llmsql.types import Prompt

POLL_SECONDS = 0.2
HOPELESS = 8
"""So many rows that fail alone, with no answer among them, mean that every row would."""


class Asking(ABC):
    """How keys are asked where the kind of the deployment does not say it; stands for a sampling.

    Equal ones share answers.
    """

    is_deterministic: bool

    @abstractmethod
    def prompt(self, deployment: Deployment, key: Any) -> Prompt | None:
        """What a chat model reads for *key*; None where it is asked for something else."""

    @abstractmethod
    def ask(self, deployment: Deployment, keys: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield every index with its answer, or with its GenerationError, as a model does."""


def resolve(deployment: Deployment, answers: Answers, keys: Sites, collector: Collector) -> None:
    """Compute and store the answer of every one of *keys* that is not known.

    Raises BackendError where every row would fail, LimitError where that would cost more than it
    may, and Retired where the model has been replaced. Interrupting the wait leaves what was
    computed, and frees the model after the step in hand.
    """
    with deployment.turn:
        if deployment.is_retired:
            raise Retired
        account, failures = collector.account, collector.failures(answers)
        deployment.look_again()
        unknown: list[Any] = [k for k in keys if k not in answers.known and k not in failures]
        if not unknown:
            return
        collector.computed(answers, unknown)
        unknown = account.recall(deployment, answers, unknown, keys)
        if unknown:
            with account.allowed(deployment, answers, unknown) as gate:
                unknown = in_order(unknown, deployment.spec.kind)
                run = account.begin(deployment, answers, len(unknown), keys, gate)
                _wait(deployment, _Run(deployment, answers, unknown, collector, run), collector)


def check_together(noted: Mapping[tuple[Deployment, Answers], Sites], collector: Collector) -> None:
    """Raise LimitError where asking all that was *noted* would cost too much: nothing is asked."""
    account = collector.account
    if not account.budget.caps or len(noted) < 2:
        return
    needs = []
    for (deployment, answers), keys in noted.items():
        with deployment.turn:
            unknown = [k for k in keys if k not in answers.known]
            needs.append((deployment, answers, account.recall(deployment, answers, unknown, keys)))
    account.budget.check(needs)


def _wait(deployment: Deployment, run: _Run, collector: Collector) -> None:
    """Let *run* run in the deployment's thread, and look up five times a second."""
    future = deployment.thread.submit(run)
    try:
        while True:
            if collector.cancelled.is_set():
                raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")
            collector.account.tick()
            try:
                future.result(timeout=POLL_SECONDS)
                return
            except TimeoutError:
                if future.done():
                    raise
    except BaseException:
        run.stopped.set()
        raise


class _Run:
    """One set of inputs on its way through a model, in the deployment's thread."""

    def __init__(
        self,
        deployment: Deployment,
        answers: Answers,
        keys: list[Any],
        collector: Collector,
        run: Run,
    ) -> None:
        self.deployment = deployment
        self.answers = answers
        self.keys = keys
        self.collector = collector
        self.stopped = threading.Event()
        self.has_succeeded = False
        self.lonely_failures = 0
        self.call = _caller(deployment, answers)
        self.run = run

    def __call__(self) -> None:
        """Run every input, and count what it cost, also where that ends early."""
        try:
            for places in self.run.gate.portions(self.keys, self.stopped):
                self._split(places)
        finally:
            self.run.finish()

    def _split(self, places: range) -> None:
        """Run the inputs at *places*; a batch that breaks is split until a row stands alone."""
        waiting = [list(places)]
        while waiting and not self.stopped.is_set():
            batch = waiting.pop()
            left, error = self._try(batch)
            if error is None or not left:
                continue
            if len(left) > 1:
                middle = len(left) // 2
                waiting += [left[middle:], left[:middle]]
                continue
            self.lonely_failures += 1
            if not self.has_succeeded and self.lonely_failures == HOPELESS and waiting:
                waiting.append(waiting.pop(0))  # the other end of the set may fare better
            elif not self.has_succeeded and self.lonely_failures >= HOPELESS:
                raise BackendError(f"the model fails on every row: {error}") from error
            self._store(left[0], _as_row_error(error))

    def _try(self, batch: list[int]) -> tuple[list[int], Exception | None]:
        """Run *batch*; returns what is left of it when the model raised, and what it raised."""
        left = dict.fromkeys(batch)
        stream: Iterator[tuple[int, Any]] = iter(())
        try:
            stream = self.call([self.keys[i] for i in batch])
            for index, result in stream:
                left.pop(batch[index])
                self._keep(batch[index], result)
                if self.stopped.is_set():
                    return [], None
        except LlmsqlError:
            raise
        except Exception as error:  # the row boundary: which row it was decides what happens
            return list(left), error
        finally:
            close: Callable[[], None] = getattr(stream, "close", lambda: None)
            close()
        for index in left:
            self._store(index, GenerationError("the model gave no answer"))
        return [], None

    def _keep(self, index: int, result: Any) -> None:
        """Store a result; what goes wrong with that is no row's error."""
        try:
            self._store(index, result)
        except LlmsqlError:
            raise
        except Exception as error:
            raise BackendError(
                f"an answer cannot be kept: {type(error).__name__}: {error}\n"
                "  this is a fault of llmsql: please report it with this message"
            ) from error

    def _store(self, index: int, result: Any) -> None:
        key = self.keys[index]
        counts = self.collector.counts
        counts.computed += 1
        if isinstance(result, GenerationError):
            self.deployment.failed += 1
            self.run.answered(key, result)
            self.collector.fail(self.answers, key, result)
            return
        self.deployment.answered += 1
        self.has_succeeded = True
        self.answers.known[key] = value_of(result)
        self.run.answered(key, result)


def _caller(deployment: Deployment, answers: Answers) -> Callable[[list[Any]], Iterator[Any]]:
    """How the model of *deployment* is asked, given keys."""
    if isinstance(answers.sampling, Asking):
        return partial(answers.sampling.ask, deployment)
    model = deployment.model
    if deployment.spec.kind == "chat":
        return lambda keys: model.generate([Prompt(key, answers.sampling) for key in keys])
    return model.embed if deployment.spec.kind == "emb" else model.rerank


def _as_row_error(error: Exception) -> GenerationError:
    wrapped = GenerationError(f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
