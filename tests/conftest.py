"""What every test gets: no network, no settings of the machine, no model left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmsql.config import ENVIRONMENT


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update`: write tests/examples/*.out anew, for the reader of the diff to judge."""
    parser.addoption("--update", action="store_true", help="rewrite the examples' outputs")


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the settings of the machine it runs on."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(f"LLMSQL_{name.upper()}", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def con() -> Iterator[object]:
    """A connection to an empty database."""
    import llmsql

    connection = llmsql.connect()
    yield connection
    connection.close()


@pytest.fixture
def root() -> Path:
    """The project's folder."""
    return Path(__file__).resolve().parent.parent
