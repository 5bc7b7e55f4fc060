"""The way from keys to bodies: what comes next is read while what came before is decoded.

Owns how far the reading is ahead, in a thread of its own: SQLite works without the interpreter's
lock. Where answers lie is `results`' business, and what they say that of `codec`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from llmsql.store import results
from llmsql.store.file import Unavailable
from llmsql.store.found import Columns, identifiers
from llmsql.store.results import Bodies

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AHEAD = 8  # chunks, of up to `results.CHUNK_BYTES`
OWN = 3  # items that few keys do not exceed

T = TypeVar("T")


class End(NamedTuple):
    """Follows the bodies of one slice: what it asked for, and what of it is not in the file yet."""

    asked: NDArray[np.int64]
    pending: Columns


def lookups(
    run: results.Run,
    slices: Iterable[Sequence[bytes]],
    pending: Callable[[Sequence[bytes]], Columns],
    since: int | None,
) -> Iterator[Bodies | End]:
    """The bodies of each of *slices*, then its end; *since* as in `results.chunks`."""
    for keys in slices:
        queued = pending(keys)  # first, or a commit could hide an entry from both
        asked = identifiers(b"".join(keys))
        with suppress(Unavailable):
            yield from results.chunks(run, asked, since)
        yield End(asked, queued)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same *items*; of many, up to `AHEAD` are made in another thread meanwhile."""
    own = list(islice(items, OWN))
    yield from own
    if len(own) < OWN:
        return
    reader = ThreadPoolExecutor(1, "llmsql-store-reader")
    try:
        coming = deque(reader.submit(next, items, None) for _ in range(AHEAD))
        while (item := coming.popleft().result()) is not None:
            coming.append(reader.submit(next, items, None))
            yield item
    finally:
        reader.shutdown(cancel_futures=True)
