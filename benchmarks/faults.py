"""What a kill and a large table cost."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.table import Line
from tests.killing import DELAY, ROWS, kill_and_go_on

KILLS = 50
_DEPLOY = "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'"
_LARGE = f"""
import llmsql
con = llmsql.connect()
con.execute("{_DEPLOY}")
con.execute("CREATE TABLE t AS SELECT 'this is the prompt number ' || (i * 7919) % 1000000 AS s"
            " FROM range(5000000) r(i)")
rows = con.execute("SELECT count(chat(s)) FROM t").fetchall()
assert rows == [(5_000_000,)], rows
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")))
"""


def run() -> list[Line]:
    """Two lines."""
    return [_kills(), _large()]


def _kills() -> Line:
    with tempfile.TemporaryDirectory() as folder:
        outcome = kill_and_go_on(Path(folder), KILLS, seed=5)
    return Line(
        f"kill -9 at {KILLS} random moments of {ROWS:,} rows, {DELAY * 1000:g} ms each, then rerun:"
        " rows asked again after a kill, wrong rows",
        f"≤ {outcome.allowed:.0f} (in flight and a group commit), 0",
        f"{max(outcome.again)} at most, {sum(outcome.again) / KILLS:.0f} on average, "
        f"{ROWS - outcome.right}",
    )


def _large() -> Line:
    done = subprocess.run(
        [sys.executable, "-c", _LARGE], capture_output=True, text=True, check=True
    )
    return Line(
        "peak memory of a statement over 5,000,000 rows, 1,000,000 distinct",
        "≤ 2.5 GB",
        f"{int(done.stdout) / 1e9:.2f} GB",
    )
