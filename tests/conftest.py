"""What every test gets: no network, no settings of the machine, no model left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmsql.config import ENVIRONMENT

if TYPE_CHECKING:
    from tests.oracle import Ours, Plain


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


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Where a database in a file will be."""
    return str(tmp_path / "shop.duckdb")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where the echo model will write what it is asked."""
    return tmp_path / "journal"


@pytest.fixture
def ours() -> Iterator[Ours]:
    """llmsql, beside `plain`."""
    from tests.oracle import Ours

    made = Ours()
    yield made
    made.con.close()


@pytest.fixture
def plain() -> Iterator[Plain]:
    """DuckDB alone, with the same tables and functions as `ours`."""
    from tests.oracle import Plain

    made = Plain()
    yield made
    made.close()
