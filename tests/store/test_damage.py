"""Whatever has become of the file: a statement goes on, and no answer is wrong."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmsql.errors import LlmsqlWarning
from llmsql.store import Entry, Group, Store, file, handle
from tests.store.test_results import change, fill

Files = dict[str, bytes]


def entry(number: int) -> Entry:
    """A text, a vector or a score."""
    value: Any = f"answer {number}"
    if number % 3 == 1:
        value = np.full(16, number, np.float32)
    if number % 3 == 2:
        value = number / 8
    return Entry(value, "stop", number, None, b"s" * 16 if number % 5 == 0 else None)


def plain(entry: Entry) -> Any:
    """What can be compared of *entry*: numbers to the bit, and their type."""
    value = entry.value
    if isinstance(value, np.ndarray):  # showing one takes a hundred times as long
        value = value.dtype.str, value.tobytes()
    return type(entry.value), value, *entry[1:]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    """A store of 500 entries as it was closed, and as a killed process leaves it."""
    path = tmp_path_factory.mktemp("kept") / "answers.store"
    group = Group.of("chat", {"model": "m", "temperature": 0})
    store = Store.open(path)
    for i in range(500):
        store.put(group, group.key(f"q{i}"), entry(i))
    store.flush()
    killed = {side: Path(f"{path}{side}").read_bytes() for side in ("", "-wal")}
    store.close()
    half = Store.open(path)
    half.put(group, group.key("q500"), entry(500))
    half.flush()
    mixed = {side: Path(f"{path}{side}").read_bytes() for side in ("", "-wal")}
    half.close()
    return {"closed": {"": path.read_bytes()}, "killed": killed, "mixed": mixed}


def truncated(files: Files, luck: random.Random) -> Files:
    side = luck.choice(list(files))
    return {**files, side: files[side][: luck.randrange(len(files[side]))]}


def flipped(files: Files, luck: random.Random) -> Files:
    side = luck.choice(list(files))
    data = bytearray(files[side])
    # Half of them near the beginning, where SQLite keeps what it needs most.
    end = len(data) if luck.random() < 0.5 else min(len(data), 200)
    bit = luck.randrange(8 * end)
    data[bit // 8] ^= 1 << bit % 8
    return {**files, side: bytes(data)}


@pytest.mark.parametrize("harm, times", [(truncated, 150), (flipped, 300)])
def test_no_damage_makes_an_answer_wrong(
    tmp_path: Path,
    group: Group,
    kept: dict[str, Files],
    harm: Callable[[Files, random.Random], Files],
    times: int,
) -> None:
    """It is opened or set aside; what is found is right, and what is put is found."""
    luck = random.Random(20)
    keys = {group.key(f"q{i}"): entry(i) for i in range(501)}
    wanted = {key: plain(value) for key, value in keys.items()}
    wanted[group.key("new")] = plain(Entry("new"))
    found_any = 0
    for number in range(times):
        path = tmp_path / f"{number}.store"
        for side, data in harm(kept[luck.choice(list(kept))], luck).items():
            Path(f"{path}{side}").write_bytes(data)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            store = Store.open(path, max_bytes=2**30)
            found = store.get(group, list(keys))
            store.put(group, group.key("new"), Entry("new"))
            store.flush()
            again = store.get(group, [*keys, group.key("new")])
            was_usable = store.is_usable
            list(store.rows()), store.stat(), list(store.batches("calls")), store.usage()
            store.close()
        for key, value in [*found.items(), *again.items()]:
            assert plain(value) == wanted[key], f"number {number}"
        assert group.key("new") in again or not was_usable
        assert all(w.category is LlmsqlWarning for w in said) and len(said) <= 2
        found_any += bool(found)
    assert found_any > times / 10


def test_a_damaged_file_is_set_aside(path: Path, group: Group) -> None:
    path.write_bytes(b"This is no database, but a letter to a friend." * 100)
    with pytest.warns(LlmsqlWarning) as said:
        store = Store.open(path)
    (aside,) = path.parent.glob("*Z")
    assert str(said[0].message) == (
        f'the result store "{path}" is damaged (file is not a database): it was set aside as'
        f' "{aside}", and a new one is begun\n  to save what can be read: sqlite3 "{aside}" .recover'
    )
    assert aside.read_bytes().startswith(b"This is no")
    fill(store, group, 3)
    assert store.stat()[0][1] == 3
    store.close()


def test_a_directory_is_left_alone(path: Path, group: Group) -> None:
    path.mkdir()
    with pytest.warns(LlmsqlWarning, match="is a directory and is left alone"):
        store = Store.open(path)
    assert store.get(group, fill(store, group, 3)) == {}
    store.close()
    assert path.is_dir()


def test_an_empty_file_is_begun(path: Path, group: Group) -> None:
    """It is what another process has just made."""
    path.touch()
    store = Store.open(path)
    assert len(store.get(group, fill(store, group, 3))) == 3
    store.close()


def spoil(path: Path) -> None:
    """Overwrite every page but the first with noise."""
    with path.open("r+b") as pages:
        pages.seek(4_096)
        pages.write(random.Random(0).randbytes(path.stat().st_size - 4_096))


def test_damage_met_by_get_is_set_aside(path: Path, group: Group) -> None:
    before = Store.open(path)
    keys = fill(before, group, 500)
    before.close()
    store = Store.open(path)
    spoil(path)
    with pytest.warns(LlmsqlWarning, match="malformed.*set aside") as said:
        assert store.get(group, keys) == {}
    assert len(fill(store, group, 5)) == len(store.get(group, keys)) == 5
    assert len(said) == 1
    store.close()


def test_damage_met_by_a_commit_loses_nothing_that_was_queued(path: Path, group: Group) -> None:
    before = Store.open(path)
    keys = fill(before, group, 500)
    before.close()
    store = Store.open(path)
    spoil(path)
    store.put(group, keys[7], Entry("queued"))
    with pytest.warns(LlmsqlWarning, match="malformed.*set aside"):
        store.flush()
    assert store.get(group, keys) == {keys[7]: Entry("queued")}
    store.close()


def test_a_store_that_was_set_aside_by_another_is_left(path: Path, group: Group) -> None:
    """A connection follows the path, not the file it once opened."""
    one, two = Store.open(path), Store.open(path)
    fill(one, group, 3)
    fill(two, group, 3, "of two")
    path.rename(path.with_suffix(".away"))
    keys = fill(one, group, 1, "anew")
    assert two.get(group, keys) and path.exists()
    one.close()
    two.close()


def test_a_newer_store_is_left_alone(path: Path, group: Group) -> None:
    before = Store.open(path)
    keys = fill(before, group, 3)
    before.close()
    change(path, "PRAGMA user_version = 2")
    data = path.read_bytes()
    with pytest.warns(LlmsqlWarning) as said:
        store = Store.open(path)
        store.put(group, keys[0], Entry("b"))
        store.flush()
    assert str(said[0].message) == (
        f'the result store "{path}" was written by a newer llmsql (format 2; this one reads 1) and'
        " is left alone: no answer is kept on disk\n  pip install --upgrade duckdb-llmsql"
    )
    assert len(said) == 1 and not store.is_usable and store.get(group, keys) == {}
    store.append("calls", b"in memory", 1)
    assert list(store.batches("calls")) == [(0, b"in memory")]
    store.close()
    assert path.read_bytes() == data


def test_a_database_of_somebody_else_is_left_alone(path: Path, group: Group) -> None:
    change(path, "CREATE TABLE letters (text)")
    data = path.read_bytes()
    with pytest.warns(LlmsqlWarning, match="is a database of something else than llmsql"):
        store = Store.open(path)
    fill(store, group, 3)
    store.close()
    assert path.read_bytes() == data and list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_read(
    path: Path, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says "attempt to write a readonly database" on the first commit."""
    before = Store.open(path)
    keys = fill(before, group, 3)
    before.close()
    connect = file._connection

    def reading(name: str) -> sqlite3.Connection:
        return connect(name.replace("mode=rwc", "mode=ro"))

    monkeypatch.setattr(file, "_connection", reading)
    store = Store.open(path)
    store.put(group, group.key("new"), Entry("n"))
    with pytest.warns(LlmsqlWarning, match="cannot be written: answers in it are reused") as said:
        store.flush()
        store.put(group, group.key("newer"), Entry("n"))
        store.flush()
    assert len(said) == 1 and len(store.get(group, [*keys, group.key("new")])) == 3
    store.close()


