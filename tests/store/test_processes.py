"""Several processes and threads share one store, and one of them may be killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from llmsql.store import Entry, Group, Store
from llmsql.store.jobs import Answer, Jobs
from llmsql.store.writer import Writer

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


def has_ended(work: Callable[[], object]) -> bool:
    """True where *work* ends within some seconds."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(5)
    return not thread.is_alive()


def test_what_comes_after_a_queue_was_cleared_is_written(group: Group) -> None:
    """It was cleared between the first answer and the group commit that would have had it."""
    cleared, written = threading.Event(), list[Jobs]()
    queue = Writer(written.append, on_drop=list, on_loss=print)

    def clear() -> bool:
        if not cleared.is_set():
            queue.forget(None)
            cleared.set()
        return True

    queue._is_due = clear  # type: ignore[method-assign]
    queue.add(lambda jobs: jobs.put(b"early", Answer(group, None, b"")))
    cleared.wait()
    queue.add(lambda jobs: jobs.put(b"late", Answer(group, None, b"")))
    assert has_ended(queue.flush)
    queue.close()
    assert [list(jobs.answers) for jobs in written] == [[b"late"]]


def test_nobody_waits_for_answers_that_were_cleared(group: Group) -> None:
    """They were queued behind a group commit that still ran."""
    begun, may_end = threading.Event(), threading.Event()
    queue = Writer(lambda jobs: begun.set() or may_end.wait(), on_drop=list, on_loss=print)
    queue.add(lambda jobs: jobs.put(b"early", Answer(group, None, b"")))
    begun.wait()
    queue.add(lambda jobs: jobs.put(b"late", Answer(group, None, b"")))

    def clear() -> None:
        while not queue._is_hurried:  # somebody flushes
            time.sleep(0.001)
        queue.forget(None)
        may_end.set()

    threading.Thread(target=clear).start()
    assert has_ended(queue.flush)
    queue.close()
