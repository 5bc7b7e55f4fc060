"""What a statement is: a frozen value, read from text by its syntax line, printed back, and run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

import pyarrow as pa

from llmsql import arrays
from llmsql.syntax import grammar
from llmsql.workspace import Workspace

_ARROW = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}


@dataclass(frozen=True)
class Rows:
    """What a statement returns: columns as "name type", and the rows."""

    columns: tuple[str, ...]
    values: list[tuple[Any, ...]]

    def table(self) -> Any:
        """The rows as an Arrow table."""
        names, types = zip(*(column.split(" ") for column in self.columns), strict=True)
        columns = [
            arrays.array([row[index] for row in self.values], _ARROW[kind])
            for index, kind in enumerate(types)
        ]
        return pa.table(dict(zip(names, columns, strict=True)))


class Statement(ABC):
    """A statement of llmsql. A subclass is a frozen dataclass whose fields are the placeholders."""

    syntax: ClassVar[str]
    expands: ClassVar[bool] = True
    """Whether `${name}` in its values is replaced before it is made."""

    is_byzer: ClassVar[bool] = False
    """Whether only Byzer's scripts have it: what follows is then read as theirs."""

    @classmethod
    @cache
    def pattern(cls) -> tuple[grammar.Part, ...]:
        """The syntax line, read."""
        return grammar.pattern(cls.syntax)

    @classmethod
    def make(cls, values: Mapping[str, Any]) -> Statement:
        """Make the statement from its placeholders' values."""
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: value for name, value in values.items() if name in known})

    def __str__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return grammar.show(self.pattern(), values)

    @abstractmethod
    def run(self, workspace: Workspace) -> Rows:
        """Do what the statement says and return its rows."""