def test_a_folder_that_is_missing_is_said(path: Path, group: Group) -> None:
    store = Store.open(path.parent / "missing" / "answers.store")
    store.put(group, group.key("q"), Entry("a"))
    with pytest.warns(LlmsqlWarning, match='there is no folder ".*missing" for the result store'):
        store.flush()
    store.close()


def test_a_full_disk_stops_nothing(
    path: Path, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier answers stay; the new ones wait, and are written when there is room."""
    monkeypatch.setattr(handle, "RETRY_SECONDS", 0.2)
    store = Store.open(path)
    keys = fill(store, group, 100)
    writing = store._own_writing._current()
    ((pages,),) = writing.execute("PRAGMA page_count").fetchall()
    writing.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.warns(LlmsqlWarning, match="database or disk is full.*\n  free space") as said:
        more = fill(store, group, 2_000, "more")
        fill(store, group, 10, "yet more")
    assert len(said) == 1 and len(store.get(group, [*keys, *more])) == 2_100
    assert len(Store.open(path).get(group, [*keys, *more])) == 100
    store._own_writing.run(lambda c: c.execute("PRAGMA max_page_count = 100000").fetchall())
    store.close()
    again = Store.open(path)
    assert len(again.get(group, [*keys, *more])) == 2_100
    again.close()


def test_a_file_that_may_not_grow_stops_nothing(path: Path) -> None:
    """The system refuses the writing itself, as a full disk does."""
    code = f"""if True:
        import resource, warnings
        from pathlib import Path
        from llmsql.store import Entry, Group, Store
        group = Group.of("m", {{}})
        keys = [group.key(str(i)) for i in range(2000)]
        store = Store.open(Path({str(path)!r}))
        store.put(group, keys[0], Entry("early"))
        store.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for key in keys:
                store.put(group, key, Entry("x" * 500))
            store.flush()
            store.flush()
            print(len(said), len(store.get(group, keys)))
            store.close()
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout == "1 2000\n", run.stderr
    group, store = Group.of("m", {}), Store.open(path)
    assert store.get(group, [group.key("0")]) == {group.key("0"): Entry("early")}
    store.close()


def test_a_moment_without_file_descriptors_ends_nothing(path: Path) -> None:
    """What could not be written then is written later."""
    code = f"""if True:
        import os, resource, warnings
        from pathlib import Path
        from llmsql.store import Entry, Group, Store, handle
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        handle.RETRY_SECONDS = 0
        group = Group.of("m", {{}})
        keys = [group.key(str(i)) for i in range(20)]
        store = Store.open(Path({str(path)!r}))
        taken = []
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for key in keys:
                store.put(group, key, Entry("x"))
            store.flush()
            for descriptor in taken:
                os.close(descriptor)
            store.put(group, group.key("late"), Entry("y"))
            store.close()
            print(*(str(one.message) for one in said), sep="\\n---\\n")
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout == (
        f'the result store "{path}" cannot be opened, as this process has too many files open: '
        "answers wait in memory and are written when it can\n"
        "  to see how many there may be: ulimit -n\n"
    ), run.stderr
    group, store = Group.of("m", {}), Store.open(path)
    assert len(store.get(group, [group.key(str(i)) for i in range(20)])) == 20
    store.close()


def locking(path: Path) -> sqlite3.Connection:
    """Another client, which keeps everybody from writing until it is closed."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


@pytest.fixture
def locked(
    path: Path, group: Group, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Store, sqlite3.Connection]]:
    """A store of one answer, and who keeps it from writing more."""
    monkeypatch.setattr(file, "LOCK_SECONDS", 0.1)
    store = Store.open(path)
    fill(store, group, 1)
    other = locking(path)
    yield store, other
    other.close()


