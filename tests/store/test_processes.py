"""Several processes and threads share one store, and one of them may be killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

from llmsql.store import Entry, Group, Store

_FILL = """
import sys
from pathlib import Path
from llmsql.store import Entry, Group, Store
store, group = Store.open(Path(sys.argv[1])), Group.of("m", {})
for i in range(int(sys.argv[2]), int(sys.argv[2]) + 20_000):
    store.put(group, group.key(str(i)), Entry(f"answer {i}"))
store.close()
"""
_LOOP = """
import sys
from pathlib import Path
from llmsql.store import Entry, Group, Store
store, group = Store.open(Path(sys.argv[1])), Group.of("m", {})
for i in range(10_000_000):
    store.put(group, group.key(str(i)), Entry(f"answer {i}"))
    if i % 100 == 99:
        store.flush()
        print(i + 1, flush=True)
"""


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def answers(path: Path, number: int) -> int:
    """How many of the first *number* are there, all of them right."""
    store, group = Store.open(path), Group.of("m", {})
    keys = {group.key(str(i)): Entry(f"answer {i}") for i in range(number)}
    found = store.get(group, list(keys))
    assert all(keys[key] == value for key, value in found.items())
    assert store.stat()[0][1] >= len(found)
    store.close()
    return len(found)


def test_two_processes_fill_one_store(path: Path) -> None:
    """Half of their answers are the same; none is lost or there twice."""
    both = [started(_FILL, path, first) for first in (0, 10_000)]
    for process in both:
        assert process.communicate(timeout=120)[1] == ""
        assert process.returncode == 0
    assert answers(path, 30_000) == 30_000
    store = Store.open(path)
    assert store.stat()[0][1] == len(list(store.rows())) == 30_000
    store.close()


def test_what_was_durable_outlives_a_kill(path: Path) -> None:
    for _ in range(3):
        process = started(_LOOP, path)
        assert process.stdout is not None
        for _ in range(7):
            durable = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.communicate(timeout=60)[0].split()
        durable = int(rest[-1]) if rest else durable
        assert answers(path, durable) == durable


def test_threads_share_a_store(store: Store, group: Group) -> None:
    """Each finds what it has put, also while others write and read."""
    wrong: list[object] = []

    def work(name: int) -> None:
        keys = [group.key(f"{name} {i % 400}") for i in range(800)]
        for i, key in enumerate(keys):
            store.put(group, key, Entry(f"{name} {i % 400}"))
            if i % 50 == 0 and store.get(group, [key]) != {key: Entry(f"{name} {i % 400}")}:
                wrong.append((name, i))
        store.flush()
        if len(store.get(group, keys)) != 400:
            wrong.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and store.stat()[0][1] == 1_600
