"""What runs now is seen by whoever shares the file, for as long as its process lives."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from llmsql.store import Store, living, schema

_SHOW = """
import sys
from pathlib import Path
from llmsql.store import Store
store = Store.open(Path(sys.argv[1]))
store.show(7, b"seven")
store.flush()
print("shown", flush=True)
sys.stdin.read()
"""


def running(path: Path) -> list[tuple[int, bytes]]:
    """What another store on the same file sees."""
    other = Store.open(path)
    found = list(other.shown().items())
    other.close()
    return found


def test_a_row_is_brought_up_to_date_and_taken_away(path: Path, store: Store) -> None:
    """There is one for each statement."""
    assert store.show(1, b"first") and store.show(2, b"other")
    assert dict(running(path)) == {}  # not yet written
    store.flush()
    store.show(1, b"second")
    store.flush()
    assert dict(running(path)) == {1: b"second", 2: b"other"}
    store.show(1, None)
    store.show(2, None)
    assert store.shown() == {}


def test_a_store_without_a_file_shows_nothing() -> None:
    """Nobody else could see it."""
    store = Store.in_memory()
    assert not store.show(1, b"one")
    assert store.shown() == {}
    store.close()


def test_a_file_that_is_only_read_is_not_written(path: Path, store: Store) -> None:
    store.show(1, b"one")
    store.flush()
    reader = Store.open(path, is_read_only=True)
    assert not reader.show(2, b"two")
    assert reader.shown() == {1: b"one"}
    reader.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="age tells there")
def test_what_a_dead_process_left_is_not_seen(path: Path, store: Store) -> None:
    """Also before anybody has waited for it; the next row that is written takes it away."""
    with subprocess.Popen(
        [sys.executable, "-c", _SHOW, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        assert store.shown() == {7: b"seven"}
        process.kill()
        while living._started(process.pid):
            pass
        assert store.shown() == {}
    store.show(1, b"one")
    store.flush()
    assert rows(path) == [(1,)]


def test_a_number_that_is_used_again_is_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time when it began tells; where nothing tells, the age of what it wrote does."""
    mark = living.mark()
    assert living.is_alive(mark)
    assert not living.is_alive(mark | {"started": "1"})
    elsewhere = mark | {"place": "another machine"}
    assert living.is_alive(elsewhere)
    assert not living.is_alive(elsewhere | {"at": mark["at"] - 2 * living.STALE_SECONDS})


def test_rows_of_another_version_are_left_alone(path: Path, store: Store) -> None:
    """They are not ours to read."""
    store.append("running", b"{}\nrow", 1, tag=5)
    store.append("running", b"no json", 1, tag=6)
    assert store.shown() == {}


def test_the_tables_are_those_of_the_first_format(path: Path, store: Store) -> None:
    """A store that has shown something is one that every version of this format reads."""
    store.show(1, b"one")
    store.flush()
    with sqlite3.connect(path) as connection:
        assert schema.examine(connection) == ("ours", 1)
    connection.close()


def rows(path: Path) -> list[tuple[int]]:
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT tag FROM batches WHERE kind = 'running'").fetchall()
    connection.close()
    return found
