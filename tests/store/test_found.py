"""What is found of many keys: in their order, and never for a key that is only alike."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import pytest

from llmsql.store import Entry, Group, Store


def test_known_and_unknown_keys_stay_in_their_order(store: Store, group: Group) -> None:
    numbers = list(range(40_000))
    random.Random(0).shuffle(numbers)
    keys = group.keys(str(number) for number in numbers)
    for number, key in zip(numbers, keys, strict=True):
        if number % 3:
            store.put(group, key, Entry(f"answer {number}"))
    store.flush()
    found = store.find(group, keys)
    known, unknown = found.split(numbers)
    assert known == [number for number in numbers if number % 3]
    assert unknown == [number for number in numbers if not number % 3]
    assert found.values == [f"answer {number}" for number in known]
    assert len(found) == len(known)


def test_slices_are_found_one_after_the_other(store: Store, group: Group) -> None:
    slices = [[f"{part} {number}" for number in range(20_000)] for part in "abc"]
    for given in slices[0] + slices[2]:
        store.put(group, group.key(given), Entry(given))
    store.flush()
    found = list(store.found(group, map(group.keys, slices)))
    assert [each.values for each in found] == [slices[0], [], slices[2]]


def test_no_thread_is_left_of_a_reading_that_is_given_up(store: Store, group: Group) -> None:
    keys = group.keys(map(str, range(40_000)))
    for key in keys:
        store.put(group, key, Entry("a"))
    store.flush()
    found = store.found(group, [keys[:20_000], keys[20_000:]])
    next(found)
    found.close()
    assert not [thread for thread in threading.enumerate() if "store-reader" in thread.name]


def test_what_is_wrong_with_a_later_slice_is_raised(store: Store, group: Group) -> None:
    def slices() -> Iterator[list[bytes]]:
        for part in "abc":
            yield group.keys([part])
        raise KeyError("d")

    found = store.found(group, slices())
    with pytest.raises(KeyError, match="d"):
        list(found)


def test_a_key_that_begins_like_another_is_not_found(store: Store, group: Group) -> None:
    key = group.key("q")
    store.put(group, key, Entry("a"))
    store.flush()
    found = store.find(group, [key[:8] + bytes(8), key])
    assert found.split("ab") == (["b"], ["a"])
    assert list(found.entries()) == [Entry("a")]


def test_an_answer_that_is_queued_is_found(store: Store, group: Group) -> None:
    keys = group.keys("abc")
    store.put(group, keys[0], Entry("in the file"))
    store.flush()
    store.put(group, keys[2], Entry("queued"))
    assert store.find(group, keys).values == ["in the file", "queued"]


def test_why_an_answer_ended_is_found_with_its_tokens(store: Store, group: Group) -> None:
    keys = group.keys("abcd")
    reasons = ["stop", "length", "content_filter", "length"]
    for number, (key, reason) in enumerate(zip(keys, reasons, strict=True)):
        store.put(group, key, Entry("a", reason, 1, number))
    found = store.find(group, keys)
    assert found.ended("length") == [1, 3] and found.ended("error") == []
    assert [found.written(number) for number in found.ended("length")] == [1, 3]


def test_nothing_is_found_of_nothing(store: Store, group: Group) -> None:
    assert store.find(group, []).split([]) == ([], [])


def test_keys_together_are_the_keys_one_by_one(group: Group) -> None:
    inputs = ["", "a", "b", "grün", ("query", "passage"), "half \ud800", "x" * 1_000, ("a", "")]
    assert group.keys(inputs) == [group.key(given) for given in inputs]
