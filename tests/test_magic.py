from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from llmsql.errors import CatalogError, StatementError
from tests.installed import require

require("IPython", "pandas")

DEPLOY = (
    "RUN command AS LLM WHERE action='infer' AND pretrainedModelType='debug' AND udfName='chat'"
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Run a cell in an IPython that has loaded the extension."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.history_manager.enabled = False
    with warnings.catch_warnings():
        # DuckDB's way of making a DataFrame of a time with its zone.
        warnings.filterwarnings(
            "ignore", "The inplace keyword in DataFrame.drop", DeprecationWarning
        )
        assert shell.run_cell("%load_ext llmsql").success
        yield shell.run_cell
    shell.history_manager.end_session()


def test_cell(run: Callable[[str], Any]) -> None:
    """
    A cell deploys a model and asks it; the last result comes back as a DataFrame.
    """
    frame = run(f"%%llmsql\n{DEPLOY};\nSELECT chat('a') AS a, now() AS n, {{'b': 1}} AS s;").result
    assert list(frame.columns) == ["a", "n", "s"]
    assert frame["a"].tolist() == ["a"]
    assert frame["s"].tolist() == [{"b": 1}]


def test_cells_share_a_connection(run: Callable[[str], Any]) -> None:
    """
    Cells and lines without a name run on one connection.
    """
    assert run("%%llmsql\nCREATE TABLE t AS SELECT 7 AS i").result is None
    assert run("%llmsql FROM t").result["i"].tolist() == [7]


def test_a_plan_is_text(run: Callable[[str], Any]) -> None:
    """
    EXPLAIN comes back as text that a notebook shows as it is, not as a row of a DataFrame.
    """
    plan = run(f"%%llmsql\n{DEPLOY};\nEXPLAIN SELECT chat('a')").result
    assert repr(plan) == str(plan)
    assert "model calls\n" in plan


def test_a_cell_takes_no_option(
    run: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An option alone is refused, too, and no file is made of it.
    """
    monkeypatch.chdir(tmp_path)
    result = run("%%llmsql -help\nSELECT 1")
    assert isinstance(result.error_in_exec, StatementError)
    assert str(result.error_in_exec) == (
        '%%llmsql takes no option "-help", only a connection or a database file'
    )
    assert not list(tmp_path.glob("*help*"))


def test_a_table_of_statements_is_no_connection(run: Callable[[str], Any]) -> None:
    """
    What only has an attribute of a connection's name is not taken for one.
    """
    run("import pandas\nf = pandas.DataFrame({'statements': [1]})")
    result = run("%%llmsql f\nSELECT 1")
    assert isinstance(result.error_in_exec, CatalogError)
    assert str(result.error_in_exec).startswith('there is no connection "f"')


def test_a_cell_has_one_name(run: Callable[[str], Any], tmp_path: Path) -> None:
    """
    What looks like an option is refused, and no file is made of it.
    """
    file = tmp_path / "x.duckdb"
    result = run(f"%%llmsql {file} --help\nSELECT 1")
    assert isinstance(result.error_in_exec, StatementError)
    assert str(result.error_in_exec) == (
        f'a cell runs on one connection or database file, not "{file} --help"\n'
        "  a path with spaces is written in quotes"
    )
    assert not list(tmp_path.glob("x.duckdb*"))


def test_nothing_leaks_when_ipython_ends(tmp_path: Path) -> None:
    """
    DuckDB has nothing to complain of when a session ends in which cells ran.
    """
    script = tmp_path / "cells.ipy"
    script.write_text(f"%load_ext llmsql\n%llmsql {DEPLOY}\n%llmsql SELECT chat('a')\n")
    done = subprocess.run(
        [sys.executable, "-m", "IPython", str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        check=True,
    )
    assert "leaked" not in done.stdout + done.stderr


def test_frames_are_tables(run: Callable[[str], Any]) -> None:
    """
    A DataFrame of the notebook is read as a table, and the SQL is left as it is typed.
    """
    run("import pandas; df = pandas.DataFrame({'x': [1, 2]}); x = 'not this'")
    frame = run("%llmsql SELECT sum(x) AS s, {'x': '$x {x}'} AS t FROM df").result
    assert (frame["s"].tolist(), frame["t"].tolist()) == ([3], [{"x": "$x {x}"}])
    assert run("%%llmsql\nSELECT count(*) AS n FROM df").result["n"].tolist() == [2]


def test_connection_of_the_notebook(run: Callable[[str], Any]) -> None:
    """
    A cell can name a connection that the notebook made.
    """
    run("import llmsql; con = llmsql.connect(); _ = con.execute('CREATE TABLE t AS SELECT 5 AS i')")
    assert run("%%llmsql con\nFROM t").result["i"].tolist() == [5]
    assert isinstance(run("%%llmsql\nFROM t").error_in_exec, duckdb.Error)
    run("con.close()")


def test_a_semicolon_is_no_part_of_a_connections_name(
    run: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A cell whose first line ends as a statement runs where it would without.
    """
    monkeypatch.chdir(tmp_path)
    run("import llmsql; con = llmsql.connect(); _ = con.execute('CREATE TABLE t AS SELECT 5 AS i')")
    assert run("%%llmsql con;\nFROM t").result["i"].tolist() == [5]
    assert str(run("%%llmsql cno ;\nFROM t").error_in_exec).startswith(
        'there is no connection "cno"; did you mean "con"?'
    )
    run("%%llmsql 'shop.duckdb';\nSELECT 1")
    assert (tmp_path / "shop.duckdb").exists()
    assert not list(tmp_path.glob("*;*"))
    run("con.close()")


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_database_file(run: Callable[[str], Any], tmp_path: Path, quote: str) -> None:
    """
    A cell can name a database file, which later cells find open.
    """
    name = f"{quote}{tmp_path}/shop.duckdb{quote}"
    run(f"%%llmsql {name}\nCREATE TABLE t AS SELECT 3 AS i")
    assert run(f"%%llmsql {name}\nFROM t").result["i"].tolist() == [3]
    assert (tmp_path / "shop.duckdb").exists()


@pytest.mark.parametrize(
    ("cell", "error", "shown"),
    [
        ("%llmsql SELECT nope", duckdb.BinderException, "Binder Error: Referenced column"),
        ("%%llmsql\nSELECT 1;\n!llm nope", StatementError, "StatementError: "),
        (
            "%%llmsql cno\nSELECT 1",
            CatalogError,
            'CatalogError: there is no connection "cno"; did you mean "con"?\n'
            "  con = llmsql.connect() makes one; a database file is written 'cno'\n",
        ),
    ],
)
def test_errors_are_one_message(
    run: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
    cell: str,
    error: type[Exception],
    shown: str,
) -> None:
    """
    An error shows its message without a traceback, and still stops the notebook.
    """
    run("import llmsql; con = llmsql.connect()")
    result = run(cell)
    seen = capsys.readouterr().out
    run("con.close()")
    assert isinstance(result.error_in_exec, error)
    assert seen.startswith(shown)
    assert "Traceback" not in seen and ".py" not in seen


def test_warnings_are_lines(run: Callable[[str], Any], capsys: pytest.CaptureFixture[str]) -> None:
    """
    What a statement that succeeded still has to say is one line on stderr.
    """
    run(f"%%llmsql\n{DEPLOY} AND `backend.fail_on`='bad'")
    capsys.readouterr()
    run("%llmsql SELECT chat(x) AS a FROM (VALUES ('good'), ('bad')) t(x)")
    err = capsys.readouterr().err
    assert err.startswith("warning: 1 of 2 model calls failed")
    assert err.count("\n") == 1


def test_interrupt(run: Callable[[str], Any]) -> None:
    """
    Interrupting the kernel stops a long query.
    """
    import signal

    timer = threading.Timer(1, signal.raise_signal, [signal.SIGINT])
    timer.start()
    started = time.monotonic()
    query = "SELECT sum(a.range * b.range % 7) FROM range(1000000) a, range(1000000) b"
    result = run(f"%llmsql {query}")
    assert isinstance(result.error_in_exec, KeyboardInterrupt)
    assert result.error_in_exec._render_traceback_() == ["KeyboardInterrupt"]
    assert time.monotonic() - started < 10
