"""From distinct inputs to stored answers: the only caller of a model.

Orders inputs for the engine, runs the model in its deployment's thread, stores each answer as it
arrives, and finds the one row that breaks a batch. Which inputs are needed is the resolver's
business.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import ExitStack, contextmanager, suppress
from itertools import accumulate
from typing import Any

import duckdb

from llmsql.backends.base import PATIENCE_SECONDS
from llmsql.errors import BackendError, GenerationError, LlmsqlError
from llmsql.ordering.work import in_order
from llmsql.runtime.answers import Answers
from llmsql.runtime.collector import Collector
from llmsql.runtime.deployments import Deployment, Retired
from llmsql.runtime.run import Run, Sites, value_of
from llmsql.types import Prompt

POLL_SECONDS = 0.2
LAST_SECONDS = 2.0
"""So long may what a server has in hand take when nobody waits any more."""
MOST_TOGETHER = 1_024
"""So many samplings go to a model at once: each has an account of its own."""
HOPELESS = 8
"""So many rows that fail alone, with no answer among them, mean that every row would."""


Groups = Mapping[Answers, Sites]
"""Inputs by the sampling they are asked under."""


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


def resolve(deployment: Deployment, groups: Groups, collector: Collector) -> None:
    """Compute and store the answer of every input of *groups* that is not known.

    Raises BackendError where every row would fail, LimitError where that would cost more than it
    may, and Retired where the model has been replaced. Interrupting the wait leaves what was
    computed, and frees the model after the step in hand.
    """
    for some in _together(groups, collector):
        with _turn(deployment, collector), ExitStack() as gates:
            if deployment.is_retired:
                raise Retired
            deployment.look_again()
            if runs := _begun(deployment, some, collector, gates):
                _wait(deployment, _Flight(deployment, runs, collector), collector)


def _begun(
    deployment: Deployment,
    groups: Iterable[tuple[Answers, Sites]],
    collector: Collector,
    gates: ExitStack,
) -> list[tuple[Run, list[Any]]]:
    """A run for each of *groups* in which something is unknown, with that, through *gates*."""
    account, admitted = collector.account, []
    for answers, sites in groups:
        if unknown := _unknown(deployment, answers, sites, collector):
            gate = gates.enter_context(account.allowed(deployment, answers, unknown))
            admitted.append((answers, unknown, sites, gate))
    return [
        (
            account.begin(deployment, answers, len(unknown), sites, gate),
            in_order(unknown, deployment.spec.kind),
        )
        for answers, unknown, sites, gate in admitted  # none begins unless all may
    ]


def _together(groups: Groups, collector: Collector) -> Iterator[list[tuple[Answers, Sites]]]:
    """Yield those *groups* that may go to a model at once.

    Under a cap on what only answers tell, each has a gate of its own, which lets inputs through as
    there is room.
    """
    is_gated = any(cap.name != "calls" for cap in collector.account.budget.caps)
    size = 1 if is_gated else MOST_TOGETHER
    alone = [each for each in groups.items() if isinstance(each[0].sampling, Asking)]
    others = [each for each in groups.items() if not isinstance(each[0].sampling, Asking)]
    yield from ([each] for each in alone)
    yield from (others[start : start + size] for start in range(0, len(others), size))


def _unknown(
    deployment: Deployment, answers: Answers, keys: Sites, collector: Collector
) -> list[Any]:
    """Those of *keys* that neither memory nor the store has an answer for."""
    failures = collector.failures(answers)
    unknown = [k for k in keys if k not in answers.known and k not in failures]
    if not unknown:
        return []
    collector.computed(answers, unknown)
    return collector.account.recall(deployment, answers, unknown, keys)


def check_together(noted: Mapping[tuple[Deployment, Answers], Sites], collector: Collector) -> None:
    """Raise LimitError where asking all that was *noted* would cost too much: nothing is asked."""
    account = collector.account
    if not account.budget.caps or len(noted) < 2:
        return
    needs = []
    for (deployment, answers), keys in noted.items():
        with _turn(deployment, collector):
            unknown = [k for k in keys if k not in answers.known]
            needs.append((deployment, answers, account.recall(deployment, answers, unknown, keys)))
    account.budget.check(needs)


def _wait(deployment: Deployment, flight: _Flight, collector: Collector) -> None:
    """Let *flight* run in the deployment's thread, and look up five times a second."""
    future = deployment.thread.submit(flight)
    try:
        while not future.done():
            _look_up(collector)
            futures.wait([future], POLL_SECONDS)  # `result` raises what a user's alarm may, too
        future.result()
    except BaseException:
        flight.stop()
        raise


