"""Answers are found again, by whoever opens the file next, and go when they should."""

from __future__ import annotations

import datetime
import gc
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from llmsql.errors import LlmsqlWarning
from llmsql.store import Entry, Group, Store, codec
from llmsql.store.jobs import Jobs


def fill(store: Store, group: Group, number: int, text: str = "answer") -> list[bytes]:
    """Put *number* answers, and return their keys."""
    keys = [group.key(f"{text} {i}") for i in range(number)]
    for i, key in enumerate(keys):
        store.put(group, key, Entry(f"{text} {i}"))
    store.flush()
    return keys


def change(path: Path, sql: str, *given: object) -> None:
    """Change the file behind the store's back."""
    con = sqlite3.connect(path, isolation_level=None)
    con.execute(sql, given)
    con.close()


@pytest.mark.parametrize(
    "entry",
    [
        Entry("an answer", "stop", 3, 4),
        Entry("", "length", 0, None),
        Entry("zero \0 and half \ud800 a pair", "content_filter", None, 7, b"s" * 16),
        Entry(0.1, input_tokens=2**40),
        Entry(-1.5, statement=b"s"),
    ],
)
def test_an_entry_comes_back_as_it_was(path: Path, group: Group, entry: Entry) -> None:
    """Also from another connection to the file."""
    key = group.key("q")
    with_it = Store.open(path)
    with_it.put(group, key, entry)
    assert with_it.get(group, [key]) == {key: entry}
    with_it.close()
    again = Store.open(path)
    assert again.get(group, [key, group.key("another")]) == {key: entry}
    again.close()


def test_a_vector_comes_back_bit_for_bit(store: Store, group: Group) -> None:
    vector = np.array([0.1, -0.0, np.inf, np.nan, 1e-42], np.float32)
    store.put(group, group.key("q"), Entry(vector))
    store.flush()
    found = store.get(group, [group.key("q")])[group.key("q")].value
    assert found.dtype == np.float32 and found.tobytes() == vector.tobytes()


def test_what_is_queued_is_known(store: Store, group: Group) -> None:
    key = group.key("q")
    store.put(group, key, Entry("a"))
    assert store.get(group, [key]) == {key: Entry("a")}
    assert store.known(group, [key]) == {key}


def test_the_first_answer_stays(store: Store, group: Group) -> None:
    key = group.key("q")
    store.put(group, key, Entry("first"))
    store.flush()
    store.put(group, key, Entry("second"))
    store.flush()
    assert store.get(group, [key])[key].value == "first"
    assert store.stat()[0][1] == 1


def test_every_flipped_bit_is_found(group: Group) -> None:
    body = codec.encode(group.key("q"), Entry("text", "length", 1, 2, b"s"), group.seed)
    for bit in range(8 * len(body)):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        assert codec.decode(bytes(flipped), [len(flipped)], group.seed).values == []
        assert codec.intact(bytes(flipped), [len(flipped)], group.seed) == []


def test_an_entry_of_another_group_is_not_believed(group: Group) -> None:
    body = codec.encode(group.key("q"), Entry("a"), group.seed)
    assert codec.decode(body, [len(body)], zlib.crc32(b"another")).values == []


@pytest.mark.parametrize("body", [b"", b"short", b"x" * 60, 7, "text", "grün \0 text", None])
def test_a_damaged_entry_is_not_there_and_is_replaced(
    path: Path, store: Store, group: Group, body: object
) -> None:
    keys = fill(store, group, 3)
    change(path, "UPDATE answers SET body = ? WHERE n = 2", body)
    assert store.known(group, keys) == store.get(group, keys).keys() == {keys[0], keys[2]}
    store.put(group, keys[1], Entry("anew"))
    store.flush()
    assert store.get(group, keys)[keys[1]].value == "anew"


def test_an_entry_in_the_place_of_another_is_not_believed(
    path: Path, store: Store, group: Group
) -> None:
    keys = fill(store, group, 2)
    change(path, "UPDATE answers SET body = (SELECT body FROM answers WHERE n = 2) WHERE n = 1")
    assert store.get(group, keys[:1]) == {} and store.known(group, keys[:1]) == set()


