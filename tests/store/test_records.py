"""Batches and sums share the file and the writer of the answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmsql.store import Store
from tests.store.test_results import change


@pytest.fixture(params=["file", "memory"])
def either(request: pytest.FixtureRequest, path: Path) -> Store:
    """Records are kept beside a file and in memory alike."""
    store = Store.open(path) if request.param == "file" else Store.in_memory()
    request.addfinalizer(store.close)
    return store


def test_batches_come_back_in_order(either: Store) -> None:
    """More of them than one page, and only of the kind that is asked for."""
    for i in range(40):
        assert either.append("calls", b"%d" % i, 1, tag=i) == i + 1 + i // 20
        if i == 19:
            either.append("statements", b"other", 1)
    assert list(either.batches("calls")) == [(i, b"%d" % i) for i in range(40)]


def test_the_oldest_batches_go(either: Store) -> None:
    either.max_records = 100
    for i in range(10):
        either.append("calls", b"%d" % i, 30)
        either.flush()
    assert [body for _, body in either.batches("calls")] == [b"7", b"8", b"9"]


def test_the_newest_batch_stays_however_large(either: Store) -> None:
    either.max_records = 10
    either.append("calls", b"old", 5)
    either.append("calls", b"large", 50)
    assert [body for _, body in either.batches("calls")] == [b"large"]


def test_a_damaged_batch_is_skipped(path: Path, store: Store) -> None:
    store.append("calls", b"one", 1)
    store.append("calls", b"two", 1)
    store.flush()
    change(path, "UPDATE batches SET body = CAST('onf' AS BLOB) WHERE id = 1")
    assert list(store.batches("calls")) == [(0, b"two")]


def test_sums_are_added_by_day_model_and_group(either: Store) -> None:
    either.count("2026-01-01", "chat", b"g", calls=1, input_tokens=10, seconds=0.5)
    either.flush()
    either.count("2026-01-01", "chat", b"g", calls=2, input_tokens=5)
    either.count("2026-01-02", "chat", b"g", calls=4, cost=0.25)
    either.count("2026-01-02", "chat", b"h", calls=8)
    rows = {(row["day"], row["group"]): row for row in either.usage()}
    first = rows["2026-01-01", b"g"]
    assert (first["calls"], first["input_tokens"], first["seconds"]) == (3, 15, 0.5)
    assert first["failed"] == 0 and len(rows) == 3
    total = either.usage_of(b"g")
    assert total is not None and (total["calls"], total["cost"]) == (7, 0.25)
    assert either.usage_of(b"none") is None


@pytest.mark.parametrize(
    "costs, total",
    [([None, None], None), ([None, 0.5], 0.5), ([0.5, None], 0.5), ([0.0, None], 0.0)],
)
def test_a_cost_is_null_only_where_nothing_was_priced(
    either: Store, costs: list[float | None], total: float | None
) -> None:
    for is_flushed in (False, True):
        group = b"flushed" if is_flushed else b"queued"
        for cost in costs:
            either.count("2026-01-01", "chat", group, calls=1, cost=cost)
            if is_flushed:
                either.flush()
        sums = either.usage_of(group)
        assert sums is not None and sums["cost"] == total


def test_tokens_are_null_only_where_nobody_told(either: Store) -> None:
    either.count("2026-01-01", "chat", b"g", calls=1)
    either.flush()
    either.count("2026-01-01", "chat", b"g", calls=1, input_tokens=None, output_tokens=None)
    sums = either.usage_of(b"g")
    assert sums is not None and (sums["calls"], sums["input_tokens"]) == (2, None)
    either.count("2026-01-01", "chat", b"g", calls=1, input_tokens=3)
    sums = either.usage_of(b"g")
    assert sums is not None and (sums["input_tokens"], sums["output_tokens"]) == (3, None)


def test_a_sum_that_is_none_of_ours_is_refused(either: Store) -> None:
    with pytest.raises(TypeError, match="no sum named tokens"):
        either.count("2026-01-01", "chat", b"g", tokens=1)
