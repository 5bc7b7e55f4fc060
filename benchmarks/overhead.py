"""What llmsql itself costs: known rows per second, memory for each prompt, import time."""

from __future__ import annotations

import subprocess
import sys

import llmsql
from benchmarks.table import Line, seconds

ROWS = 1_000_000
WARM = 10_000
_DEPLOY = "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'"
_MEMORY = f"""
import llmsql
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
con = llmsql.connect()
con.execute("{_DEPLOY}")
con.execute("CREATE TABLE t AS SELECT 'prompt number ' || i AS s FROM range({ROWS}) r(i)")
# As many as make pyarrow import pandas, where it is installed: 34 MiB, once.
con.execute("SELECT count(chat(s)) FROM t WHERE rowid < {WARM}").fetchall()
own = con.execute("SELECT 2 * sum(strlen(s)) FROM t WHERE rowid >= {WARM}").fetchall()[0][0]
before = peak()
con.execute("SELECT count(chat(s)) FROM t").fetchall()
print((peak() - before - int(own)) / {ROWS - WARM})
"""


def run() -> list[Line]:
    """Three lines."""
    return [_known(), _memory(), _import()]


def _known() -> Line:
    con = llmsql.connect()
    con.execute(_DEPLOY)
    con.execute(
        f"CREATE TABLE t AS SELECT 'prompt number ' || (i % 50000) AS s FROM range({ROWS}) r(i)"
    )
    query = "SELECT chat(s) FROM t"
    con.execute(query).fetchnumpy()
    rate = ROWS / min(seconds(lambda: con.execute(query).fetchnumpy()) for _ in range(3))
    con.execute(f"CREATE OR REPLACE TABLE t AS SELECT 'number ' || i AS s FROM range({ROWS}) r(i)")
    con.execute(query).fetchnumpy()
    distinct = ROWS / min(seconds(lambda: con.execute(query).fetchnumpy()) for _ in range(3))
    con.close()
    return Line(
        f"{ROWS:,} rows, all results known: rows/s, fetched as NumPy",
        "≥ 500,000",
        f"{rate:,.0f} (50,000 distinct), {distinct:,.0f} (all distinct)",
    )


def _memory() -> Line:
    run = subprocess.run(
        [sys.executable, "-c", _MEMORY], capture_output=True, text=True, check=True
    )
    return Line(
        f"peak memory above the texts' own bytes, {ROWS:,} distinct prompts, for each",
        "≤ 300 bytes",
        f"{float(run.stdout):.0f} bytes",
    )


def _import() -> Line:
    def imported(name: str) -> float:
        code = (
            f"import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"
        )
        runs = [
            float(
                subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
            )
            for _ in range(7)
        ]
        return min(runs)

    return Line(
        "`import llmsql` / `import duckdb`",
        "≤ 1.5",
        f"{imported('llmsql') / imported('duckdb'):.2f}",
    )