def test_answers_larger_than_one_sqlite_value_can_be_read(
    store: Store, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = fill(store, group, 50, "x" * 1_000)
    con = store._own_reading._current()
    con.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
    assert len(store.get(group, keys)) == 50


def test_finish_deletes_the_answers_of_a_statement(store: Store, group: Group) -> None:
    one, other, kept = (group.key(t) for t in "abc")
    store.put(group, one, Entry("1", statement=b"one"))
    store.flush()
    store.put(group, other, Entry("2", statement=b"one"))
    store.put(group, kept, Entry("3", statement=b"two"))
    store.finish(b"one")
    store.flush()
    assert store.get(group, [one, other, kept]).keys() == {kept}


def test_stat_counts_by_model_name(store: Store, group: Group) -> None:
    other = Group.of("other", {"model": "o"})
    fill(store, group, 3)
    fill(store, Group.of("chat", {"model": "m", "temperature": 1}), 2)
    fill(store, other, 1)
    rows = store.stat()
    assert [row[:2] for row in rows] == [("chat", 5), ("other", 1)]
    assert rows[0][2] == 5 * len(codec.encode(b"k" * 16, Entry("answer 0"), 0))
    assert abs(rows[0][3] - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)


def test_clear_deletes_and_gives_the_space_back(path: Path, store: Store, group: Group) -> None:
    fill(store, Group.of("other", {}), 10)
    fill(store, group, 2_000, "x" * 500)
    assert store.clear("chat") == 2_000
    assert path.stat().st_size < 200_000
    assert [row[:2] for row in store.stat()] == [("other", 10)]
    assert store.clear(None) == 10 and store.stat() == []


def test_rows_export_everything(store: Store, group: Group) -> None:
    store.put(group, group.key("a"), Entry("text", "length", 1, 2))
    store.put(group, group.key("b"), Entry(np.array([1.0, 2.0], np.float32)))
    store.put(group, group.key("c"), Entry(0.5))
    rows = list(store.rows())
    assert [row[3] for row in rows] == ["text", [1.0, 2.0], 0.5]
    assert rows[0][:3] == ("chat", group.about, group.key("a").hex())
    assert rows[0][4:7] == ("length", 1, 2) and rows[0][7].tzinfo is datetime.UTC


def test_the_least_recently_used_go_first(path: Path, group: Group) -> None:
    before = Store.open(path)
    keys = fill(before, group, 100)
    size = before.stat()[0][2]
    before.close()
    store = Store.open(path, max_bytes=size)
    store.get(group, keys[:30])
    store.flush()
    fill(store, group, 20, "later!")
    left = store.known(group, keys)
    assert set(keys[:30]) <= left and len(left) < 80
    assert store.stat()[0][2] <= size
    store.close()


def test_an_entry_is_marked_once_a_minute(path: Path, group: Group) -> None:
    store = Store.open(path, max_bytes=2**30)
    keys = fill(store, group, 10)
    for _ in range(3):
        store.get(group, keys)
        store.flush()
    reading = store._own_reading._current()
    assert reading.execute("SELECT count(*), count(DISTINCT used) FROM uses").fetchone() == (10, 1)
    store._since = (store._since or (0, 0.0))[0], -1e9  # a minute passes
    store.get(group, keys[:4])
    store.flush()
    assert reading.execute("SELECT count(DISTINCT used) FROM uses").fetchone() == (2,)
    store.close()


def test_marks_wait_with_a_commit_that_failed(group: Group) -> None:
    failed, later = Jobs(), Jobs()
    failed.mark(group, ["1"])
    later.mark(group, ["2", "3"])
    assert failed.followed_by(later).marks == ["1", "2", "3"]


def test_a_damaged_sum_does_not_have_everything_deleted(path: Path, group: Group) -> None:
    store = Store.open(path, max_bytes=100_000)
    keys = fill(store, group, 10)
    change(path, "UPDATE state SET bytes = 1 << 50")
    fill(store, group, 1, "more")
    assert len(store.known(group, keys)) == 10
    store.close()


def test_a_store_in_memory_keeps_no_answers(group: Group) -> None:
    store = Store.in_memory()
    store.put(group, group.key("q"), Entry("a"))
    store.flush()
    assert store.get(group, [group.key("q")]) == {} and not store.is_usable
    assert store._writer._thread is None  # it has cost nothing so far
    store.close()


def test_opening_makes_no_file(store: Store, path: Path) -> None:
    """A database that calls no model gets nothing beside it."""
    assert not path.exists() and store.get(Group.of("m", {}), [b"k" * 16]) == {}


def test_close_is_durable_and_can_be_repeated(path: Path, group: Group) -> None:
    store = Store.open(path)
    store.put(group, group.key("q"), Entry("a"))
    store.close()
    store.close()
    assert not Path(f"{path}-wal").exists()
    assert store.get(group, [group.key("q")]) == {}
    assert Store.open(path).get(group, [group.key("q")])


def test_a_forgotten_store_writes_what_it_was_given(path: Path, group: Group) -> None:
    store = Store.open(path)
    store.put(group, group.key("q"), Entry("a"))
    del store
    gc.collect()
    again = Store.open(path)
    assert again.get(group, [group.key("q")])
    again.close()


def test_nothing_is_said_at_exit(path: Path) -> None:
    """A program that ends without closing leaves its answers behind and no words."""
    code = f"""if True:
        from pathlib import Path
        from llmsql.store import Entry, Group, Store
        store = Store.open(Path({str(path)!r}))
        group = Group.of("m", {{}})
        store.put(group, group.key("q"), Entry("a"))
    """
    run = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout + run.stderr == ""
    store, group = Store.open(path), Group.of("m", {})
    assert store.get(group, [group.key("q")])
    store.close()


def test_a_forked_child_has_its_own_connection(store: Store, group: Group) -> None:
    """It reads and writes, and leaves the parent's queue to the parent."""
    keys = fill(store, group, 5)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            found = len(store.get(group, keys))
            store.put(group, group.key("of the child"), Entry("c"))
            store.close()
            status = 0 if found == 5 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(store.get(group, [*keys, group.key("of the child")])) == 6


def test_a_forked_child_waits_for_no_lock_of_its_parent(store: Store, group: Group) -> None:
    keys = fill(store, group, 5)
    store.max_bytes = 2**30  # so that it looks how long ago entries were used
    is_held, is_done = threading.Event(), threading.Event()

    def hold() -> None:
        with store._own_reading._lock:
            is_held.set()
            is_done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if len(store.get(group, keys)) == 5 else 2)
    is_done.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_group_can_be_pickled_and_keeps_its_keys(group: Group) -> None:
    key = group.key("q")
    copy = pickle.loads(pickle.dumps(group))
    assert copy == group and copy.key("q") == key
    assert group.key(("q", "r")) != group.key(("qr", "")) != group.key("qr")


