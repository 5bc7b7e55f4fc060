"""`make bench`: run everything, print the table, keep it in benchmarks/RESULTS.md.

What stands below the mark in that file is written by hand, and stays.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb

from benchmarks.table import Line, markdown

MODULES = (
    "calls", "overhead", "store", "faults", "records", "ordering", "engines", "embeddings",
    "memory", "llamacpp", "prefixes",
)  # fmt: skip
RESULTS = Path(__file__).parent / "RESULTS.md"
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
"""What of a processor decides how fast models are."""
MARK = "<!-- written by hand from here on -->"


def main() -> None:
    """Run the benchmarks named on the command line, or all; only all are kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(MODULES)}; all without any")
    chosen = parser.parse_args().names
    if unknown := set(chosen) - set(MODULES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    lines: list[Line] = []
    for name in chosen or MODULES:
        for line in _measured(name):
            lines.append(line)
            print(f"{line.what}: {line.measured}", file=sys.stderr)
    table = markdown(lines)
    print(table)
    if not chosen:
        _keep(table)


def _measured(name: str) -> Iterator[Line]:
    """The lines of one module; none, and a word about it, where a library is not installed."""
    try:
        yield from importlib.import_module(f"benchmarks.{name}").run()
    except ModuleNotFoundError as error:
        print(f"{name} is left out: {error}", file=sys.stderr)


def _keep(table: str) -> None:
    before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    by_hand = before[before.index(MARK) :] if MARK in before else MARK + "\n"
    text = f"# Results of `make bench`\n\n{_where()}\n\n{table}\n\n{by_hand}"
    RESULTS.write_text(text, encoding="utf-8")


def _where() -> str:
    try:
        told = dict(map(_pair, Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()))
    except OSError:
        told = {}
    has = [flag for flag in FLAGS if flag in told.get("flags", "").split()]
    cpu = f"{told.get('model name', platform.processor())} ({', '.join(has)})"
    return (
        f"{datetime.date.today()}, {cpu}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, DuckDB {duckdb.__version__}"
    )


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


if __name__ == "__main__":
    main()
