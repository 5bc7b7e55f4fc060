"""Answers a second put into the result store until durable, and read back from it."""

from __future__ import annotations

import random
import tempfile
import timeit
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.table import Line, seconds
from llmsql.store import Entry, Group, Store

PUT = 200_000
READ = 1_000_000
SLICE = 131_072  # as a statement asks for them
_TEXT = "An answer of a chat model, which is a sentence or two long and so takes about 100 bytes."


def run() -> list[Line]:
    """Three lines."""
    group = Group.of("chat", {"model": "a model", "temperature": 0})
    with tempfile.TemporaryDirectory() as folder:
        put = _put(Path(folder) / "put", group)
        keys = [group.key(f"prompt {i}") for i in range(READ)]
        read = _read(Path(folder) / "read", group, keys)
    return [put, read, _key(group)]


def _put(path: Path, group: Group) -> Line:
    entries = [(group.key(f"prompt {i}"), _entry(i)) for i in range(PUT)]
    rates = []
    for attempt in range(3):
        store = Store.open(path.with_suffix(f".{attempt}"))
        rates.append(PUT / seconds(partial(_fill, store, group, entries)))
        store.close()
    return Line(
        f"{PUT:,} answers of 100 bytes put into the result store until durable: answers/s",
        "≥ 40,000",
        f"{max(rates):,.0f}",
    )


def _read(path: Path, group: Group, keys: list[bytes]) -> Line:
    store = Store.open(path)
    _fill(store, group, [(key, _entry(i)) for i, key in enumerate(keys)])
    store.close()
    random.Random(0).shuffle(keys)
    rates = []
    for max_bytes in (None, 2**40):
        store = Store.open(path, max_bytes=max_bytes)
        rates.append(READ / min(seconds(partial(_slices, store, group, keys)) for _ in range(3)))
        store.close()
    return Line(
        f"{READ:,} answers read back in random order, {SLICE:,} at a time: answers/s",
        "≥ 300,000",
        f"{rates[0]:,.0f} ({rates[1]:,.0f} with a limit of size, for which use is marked)",
    )


def _key(group: Group) -> Line:
    number = 100_000
    taken = min(timeit.repeat(lambda: group.key(_TEXT), number=number, repeat=5)) / number
    return Line("the key of a prompt", "about 1 µs", f"{taken * 1e6:.2f} µs")


def _entry(number: int) -> Entry:
    return Entry(f"{number:06d} {_TEXT}", input_tokens=20, output_tokens=25)


def _fill(store: Store, group: Group, entries: Sequence[tuple[bytes, Entry]]) -> None:
    for key, entry in entries:
        store.put(group, key, entry)
    store.flush()


def _slices(store: Store, group: Group, keys: list[bytes]) -> None:
    slices = (keys[start : start + SLICE] for start in range(0, len(keys), SLICE))
    if sum(len(found.values) for found in store.found(group, slices)) != len(keys):
        raise AssertionError("an answer was lost")