def test_an_answer_of_no_known_type_is_refused(store: Store, group: Group) -> None:
    with pytest.raises(TypeError, match="an answer is a text, a vector or a score, not dict"):
        store.put(group, group.key("q"), Entry({}))


def test_read_only_answers_are_read_and_none_written(path: Path, group: Group) -> None:
    before = Store.open(path)
    keys = fill(before, group, 3)
    before.close()
    store = Store.open(path, is_read_only=True)
    assert len(store.get(group, keys)) == 3
    with pytest.warns(LlmsqlWarning, match="opened read-only: kept answers are reused") as said:
        for i in range(3):
            store.put(group, group.key(f"new {i}"), Entry("n"))
    assert len(said) == 1
    store.append("calls", b"kept in memory", 1)
    assert [body for _, body in store.batches("calls")] == [b"kept in memory"]
    assert store.clear(None) == 0 and len(store.get(group, keys)) == 3
    store.close()


def test_no_bodies_are_no_entries(group: Group) -> None:
    assert codec.decode(b"", [], group.seed).values == codec.intact(b"", [], group.seed) == []


@pytest.mark.parametrize("times", [1, 300])  # few, and so many that Arrow makes them
@pytest.mark.parametrize("other", ["plain", "half \ud800"])
def test_texts_beyond_ascii_come_back_between_others(group: Group, other: str, times: int) -> None:
    texts = ["plain", "", "grün", "", "\x7f", "\x80", "日本", "", "plain", other, "\0"] * times
    bodies = [codec.encode(group.key(text), Entry(text), group.seed) for text in texts]
    assert codec.decode(b"".join(bodies), list(map(len, bodies)), group.seed).values == texts
