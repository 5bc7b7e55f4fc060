"""A search by hand for what asks more than a function alone would, or gives other rows.

    python -m tests.search Choices 20000 20100

runs ten statements of each seed through llmsql and through plain DuckDB, on the version installed,
and prints what differs as a line of JSON, the last line how many there were, and all calls made and needed.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
import time
import warnings
from pkgutil import iter_modules
from typing import Any

import duckdb

import tests
from tests import rare
from tests.generator import Generator
from tests.oracle import TABLES, Ours, Outcome, Plain, same_rows
from tests.test_enough import DEFINITIONS

PER_SEED = 10
SECONDS = 60
CHANGED = ("t", "e")


class TooSlow(BaseException):
    """A statement took longer than SECONDS."""


class Search:
    """Both sides of the comparison, single-threaded, so that nothing is left to chance."""

    def __init__(self) -> None:
        tables = TABLES + DEFINITIONS + rare.DEFINITIONS
        self.ours, self.plain = Ours(tables), Plain(tables)
        for side in (self.ours, self.plain):
            side.con.execute("SET threads = 1")
        self.calls = self.needed = 0

    def difference(self, sql: str) -> str:
        """What differs between the two sides, or nothing."""
        one, other = self.ours.run(sql), self.plain.run(sql)
        self._restore()
        self.calls, self.needed = self.calls + one.calls, self.needed + other.calls
        return _difference(sql, one, other)

    def close(self) -> None:
        """Let both sides go."""
        self.ours.con.close()
        self.plain.close()

    def _restore(self) -> None:
        for side in (self.ours, self.plain):
            for table in CHANGED:
                side.con.execute(f"CREATE OR REPLACE TABLE {table} AS FROM {table}0")
            side.con.execute("DELETE FROM pk; INSERT INTO pk FROM pk0")


def _difference(sql: str, one: Outcome, other: Outcome) -> str:
    if one.error != other.error:
        return f"error {one.error} for {other.error}"
    if one.names != other.names:
        return f"names {one.names} for {other.names}"
    if not same_rows(sql, one.rows, other.rows):
        return "rows"
    if one.error is None and one.calls > other.calls:
        return f"{one.calls} calls for {other.calls}"
    return ""


def generators() -> dict[str, type[Any]]:
    """All generators of statements, by name."""
    for module in iter_modules(tests.__path__, "tests."):
        if not module.name.startswith("tests.test_") and module.name != __name__:
            importlib.import_module(module.name)
    found, left = {}, [Generator]
    while left:
        kind = left.pop()
        found[kind.__name__] = kind
        left += kind.__subclasses__()
    return found


def main(name: str, first: str, end: str) -> None:
    """Search the statements of the generator *name* with seeds from *first* to before *end*."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_slow)
    search, kind, started = Search(), generators()[name], time.monotonic()
    count = found = 0
    for seed in range(int(first), int(end)):
        generator = kind(seed)
        for sql in (generator.statement() for _ in range(PER_SEED)):
            count += 1
            try:
                signal.alarm(SECONDS)
                difference = search.difference(sql)
                signal.alarm(0)
            except TooSlow:
                difference, search = f"more than {SECONDS} s", Search()
            if difference:
                found += 1
                _tell(seed=seed, difference=difference, sql=sql)
    search.close()
    _tell(
        generator=name,
        statements=count,
        differ=found,
        calls=search.calls,
        needed=search.needed,
        seconds=round(time.monotonic() - started),
        on=duckdb.__version__,
    )


def _tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _too_slow(*_: Any) -> None:
    raise TooSlow


if __name__ == "__main__":
    main(*sys.argv[1:])
