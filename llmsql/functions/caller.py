"""Whose statement calls a function: ours by the tag among its arguments, or any other client's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from llmsql.functions import columns as read
from llmsql.functions.columns import Column
from llmsql.runtime.collector import UNTAGGED, Collector, Site
from llmsql.runtime.engine import Engine


class Caller(NamedTuple):
    """The statement's collector, the place of the call in it, and what the user gave."""

    collector: Collector
    site: Site
    arguments: Sequence[Column]


def caller_of(engine: Engine, columns: Sequence[Column]) -> Caller:
    """Who calls a function with *columns*, of which the last ones may be ours."""
    if not (columns and read.is_tag(columns[-1])):
        return Caller(engine.detached(), UNTAGGED, columns)
    tag, arguments = read.first(columns[-1]) or {}, columns[: -read.ADDED]
    collector = engine.collectors.get(tag.get("llmsql") or 0)
    if collector is None:
        return Caller(engine.detached(), UNTAGGED, arguments)
    return Caller(collector, Site(*read.place(tag)), arguments)


@contextmanager
def told(collector: Collector) -> Iterator[None]:
    """Tell *collector* what is raised: DuckDB keeps only the text, the connection raises it."""
    try:
        yield
    except BaseException as error:
        collector.error = collector.error or error
        raise
