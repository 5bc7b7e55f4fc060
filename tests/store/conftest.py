"""A store in a folder of its own, and a group to put answers in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmsql.store import Group, Store


@pytest.fixture
def group() -> Group:
    """The answers of the model "chat"."""
    return Group.of("chat", {"model": "m", "temperature": 0})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store will be."""
    return tmp_path / "shop.duckdb.llmsql"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """An empty store."""
    store = Store.open(path)
    yield store
    store.close()
