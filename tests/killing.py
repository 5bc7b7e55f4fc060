"""A statement that is killed again and again, and goes on each time where it was."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROWS, DELAY = 2_000, 0.0005
COMMIT_SECONDS = 0.05
PROGRAM = f"""
import contextlib, os, sys
from pathlib import Path
import llmsql.connection
from llmsql import backends

for name in backends.names():
    backends.get(name)
with contextlib.suppress(ImportError):  # what DuckDB and our statements import when they run
    import sqlglot, sqlglot.generators.duckdb, pandas

for _ in sys.stdin:  # each line is one more process, which begins where the imports end
    child = os.fork()
    if not child:
        break
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
else:
    sys.exit()

con = llmsql.connect(sys.argv[1])
con.execute(sys.argv[2])
con.execute("CREATE OR REPLACE TABLE answers AS SELECT i, chat('row ' || i) AS s"
            " FROM range({ROWS}) t(i)")
((right,),) = con.execute("SELECT count(*) FROM answers WHERE s = 'row ' || i").fetchall()
con.close()
Path(sys.argv[3]).write_text(str(right))
"""


@dataclass(frozen=True)
class Outcome:
    """What came of it: inputs asked again after each kill, and rows whose answer is right."""

    again: list[int]
    right: int
    asked: int

    @property
    def allowed(self) -> float:
        """What may be asked again: answers of two group commits, as one begins in another."""
        return 2 * COMMIT_SECONDS / DELAY


class Nursery:
    """A process that has imported all there is, and has a child for each run of the statement."""

    def __init__(self, *arguments: str) -> None:
        # Threads that numpy starts when it is imported would not be there after a fork.
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def start(self) -> int:
        """Let the statement begin in a process of its own; returns that one's id."""
        assert self._process.stdin
        self._process.stdin.write(b"\n")
        return int(self._heard())

    @property
    def is_quiet(self) -> bool:
        """True while the process that was started last is there."""
        assert self._process.stdout
        return not select.select([self._process.stdout], [], [], 0)[0]

    def wait(self) -> None:
        """Wait until the process that was started last is gone."""
        assert self._heard() == b"gone\n"

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def _heard(self) -> bytes:
        assert self._process.stdout
        return self._process.stdout.readline()


@contextmanager
def nursery(*arguments: str) -> Iterator[Nursery]:
    """A nursery that is gone in the end."""
    found = Nursery(*arguments)
    try:
        yield found
    finally:
        found.close()


def kill_and_go_on(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill a statement of ROWS rows *kills* times at random moments, then let it finish."""
    journal, right = folder / "journal", folder / "right"
    journal.touch()
    deploy = (
        "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'"
        f" AND journal='{journal}' AND delay='{DELAY}'"
    )
    moments, again = random.Random(seed), []
    with nursery(str(folder / "shop.duckdb"), deploy, str(right)) as processes:
        for _ in range(kills):
            before = journal.read_text().splitlines()
            lines = moments.randint(1, 2 * ROWS // kills)
            _kill_at(processes, journal, lines * (len(json.dumps("row 1000")) + 1))
            after = journal.read_text().splitlines()[len(before) :]
            again.append(len(set(after) & set(before)))
        right.unlink(missing_ok=True)
        processes.start()
        processes.wait()
    return Outcome(again, int(right.read_text()), len(set(journal.read_text().splitlines())))


def _kill_at(processes: Nursery, journal: Path, more: int) -> None:
    """Start the statement, and kill it when *journal* has *more* bytes, or after it has ended."""
    wanted = journal.stat().st_size + more
    child = processes.start()
    while journal.stat().st_size < wanted and processes.is_quiet:
        time.sleep(0.002)
    with suppress(ProcessLookupError):  # it may have ended just now
        os.kill(child, signal.SIGKILL)
    processes.wait()
