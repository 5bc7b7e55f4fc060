"""A deployment as the database remembers it: plain values, without secrets."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from llmsql.catalog.secrets import holds_secret, is_secret
from llmsql.types import KINDS, Kind, ModelSpec

VERSION = 1
"""Of the row's format: a row with a greater one was written by a newer llmsql."""


CONSENTED = frozenset({"trust_remote_code"})
"""What whoever opens a database is to allow again: it lets the model's files run code."""


class Broken(ValueError):
    """A row that does not say what a row must."""


@dataclass(frozen=True)
class Record:
    """One remembered deployment; *withheld* names the options that were secret."""

    name: str
    kind: Kind
    backend: str
    source: str = ""
    path: str = ""
    model_type: str = "custom/auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()
    gpus: float = 0.0
    replicas: int = 1
    concurrency: int = 1
    dimension: int | None = None

    @classmethod
    def of(cls, spec: ModelSpec, dimension: int | None, withheld: Sequence[str] = ()) -> Record:
        """What may be written of *spec*; *withheld* are secrets it lacks from before."""
        said = {**given(spec.options), **given(spec.terms)}
        options, secrets = _open(said, _marked(spec.options))
        defaults, more = _open(spec.defaults, frozenset())
        return cls(
            name=spec.name,
            kind=spec.kind,
            backend=spec.backend,
            source="" if holds_secret(spec.source) else spec.source,
            path=os.path.abspath(spec.path) if spec.path else "",
            model_type=spec.model_type,
            options=options,
            defaults=defaults,
            withheld=tuple(dict.fromkeys([*withheld, *secrets, *more])),
            gpus=spec.gpus,
            replicas=spec.replicas,
            concurrency=spec.concurrency,
            dimension=dimension,
        )

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Record:
        """The record of a row of the table; raises Broken, naming the column."""
        if row["kind"] not in KINDS:
            raise Broken(f'kind is "{row["kind"]}"')
        values = {name: _value(name, read, row[name]) for name, read in _READERS.items()}
        return cls(kind=row["kind"], **values)

    def row(self) -> dict[str, Any]:
        """The row of the table, column by column."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in ("options", "defaults", "withheld"):
            values[name] = json.dumps(values[name], ensure_ascii=False)
        created = datetime.now(UTC).replace(tzinfo=None)
        return {**values, "created": created, "version": VERSION}


def given(options: Any) -> dict[str, Any]:
    """The options that differ from their defaults, by name."""
    if options is None or isinstance(options, Mapping):
        return dict(options or {})
    return {
        option.name: getattr(options, option.name)
        for option in dataclasses.fields(options)
        if option.init and getattr(options, option.name) != _default(option)
    }


def _default(option: dataclasses.Field[Any]) -> Any:
    factory = option.default_factory
    return option.default if factory is dataclasses.MISSING else factory()


def _marked(options: Any) -> frozenset[str]:
    """The options that their backend hides."""
    if not dataclasses.is_dataclass(options):
        return frozenset()
    return frozenset(option.name for option in dataclasses.fields(options) if not option.repr)


def _open(values: Mapping[str, Any], marked: frozenset[str]) -> tuple[dict[str, Any], list[str]]:
    """*values* without the secrets, and the secrets' names."""
    secrets = [
        name
        for name, value in values.items()
        if is_secret(name, value, is_marked=name in marked) or name in CONSENTED
    ]
    return {k: v for k, v in values.items() if k not in secrets}, secrets


def _value(name: str, read: Any, value: Any) -> Any:
    try:
        return read(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise Broken(f"{name} is {value!r}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(value)
    return value


def _count(value: Any) -> int:
    if int(value) < 1:
        raise ValueError(value)
    return int(value)


def _mapping(value: Any) -> dict[str, Any]:
    found = json.loads(value)
    if not isinstance(found, dict):
        raise ValueError(value)
    return found


_READERS: dict[str, Any] = {
    "name": _text,
    "backend": _text,
    "source": lambda value: value or "",
    "path": lambda value: value or "",
    "model_type": _text,
    "options": _mapping,
    "defaults": _mapping,
    "withheld": lambda value: tuple(map(str, json.loads(value))),
    "gpus": float,
    "replicas": _count,
    "concurrency": _count,
    "dimension": lambda value: None if value is None else _count(value),
}
