"""A statement that is killed again and again, and goes on each time where it was."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROWS, DELAY = 2_000, 0.0005
COMMIT_SECONDS = 0.05
PROGRAM = f"""
import sys
import llmsql
con = llmsql.connect(sys.argv[1])
con.execute(sys.argv[2])
con.execute("CREATE OR REPLACE TABLE answers AS SELECT i, chat('row ' || i) AS s"
            " FROM range({ROWS}) t(i)")
print(con.execute("SELECT count(*) FROM answers WHERE s = 'row ' || i").fetchall()[0][0])
con.close()
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


def kill_and_go_on(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill a statement of ROWS rows *kills* times at random moments, then let it finish."""
    journal = folder / "journal"
    journal.touch()
    deploy = (
        "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'"
        f" AND journal='{journal}' AND delay='{DELAY}'"
    )
    arguments = [sys.executable, "-c", PROGRAM, str(folder / "shop.duckdb"), deploy]
    moments, again = random.Random(seed), []
    line = len(json.dumps("row 1000")) + 1
    for _ in range(kills):
        before = journal.read_text().splitlines()
        wanted = journal.stat().st_size + line * moments.randint(1, 2 * ROWS // kills)
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
        while process.poll() is None and journal.stat().st_size < wanted:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        after = journal.read_text().splitlines()[len(before) :]
        again.append(len(set(after) & set(before)))
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    asked = journal.read_text().splitlines()
    return Outcome(again, int(done.stdout), len(set(asked)))