@contextmanager
def _turn(deployment: Deployment, collector: Collector) -> Iterator[None]:
    """Hold the turn of *deployment*, and look up while another statement has it."""
    while not deployment.turn.acquire(timeout=POLL_SECONDS):
        _look_up(collector)
    try:
        yield
    finally:
        deployment.turn.release()


def _look_up(collector: Collector) -> None:
    """Raise InterruptException where the statement was interrupted, and tell how far it is."""
    if collector.cancelled.is_set():
        raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")
    collector.account.tick()


class _Flight:
    """Sets of inputs, each under a sampling, on their way through a model, in its thread."""

    def __init__(
        self,
        deployment: Deployment,
        runs: Sequence[tuple[Run, list[Any]]],
        collector: Collector,
    ) -> None:
        self.deployment = deployment
        self.runs = [run for run, _ in runs]
        self.keys = runs[0][1] if len(runs) == 1 else [key for _, keys in runs for key in keys]
        self.collector = collector
        self.stopped = threading.Event()
        self.has_succeeded = False
        self.lonely_failures = 0
        self._ends = list(accumulate(len(keys) for _, keys in runs))

    def __call__(self) -> None:
        """Run every input, and count what it cost, also where that ends early."""
        try:
            for places in self._portions():
                self._split(places)
        finally:
            calls = sum(run.calls for run in self.runs)
            for run in self.runs:
                run.finish(run.calls / calls if calls else 1 / len(self.runs))

    def stop(self) -> None:
        """Ask for nothing more: nobody waits. What a server has in hand is kept if it is quick."""
        self.stopped.set()
        self.deployment.model.wind_up(LAST_SECONDS)

    def _portions(self) -> Iterable[range]:
        if len(self.runs) > 1:
            return [range(len(self.keys))]
        return self.runs[0].gate.portions(self.keys, self.stopped)

    def _run(self, index: int) -> Run:
        """The run of the input at *index*."""
        return self.runs[bisect(self._ends, index) if len(self.runs) > 1 else 0]

    def _call(self, batch: list[int]) -> Iterator[tuple[int, Any]]:
        """Ask the model for the inputs at the places in *batch*."""
        model, keys = self.deployment.model, [self.keys[i] for i in batch]
        sampling = self.runs[0].answers.sampling
        if isinstance(sampling, Asking):
            return sampling.ask(self.deployment, keys)
        if self.deployment.spec.kind == "chat":
            samplings = (self._run(i).answers.sampling for i in batch)
            return model.generate([*map(Prompt, keys, samplings)])
        return model.embed(keys) if self.deployment.spec.kind == "emb" else model.rerank(keys)

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
            stream = self._call(batch)
            for index, result in stream:
                left.pop(batch[index])
                self._keep(batch[index], result)
                if self.stopped.is_set() and not self.deployment.model.wind_up(LAST_SECONDS):
                    return [], None
        except LlmsqlError:
            self._salvage(batch, stream)
            raise
        except Exception as error:  # the row boundary: which row it was decides what happens
            return list(left), error
        finally:
            close: Callable[[], None] = getattr(stream, "close", lambda: None)
            close()
        for index in left if not self.stopped.is_set() else ():
            self._store(index, GenerationError("the model gave no answer"))
        return [], None

    def _salvage(self, batch: list[int], stream: Iterator[tuple[int, Any]]) -> None:
        """Keep what a server has in hand of *batch*, though the statement fails: it is paid for."""
        if not self.deployment.model.wind_up(PATIENCE_SECONDS):
            return
        for index, result in stream:
            with suppress(LlmsqlError):
                self._keep(batch[index], result)

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
        key, run = self.keys[index], self._run(index)
        self.collector.counts.computed += 1
        if isinstance(result, GenerationError):
            self.deployment.failed += 1
            run.answered(key, result)
            self.collector.fail(run.answers, key, result)
            return
        self.deployment.answered += 1
        self.has_succeeded = True
        run.answers.known[key] = value_of(result)
        run.answered(key, result)


def _as_row_error(error: Exception) -> GenerationError:
    wrapped = GenerationError(f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
