"""How much of a set of prompts an engine finds in its prefix cache, by the order of the work.

No engine runs: prompts are cut into pieces like those of a tokenizer, 16 pieces are a block, and a
block is found where the same blocks before it were read. Compared are the table as it comes, our
order, the paper's greedy search (`greedy_groups`), and a bound that no order can pass.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from benchmarks.generated import Table, tables
from benchmarks.greedy_groups import greedy_groups
from benchmarks.table import Line, seconds
from llmsql.ordering.cells import Column
from llmsql.ordering.fields import best_order
from llmsql.ordering.work import in_order

BLOCK = 16
ROOM = 0.1
ROUNDS = 7
_PIECES = re.compile(r" ?[A-Za-z]{1,7}|[0-9]{1,3}|\s|[^\sA-Za-z0-9]+")

Order = Sequence[tuple[int, Sequence[int]]]
"""Rows in the order in which they are read, each with the order of its columns."""


@dataclass(frozen=True)
class Rates:
    """What share of all tokens is found, in a cache without end and in one of a tenth."""

    endless: float
    small: float


class Prompts:
    """The cells of a table as pieces, and the prompts that are made of them."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._numbers: dict[str, int] = {}
        self.head = self._pieces(table.question + "\n\n{")
        self.cells: list[list[bytes]] = []
        known: dict[str, bytes] = {}
        for name, values in table.columns.items():
            made = []
            for value in values:
                text = f"{json.dumps(name)}: {json.dumps(value)}, "
                if text not in known:
                    known[text] = self._pieces(text)
                made.append(known[text])
            self.cells.append(made)

    def _pieces(self, text: str) -> bytes:
        numbers = self._numbers
        found = [numbers.setdefault(piece, len(numbers)) for piece in _PIECES.findall(text)]
        return np.array(found, np.int32).tobytes()

    @property
    def given(self) -> Order:
        """As the table comes."""
        columns = range(len(self.cells))
        return [(row, columns) for row in range(self.table.rows)]

    def tokens(self, row: int, columns: Iterable[int]) -> bytes:
        return self.head + b"".join(self.cells[column][row] for column in columns)

    def sizes(self) -> np.ndarray:
        """The pieces of each cell, a row for each column."""
        return np.array([[len(cell) // 4 for cell in column] for column in self.cells])

    def rates(self, order: Order) -> Rates:
        """Read the prompts in *order*."""
        blocks: dict[tuple[int, bytes], int] = {}
        rows: list[list[int]] = []
        tokens = found = 0
        for row, columns in order:
            text = self.tokens(row, columns)
            tokens += len(text) // 4
            chain, parent = [], -1
            for start in range(0, len(text) - 4 * BLOCK + 1, 4 * BLOCK):
                block = (parent, text[start : start + 4 * BLOCK])
                known = blocks.get(block)
                if known is None:
                    known = blocks[block] = len(blocks)
                else:
                    found += BLOCK
                parent = known
                chain.append(known)
            rows.append(chain)
        return Rates(found / tokens, _in_small_cache(rows, tokens) / tokens)


def _in_small_cache(rows: Sequence[Sequence[int]], tokens: int) -> int:
    """The tokens found in a cache that holds a tenth, least recently used blocks going first."""
    room = int(tokens * ROOM) // BLOCK
    cache: OrderedDict[int, None] = OrderedDict()
    found = 0
    for chain in rows:
        at = 0
        while at < len(chain) and chain[at] in cache:
            at += 1
        found += at * BLOCK
        for block in reversed(chain):  # the end of a prompt is forgotten before its beginning
            cache[block] = None
            cache.move_to_end(block)
        while len(cache) > room:
            cache.popitem(last=False)
    return found


def bound(codes: np.ndarray, sizes: np.ndarray, head: int) -> float:
    """The share of tokens that no prefix tree can do better than, whatever order each row has.

    The beginning that a row finds was read for one row before it, and holds whole cells that both
    have: so all that is found is at most a spanning tree over the rows, of the largest weight,
    where two rows weigh what their common cells are. (What different cells share inside, and that
    blocks are whole, is left out.)
    """
    count = codes.shape[1]
    weights = sizes.astype(np.int32)
    codes = np.ascontiguousarray(codes.astype(np.int32))
    best = np.full(count, -1, np.int32)
    is_out = np.ones(count, bool)
    row, total = 0, 0
    for _ in range(count - 1):
        is_out[row] = False
        best[row] = -1
        shared = ((codes == codes[:, row : row + 1]) * weights[:, row : row + 1]).sum(axis=0)
        np.maximum(best, shared, out=best, where=is_out)
        row = int(best.argmax())
        total += int(best[row]) + head
    return total / (int(weights.sum()) + head * count)


def coded(table: Table) -> np.ndarray:
    """The cells of *table* as numbers, a row for each column."""
    return np.array(
        [pa.array(v).dictionary_encode().indices.to_numpy() for v in table.columns.values()],
        np.int64,
    )


def ours(table: Table) -> tuple[Order, float, float]:
    """Our order, and the seconds that it takes to find, of the clock and of the processor.

    From a table in Arrow, as the function gets it, and once libraries are loaded.
    """
    texts = [(name, pa.array(values)) for name, values in table.columns.items()]

    def choose() -> list[int]:
        return best_order([Column.of(name, values) for name, values in texts])

    columns = choose()
    taken, worked = _cost(choose)
    names = list(table.columns)
    lists = list(table.columns.values())
    prompts = {
        ", ".join(f"{json.dumps(names[c])}: {json.dumps(lists[c][row])}" for c in columns): row
        for row in range(table.rows)
    }
    return [(prompts[text], columns) for text in in_order(prompts, "chat")], taken, worked


def _cost(work: Callable[[], object]) -> tuple[float, float]:
    """The least seconds of some rounds of *work*, of the clock and of the processor."""
    taken = worked = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        taken = min(taken, seconds(work))
        worked = min(worked, time.process_time() - started)
    return taken, worked


def run() -> list[Line]:
    """One line a table."""
    return [_line(table) for table in tables()]


def _line(table: Table) -> Line:
    prompts = Prompts(table)
    codes, sizes = coded(table), prompts.sizes()
    order, taken, worked = ours(table)
    started = time.perf_counter()
    greedy = greedy_groups(codes, sizes)
    greedy_taken = time.perf_counter() - started
    most = bound(codes, sizes, len(prompts.head) // 4)
    mine, theirs, given = map(prompts.rates, (order, greedy, prompts.given))
    print(table.name, [list(table.columns)[c] for c in order[0][1]], file=sys.stderr)
    return Line(
        f"prompts found in blocks of {BLOCK}, endless and with room for a tenth: {table.name},"
        f" {table.rows:,} rows, {len(table.columns)} fields",
        "≥ the greedy search; ≤ 1 µs a cell",
        f"ours {_shown(mine)}, greedy search {_shown(theirs)}, as it comes {_shown(given)},"
        f" bound {most:.1%}; {taken / table.cells * 1e6:.2f} µs a cell"
        f" ({worked / table.cells * 1e6:.2f} in processor time; greedy search"
        f" {greedy_taken / table.cells * 1e6:.0f})",
    )


def _shown(rates: Rates) -> str:
    return f"{rates.endless:.1%} / {rates.small:.1%}"


if __name__ == "__main__":
    for line in run():
        print(line.what, line.measured, sep="\n  ")
