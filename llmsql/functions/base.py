"""What a SQL function that calls a model is: Arrow columns in, one Arrow array out.

Knows which inputs are asked of which deployment under which options. What happens to an input that
is not known yet is the collector's decision; computing it is the scheduler's.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from llmsql.errors import CatalogError, GenerationError, OptionError
from llmsql.functions import captured, policy
from llmsql.functions import columns as read
from llmsql.functions.caller import caller_of, told
from llmsql.functions.columns import Column
from llmsql.runtime import scheduler
from llmsql.runtime.answers import MISSING, Answers
from llmsql.runtime.collector import Collector, Mode, Site
from llmsql.runtime.deployments import Deployment, Retired
from llmsql.runtime.engine import Engine
from llmsql.syntax.on_error import SIBLINGS
from llmsql.types import Kind, read_options

log = logging.getLogger("llmsql")

Keys = list[Hashable]


class Group(NamedTuple):
    """Rows of a chunk that are asked alike: of whom, and where their answers are kept.

    *is_raising* tells that one that fails ends the statement.
    """

    deployment: Deployment
    answers: Answers
    rows: Sequence[int]
    is_raising: bool


class ModelFunction(ABC):
    """A primitive (`llm_generate`), or the function of one deployed model (*model* given).

    *kind* is None for one that asks models of every kind. With *on_error*, a key of SIBLINGS, it is
    the sibling that does that with a row that fails.
    """

    name: str
    kind: ClassVar[Kind | None]
    inputs: ClassVar[tuple[str, ...]]
    takes_options: ClassVar[bool] = True

    def __init__(
        self, engine: Engine, model: str | None = None, on_error: str | None = None
    ) -> None:
        self.engine = engine
        self.model = model
        self.on_error = on_error
        self.called = model or type(self).name
        self.name = SIBLINGS[on_error] + self.called if on_error else self.called

    @property
    def siblings(self) -> Sequence[ModelFunction]:
        """The functions that call the same model, and do something else with what fails."""
        if self.on_error:
            return ()
        return [type(self)(self.engine, self.model, on_error) for on_error in SIBLINGS]

    @property
    def signatures(self) -> tuple[tuple[str, ...], ...]:
        """The arguments it takes: the inputs, perhaps options, perhaps a model's name."""
        extras = ("options",) * self.takes_options + ("model",) * (self.model is None)
        return tuple((*self.inputs, *extras[:count]) for count in range(len(extras) + 1))

    @property
    def takes_requests(self) -> bool:
        """True where a list of JSON requests may stand for the input: a model's, of one input."""
        return self.model is not None and len(self.inputs) == 1

    @property
    @abstractmethod
    def answer_type(self) -> str:
        """The SQL type of an answer."""

    @property
    def return_type(self) -> str:
        """The SQL type it returns."""
        is_captured = self.on_error == "capture"
        return captured.type_of(self.answer_type) if is_captured else self.answer_type

    @abstractmethod
    def keys(self, inputs: Sequence[Column]) -> Keys:
        """The input of each row as a key; None where it is NULL."""

    @abstractmethod
    def array(self, values: list[Any]) -> Any:
        """The answers as an Arrow array of `answer_type`."""

    def __call__(self, *columns: Column) -> Any:
        """Answer one chunk. DuckDB calls this, from several threads."""
        collector, site, arguments = caller_of(self.engine, columns)
        with told(collector):
            while True:
                with suppress(Retired):
                    values = self._values(arguments, collector, site)
                    if self.on_error == "capture":
                        return captured.array(values, self.array)
                    return self.array(values)

    def _values(self, arguments: Sequence[Column], collector: Collector, site: Site) -> list[Any]:
        if len(arguments) not in map(len, self.signatures):
            takes = " or ".join(f"{self.called}({', '.join(names)})" for names in self.signatures)
            raise OptionError(f"{takes} is what there is, not {len(arguments)} arguments")
        count = len(self.inputs)
        keys = self.keys(arguments[:count])
        groups = self._groups(keys, arguments[count:], collector)
        if len(groups) == 1:
            return self._answer(groups[0], keys, collector, site)
        if collector.mode is Mode.LIMIT:  # which row comes first is lost here
            collector.limit.is_hopeless = True
            return [None] * len(keys)
        values: list[Any] = [None] * len(keys)
        for group in groups:
            some = [keys[row] for row in group.rows]
            answered = self._answer(group, some, collector, site)
            for row, value in zip(group.rows, answered, strict=True):
                values[row] = value
        return values

    def _groups(self, keys: Keys, extras: Sequence[Column], collector: Collector) -> list[Group]:
        """Who is asked in which rows: one group unless they differ in options or in model."""
        options, models = self._extras(extras)
        rows = range(len(keys))
        if (options is None or read.is_constant(options)) and (
            models is None or read.is_constant(models)
        ):
            name = read.first(models) if models is not None else None
            said = read.mappings(options)[0] if options is not None else None
            return [self._group(name, said, rows, collector)]
        given = read.mappings(options) if options is not None else [None] * len(keys)
        names = read.texts(models) if models is not None else [None] * len(keys)
        alike: dict[tuple[str | None, str], list[int]] = {}
        for row in rows:
            alike.setdefault((names[row], repr(given[row])), []).append(row)
        return [
            self._group(name, given[members[0]], members, collector)
            for (name, _), members in alike.items()
        ]

    def _group(
        self,
        name: str | None,
        options: Mapping[str, Any] | None,
        rows: Sequence[int],
        collector: Collector,
    ) -> Group:
        deployment = self._deployment(name)
        on_error, said = policy.split(options)
        answers = self._answers(deployment, said, collector)
        return Group(deployment, answers, rows, self.is_raising(on_error, collector))

    def is_raising(self, said: str | None, collector: Collector) -> bool:
        """True where a row that fails ends the statement; the options *said* so, or nothing."""
        if said and self.on_error:
            raise OptionError(
                f"{self.called}(…) says twice what a failed row becomes\n"
                f"  leave out {policy.OPTION}, or the words behind the call"
            )
        return (self.on_error or said or collector.on_error) == "raise"

    def _extras(self, extras: Sequence[Column]) -> tuple[Column | None, Column | None]:
        """Which of the arguments behind the inputs are options, and which the model's name."""
        options = models = None
        for column in extras:
            if column.null_count == len(column):
                continue
            if self.takes_options and options is None and read.looks_like_options(column):
                options = column
            elif self.model is None and read.is_text(column):
                if models is not None:
                    raise OptionError(
                        f"{self.called}(…) is given two models: {read.first(models)} and"
                        f" {read.first(column)}"
                    )
                models = column
            else:
                read.mappings(column)  # says what options look like
        return options, models

    def _deployment(self, name: str | None) -> Deployment:
        deployments = self.engine.deployments
        name = self.model or name
        if name is None:
            return deployments.first(self.kind or "chat")
        deployment = deployments.get(name)
        if self.kind not in (None, deployment.spec.kind):
            raise CatalogError(
                f'model "{name}" is of kind {deployment.spec.kind}; '
                f"{self.called}() wants {self.kind}"
            )
        return deployment

    def _answers(
        self, deployment: Deployment, said: Mapping[str, Any], collector: Collector
    ) -> Answers:
        also, owner = (policy.OPTION,), f'model "{deployment.name}"'
        if deployment.spec.kind != "chat":
            read_options(_Unsampled, said, owner=owner, also=also)
            return collector.answers(deployment, None)
        given = {**deployment.spec.defaults, **said}

        def make() -> Any:
            return read_options(deployment.backend.sampling, given, owner=owner, also=also)

        return collector.answers(deployment, deployment.sampling(repr(given), make))

    def _answer(self, group: Group, keys: Keys, collector: Collector, site: Site) -> list[Any]:
        """What each of *keys* gives, as this function's policy has it."""
        values = self._looked_up(group, keys, collector, site)
        if self.on_error == "capture":
            return captured.rows(keys, values, group.deployment.group(group.answers))
        if not collector.failed.get(group.answers):
            return values
        pairs = zip(keys, values, strict=True)
        failures = {key: value for key, value in pairs if isinstance(value, GenerationError)}
        if failures and group.is_raising:
            collector.refuse(next(iter(failures.values())))
        elif failures:
            collector.excuse(group.answers, failures)
            for error in failures.values() if collector.is_detached else ():
                log.warning("a call of %s failed: %s", group.deployment.name, error)
        return [None if isinstance(value, GenerationError) else value for value in values]

    def _looked_up(self, group: Group, keys: Keys, collector: Collector, site: Site) -> list[Any]:
        """The answer of each of *keys*, or its error; None where it is not known yet."""
        deployment, answers, is_raising = group.deployment, group.answers, group.is_raising
        known = answers.known
        if collector.mode is Mode.EXPLAIN and collector.census is not None:
            return collector.census.count(deployment, answers, keys, site)
        try:
            if collector.mode is not Mode.LIMIT:  # which lets known rows through only up to a point
                values = [known[key] for key in keys]
                if collector.is_tracking:
                    collector.met(deployment, answers, keys, site)
                return values
        except KeyError:
            pass
        values = [known.get(key, MISSING) for key in keys]
        missing = [k for k, v in zip(keys, values, strict=True) if v is MISSING]
        if collector.is_tracking and len(missing) < len(keys):
            collector.met(deployment, answers, set(keys).difference(missing), site)
        if collector.mode is not Mode.SPOT:
            return collector.unknown(deployment, answers, keys, values, site, is_raising=is_raising)
        if is_raising:
            collector.demand(answers, missing)
        while missing:  # again where memory has forgotten some answers meanwhile
            asked = {answers: dict.fromkeys(missing, site.number)}
            scheduler.resolve(deployment, asked, collector)
            failures = collector.failures(answers)
            values = [
                known.get(k, failures.get(k, MISSING)) if v is MISSING else v
                for k, v in zip(keys, values, strict=True)
            ]
            missing = [k for k, v in zip(keys, values, strict=True) if v is MISSING]
        return values


@dataclass(frozen=True)
class _Unsampled:
    """The options of a call that draws nothing."""
