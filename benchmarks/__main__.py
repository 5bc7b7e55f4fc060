"""`make bench`: run everything, print the table, keep it in benchmarks/RESULTS.md."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from pathlib import Path

import duckdb

from benchmarks import (
    calls,
    embeddings,
    engines,
    faults,
    llamacpp,
    memory,
    ordering,
    overhead,
    prefixes,
    records,
    store,
)
from benchmarks.table import Line, markdown

MODULES = (
    calls, overhead, store, faults, records, ordering, engines, embeddings, memory, llamacpp,
    prefixes,
)  # fmt: skip
RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> None:
    """Run the benchmarks named on the command line, or all; only all are kept."""
    chosen = [m for m in MODULES if m.__name__.split(".")[1] in sys.argv[1:]]
    lines: list[Line] = []
    for module in chosen or MODULES:
        for line in module.run():
            lines.append(line)
            print(f"{line.what}: {line.measured}", file=sys.stderr)
    table = markdown(lines)
    print(table)
    if not chosen:
        RESULTS.write_text(
            f"# Results of `make bench`\n\n{_where()}\n\n{table}\n", encoding="utf-8"
        )


def _where() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            cpu = next(line.split(":")[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor()
    return (
        f"{datetime.date.today()}, {cpu}, {os.cpu_count()} cores, no GPU, "
        f"Python {platform.python_version()}, DuckDB {duckdb.__version__}"
    )


if __name__ == "__main__":
    main()
