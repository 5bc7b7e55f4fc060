"""What a SQL function that calls a model is: Arrow columns in, one Arrow array out.

Knows which inputs are asked of which deployment under which options. What happens to an input that
is not known yet is the collector's decision; computing it is the scheduler's.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, NamedTuple

from llmsql.errors import CatalogError, OptionError
from llmsql.functions import columns as read
from llmsql.functions.columns import Column
from llmsql.runtime import scheduler
from llmsql.runtime.answers import MISSING, Answers
from llmsql.runtime.collector import UNTAGGED, Collector, Mode, Site
from llmsql.runtime.deployments import Deployment, Retired
from llmsql.runtime.engine import Engine
from llmsql.types import Kind, read_options

log = logging.getLogger("llmsql")

Keys = list[Hashable]


class Group(NamedTuple):
    """Rows of a chunk that are asked alike: of whom, and where their answers are kept."""

    deployment: Deployment
    answers: Answers
    rows: Sequence[int]


class ModelFunction(ABC):
    """A primitive (`llm_generate`), or the function of one deployed model (*model* given).

    *kind* is None for one that asks models of every kind.
    """

    name: str
    kind: ClassVar[Kind | None]
    inputs: ClassVar[tuple[str, ...]]
    takes_options: ClassVar[bool] = False

    def __init__(self, engine: Engine, model: str | None = None) -> None:
        self.engine = engine
        self.model = model
        if model is not None:
            self.name = model

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
    def return_type(self) -> str:
        """The SQL type it returns."""

    @abstractmethod
    def keys(self, inputs: Sequence[Column]) -> Keys:
        """The input of each row as a key; None where it is NULL."""

    @abstractmethod
    def array(self, values: list[Any]) -> Any:
        """The answers as an Arrow array of `return_type`."""

    def __call__(self, *columns: Column) -> Any:
        """Answer one chunk. DuckDB calls this, from several threads."""
        collector, site, arguments = self._caller(columns)
        try:
            while True:
                with suppress(Retired):
                    return self.array(self._values(arguments, collector, site))
        except BaseException as error:
            # DuckDB keeps only the text of an exception: the connection raises the original.
            collector.error = collector.error or error
            raise

    def _caller(self, columns: Sequence[Column]) -> tuple[Collector, Site, Sequence[Column]]:
        """Whose statement this is: ours by its tag, or any other client's."""
        if columns and read.is_tag(columns[-1]):
            tag = read.first(columns[-1]) or {}
            collector = self.engine.collectors.get(tag.get("llmsql") or 0)
            if collector is not None:
                site = Site(tag["rank"], tag["site"]) if "rank" in tag else UNTAGGED
                return collector, site, columns[:-1]
            columns = columns[:-1]
        return self.engine.detached(), UNTAGGED, columns

    def _values(self, arguments: Sequence[Column], collector: Collector, site: Site) -> list[Any]:
        if len(arguments) not in map(len, self.signatures):
            takes = " or ".join(f"{self.name}({', '.join(names)})" for names in self.signatures)
            raise OptionError(f"{takes} is what there is, not {len(arguments)} arguments")
        count = len(self.inputs)
        keys = self.keys(arguments[:count])
        groups = self._groups(keys, arguments[count:], collector)
        if len(groups) == 1:
            group = groups[0]
            return self._answer(group.deployment, group.answers, keys, collector, site)
        if collector.mode is Mode.LIMIT:  # which row comes first is lost here
            collector.limit.is_hopeless = True
            return [None] * len(keys)
        values: list[Any] = [None] * len(keys)
        for group in groups:
            some = [keys[row] for row in group.rows]
            answered = self._answer(group.deployment, group.answers, some, collector, site)
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
            deployment = self._deployment(read.first(models) if models is not None else None)
            said = read.mappings(options)[0] if options is not None else None
            return [Group(deployment, self._answers(deployment, said, collector), rows)]
        given = read.mappings(options) if options is not None else [None] * len(keys)
        names = read.texts(models) if models is not None else [None] * len(keys)
        alike: dict[tuple[str | None, str], list[int]] = {}
        for row in rows:
            alike.setdefault((names[row], repr(given[row])), []).append(row)
        groups = []
        for (name, _), members in alike.items():
            deployment = self._deployment(name)
            answers = self._answers(deployment, given[members[0]], collector)
            groups.append(Group(deployment, answers, members))
        return groups

    def _extras(self, extras: Sequence[Column]) -> tuple[Column | None, Column | None]:
        """Which of the arguments behind the inputs are options, and which the model's name."""
        options = models = None
        for column in extras:
            if column.null_count == len(column):
                continue
            if self.takes_options and options is None and read.looks_like_options(column):
                options = column
            elif self.model is None and models is None:
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
                f'model "{name}" is of kind {deployment.spec.kind}; {self.name}() wants {self.kind}'
            )
        return deployment

    def _answers(self, deployment: Deployment, options: Any, collector: Collector) -> Answers:
        if not self.takes_options:
            return collector.answers(deployment, None)
        said = {name: value for name, value in (options or {}).items() if value is not None}
        given = {**deployment.spec.defaults, **said}

        def make() -> Any:
            owner = f'model "{deployment.name}"'
            return read_options(deployment.backend.sampling, given, owner=owner)

        return collector.answers(deployment, deployment.sampling(repr(given), make))

    def _answer(
        self,
        deployment: Deployment,
        answers: Answers,
        keys: Keys,
        collector: Collector,
        site: Site,
    ) -> list[Any]:
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
            return collector.unknown(deployment, answers, keys, values, site)
        scheduler.resolve(deployment, answers, dict.fromkeys(missing, site.number), collector)
        if collector.is_detached:  # nobody else would say it
            for error in collector.failures(answers).values():
                log.warning("a call of %s failed: %s", deployment.name, error)
        return [known.get(key) for key in keys]