def test_a_locked_file_is_waited_for_and_tried_again(
    path: Path, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(handle, "RETRY_SECONDS", 0.2)
    store = Store.open(path)
    early = fill(store, group, 3)
    other = locking(path)
    with pytest.warns(LlmsqlWarning, match="has been locked by another process for 0.1") as said:
        late = fill(store, group, 3, "late")
        fill(store, group, 3, "later")
    assert len(said) == 1 and len(store.get(group, [*early, *late])) == 6
    other.execute("ROLLBACK")
    other.close()
    store.close()
    again = Store.open(path)
    assert len(again.get(group, [*early, *late])) == 6
    again.close()


def test_the_queue_of_a_locked_file_is_bounded(
    path: Path, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr("llmsql.store.writer.MAX_QUEUED_BYTES", 50_000)
    store = Store.open(path)
    fill(store, group, 1)
    other = locking(path)
    with pytest.warns(LlmsqlWarning, match="locked") as said:
        fill(store, group, 5_000, "late")
    waiting = store._writer._waiting
    assert waiting.size < 101_000 and 0 < len(waiting.answers) < 5_000
    assert [
        str(one.message).partition('"')[0] for one in said if "wait to be" in str(one.message)
    ] == ["64 MiB wait to be written to the result store "]
    other.close()
    store.close()


def test_what_is_lost_when_it_closes_is_said(
    group: Group, locked: tuple[Store, sqlite3.Connection]
) -> None:
    """Where the file is still locked then."""
    store, _ = locked
    with pytest.warns(LlmsqlWarning, match="locked"):
        fill(store, group, 3, "late")
    with pytest.warns(LlmsqlWarning, match=r"^3 answers could not be written .* they are lost$"):
        store.close()


def test_without_a_thread_to_write_answers_wait(
    path: Path, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are written with the next ones."""
    store = Store.open(path)
    with monkeypatch.context() as short:
        short.setattr(
            "threading.Thread.start",
            lambda thread: (_ for _ in ()).throw(RuntimeError("no thread")),
        )
        early = fill(store, group, 3)
        store.flush()
    store._writer._retry_at = None
    late = fill(store, group, 3, "late")
    store.close()
    again = Store.open(path)
    assert len(again.get(group, [*early, *late])) == 6
    again.close()


def test_clear_takes_what_waits_for_a_locked_file(
    path: Path, group: Group, locked: tuple[Store, sqlite3.Connection]
) -> None:
    """What could not be written before it was deleted is not written behind that."""
    store, other = locked
    with pytest.warns(LlmsqlWarning, match="locked"):
        late = fill(store, group, 3, "late")
    other.close()
    assert store.clear(group.model) == 4
    store.close()
    again = Store.open(path)
    assert not again.get(group, late)
    again.close()
