from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

import llmsql
from llmsql.catalog import secrets
from llmsql.cli import main
from llmsql.errors import CatalogError
from llmsql.render import FORMATS

DEPLOY = (
    "RUN command AS LLM WHERE action='infer' AND pretrainedModelType='debug' AND udfName='chat'"
)
COMMAND = [sys.executable, "-m", "llmsql.cli"]
Captured = pytest.CaptureFixture[str]


def start(*arguments: str, **options: object) -> subprocess.Popen[str]:
    """Start the command as a process of its own."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(
        [*COMMAND, *arguments],
        text=True,
        encoding="utf-8",
        **{**pipes, **options},  # type: ignore[call-overload]
    )


def test_statements_and_models(capfd: Captured) -> None:
    """
    A model deployed by one -c answers in the next, and the process leaves nothing on stderr.
    """
    process = start("-csv", "-c", DEPLOY, "-c", "SELECT chat('hello') AS answer; SELECT 2")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.endswith("answer\nhello\n2\n2\n")


def test_box_is_the_default(capfd: Captured) -> None:
    """
    Without a format results come in a box, not truncated when piped.
    """
    assert main(["-c", "FROM range(100)"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("┌───────┐\n│ range │\n│ int64 │\n├───────┤\n│     0 │\n")
    assert out.count("\n") == 105


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dashes", ["-", "--"])
def test_formats(capfd: Captured, format: str, dashes: str) -> None:
    """
    Every format is an option, with one dash or two.
    """
    assert main([dashes + format, "-c", "SELECT 1 AS a"]) == 0
    plain = capfd.readouterr().out
    assert "1" in plain
    assert ("┌" in plain) == (format == "box")


def test_csv_line_ends_are_bytes() -> None:
    """
    csv ends its lines with CR LF, whatever the platform, and everything is UTF-8 in any locale.
    """
    done = subprocess.run(
        [*COMMAND, "-csv", "-c", "SELECT '日本' AS a"],
        capture_output=True,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )
    assert done.stdout == "a\r\n日本\r\n".encode()


def test_statements_without_rows_are_silent(capfd: Captured) -> None:
    """
    Creating, inserting and setting show nothing, but a query of a column called Count does.
    """
    sql = "CREATE TABLE t(i INT); INSERT INTO t VALUES (1); SET threads = 1; BEGIN; COMMIT"
    assert main(["-c", sql]) == 0
    assert capfd.readouterr() == ("", "")
    assert main(["-csv", "-c", "SELECT 1 AS Count"]) == 0
    assert capfd.readouterr().out == "Count\r\n1\r\n"


def test_database_and_scripts(tmp_path: Path, capfd: Captured) -> None:
    """
    The init file, the scripts and the statements run in that order, on one connection.
    """
    for name, sql in {
        "init": "CREATE TEMP TABLE t AS SELECT 1 i",
        "a": "INSERT INTO t VALUES (2)",
    }.items():
        (tmp_path / f"{name}.sql").write_text(sql)
    database = tmp_path / "shop.duckdb"
    arguments = [
        "-csv",
        "-init",
        str(tmp_path / "init.sql"),
        str(database),
        str(tmp_path / "a.sql"),
    ]
    assert main([*arguments, "-c", "CREATE TABLE kept AS FROM t; FROM t"]) == 0
    assert capfd.readouterr().out == "i\r\n1\r\n2\r\n"
    with duckdb.connect(database) as con:
        assert con.execute("FROM kept").fetchall() == [(1,), (2,)]


def test_first_script_is_no_database(tmp_path: Path, capfd: Captured) -> None:
    """
    A first argument that ends in .sql is a script, run in memory.
    """
    script = tmp_path / "a.sql"
    script.write_text("\ufeffSELECT current_database() AS d")
    assert main([str(script), "-csv"]) == 0
    assert capfd.readouterr().out == "d\r\nmemory\r\n"
    assert list(tmp_path.iterdir()) == [script]


def test_standard_input() -> None:
    """
    Standard input is the script where none is named, and where one is called -.
    """
    for arguments in ((), ("-",), (":memory:", "-")):
        process = start("-csv", *arguments)
        out, _ = process.communicate("SELECT 1 AS a;\nSELECT x", timeout=60)
        assert (process.returncode, out) == (1, "a\n1\n")


def test_line_ends_in_texts_stay(tmp_path: Path) -> None:
    """
    A text of a script is the same from a file, from standard input and from -c.
    """
    sql = "SELECT length('a\r\nb\rc') AS n;\r\n"
    (tmp_path / "a.sql").write_bytes(sql.encode())
    for given, arguments in (("", [str(tmp_path / "a.sql")]), (sql, ["-"]), ("", ["-c", sql])):
        done = subprocess.run(
            [*COMMAND, "-csv", *arguments], input=given.encode(), capture_output=True
        )
        assert done.stdout == b"n\r\n6\r\n"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_error_has_a_place(newline: str, tmp_path: Path, capfd: Captured) -> None:
    """
    The first error ends the run with code 1, and names the file, the line and the statement.
    """
    script = tmp_path / "bad.sql"
    sql = "SELECT 1 AS a;\n-- a comment\n\n!llm modle\n  list;\nSELECT 2;\n"
    script.write_text(sql, newline=newline)
    assert main(["-csv", str(script)]) == 1
    out, err = capfd.readouterr()
    assert out == "a\r\n1\r\n"
    assert err.startswith(f"{script}:4: StatementError: ")
    assert err.endswith("  | !llm modle\n  |   list\n")


def test_error_of_duckdb(capfd: Captured) -> None:
    """
    An error that quotes the statement itself is not followed by the statement again.
    """
    assert main(["-c", "SELECT 1;\nSELECT x"]) == 1
    err = capfd.readouterr().err
    assert err.startswith("-c:2: Binder Error: ")
    assert err.count("SELECT x") == 1


def test_unclosed_quote(capfd: Captured) -> None:
    """
    A script that ends within a text is an error, not silence.
    """
    assert main(["-c", "SELECT 'abc"]) == 1
    assert "unterminated" in capfd.readouterr().err


def test_long_statement_is_shortened(capfd: Captured) -> None:
    """
    Of a long statement the first lines are shown.
    """
    assert main(["-c", "!llm modle " + "\n,".join(map(str, range(30)))]) == 1
    assert capfd.readouterr().err.endswith("  | ,3\n  | ,4\n  | …\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.sql"], 'there is no script "x.sql"\n  usage: llmsql [DATABASE] [SCRIPT ...]\n'),
        ([":memory:", "."], 'script "." is a directory\n  name a file in it\n'),
        (["-init", "nope"], 'there is no script "nope"\n  usage: llmsql [DATABASE] [SCRIPT ...]\n'),
        (
            ["no/such/folder.db", "-c", "SELECT 1"],
            'cannot open database "no/such/folder.db"\n  IO Err',
        ),
        (["-readonly", "-c", "SELECT 1"], 'cannot open database ":memory:"\n  '),
    ],
)
def test_unreadable_files(
    arguments: list[str],
    message: str,
    capfd: Captured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A file that cannot be read is an error that says which, before anything runs.
    """
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"llmsql: {message}")
    assert list(tmp_path.iterdir()) == []


def test_damaged_files(tmp_path: Path, capfd: Captured) -> None:
    """
    A script that is not text and a database that is none are errors, not stack traces.
    """
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"\xff\xfe\x00garbage" * 1000)
    assert main([":memory:", str(damaged)]) == 1
    assert capfd.readouterr().err.startswith(f'llmsql: script "{damaged}" is not UTF-8 text\n')
    assert main([str(damaged), "-c", "SELECT 1"]) == 1
    assert capfd.readouterr().err.startswith(
        f'llmsql: cannot open database "{damaged}"\n  IO Error'
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-nope"], "unrecognized arguments: -nope"),
        (["-c"], "argument -c: expected one argument"),
        (["--nope=1"], "unrecognized arguments: -nope=1"),
    ],
)
def test_misuse(arguments: list[str], message: str, capfd: Captured) -> None:
    """
    A command line that makes no sense exits with 2.
    """
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert message in capfd.readouterr().err


def test_help_and_version(capfd: Captured) -> None:
    """
    Help and version go to standard output.
    """
    for option in ("-help", "--help", "-h"):
        with pytest.raises(SystemExit) as left:
            main([option])
        assert left.value.code == 0
        assert "a first argument that ends in .sql" in capfd.readouterr().out
    with pytest.raises(SystemExit):
        main(["-version"])
    out = capfd.readouterr().out
    assert out == f"llmsql {llmsql.__version__} (DuckDB {duckdb.__version__})\n"


def test_warnings_are_lines(capfd: Captured) -> None:
    """
    A statement that succeeded with failed rows says so in one line on stderr.
    """
    deploy = DEPLOY + " AND `backend.fail_on`='bad'"
    sql = "SELECT chat(x) AS answer FROM (VALUES ('good'), ('bad')) t(x) ORDER BY ALL; SELECT 3"
    assert main(["-csv", "-c", deploy, "-c", sql]) == 0
    out, err = capfd.readouterr()
    assert out.endswith("answer\r\ngood\r\n\r\n3\r\n3\r\n")
    assert err.startswith("warning: 1 of 2 model calls failed")
    assert err.count("\n") == 1


def test_talk_goes_to_stderr(capfd: Captured) -> None:
    """
    Echoed statements and timings do not mix with the results.
    """
    assert main(["-echo", "-timer", "-csv", "-c", "SELECT 1 AS a"]) == 0
    out, err = capfd.readouterr()
    assert out == "a\r\n1\r\n"
    echoed, timing, rest = err.split("\n")
    assert (echoed, rest) == ("SELECT 1 AS a", "")
    assert timing.startswith("took 0.")


def test_read_only(tmp_path: Path, capfd: Captured) -> None:
    """
    A database opened read-only is not changed.
    """
    database = str(tmp_path / "shop.duckdb")
    assert main([database, "-c", "CREATE TABLE t(i INT)"]) == 0
    assert main([database, "-readonly", "-c", "INSERT INTO t VALUES (1)"]) == 1
    assert "read-only" in capfd.readouterr().err


def test_variables_of_ours_are_no_tables(capfd: Captured) -> None:
    """
    The command's own Python variables cannot be read as tables.
    """
    assert main(["-c", "FROM result"]) == 1
    assert "result does not exist" in capfd.readouterr().err


@pytest.mark.parametrize(
    "sql",
    ["SELECT sum(a.range * b.range % 7) FROM range(1000000) a, range(1000000) b", "slow model"],
)
def test_interrupt(sql: str) -> None:
    """
    Ctrl-C stops a query and a model, and the command exits with 130.
    """
    deploy = DEPLOY + " AND `backend.delay`='0.5'"
    if sql == "slow model":
        sql = "SELECT chat('x' || i) FROM range(100) t(i)"
    process = start("-c", deploy, "-c", "SELECT 'ready'", "-c", sql)
    assert process.stdout is not None
    while "ready" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(1)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[0] == "interrupted"
    assert time.monotonic() - started < 10


def test_broken_pipe_is_silent() -> None:
    """
    A reader that has seen enough ends the command without a word.
    """
    with start("-csv", "-c", "FROM range(1000000)", "-c", "FROM range(10)") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "range\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 141


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("set api_key = `sk-1`", "set api_key = '…'"),
        ("SET VARIABLE api_key = 'sk-1", "SET VARIABLE api_key = '…'"),
        (
            r"RUN command AS LLM WHERE api_key='s\'k' AND a='b'",
            "RUN command AS LLM WHERE api_key='…' AND a='b'",
        ),
        ("CREATE SECRET (TYPE s3, SECRET sk)", "CREATE SECRET (TYPE s3, SECRET '…')"),
        ("SELECT chat('hi', {'api_key': 'sk-1'})", "SELECT chat('…', {'…': '…'})"),
        ('!llm setup "openai_api_key=sk-1"', "!llm setup '…'"),
        ("ATTACH 'postgres:user=a password=b' AS p", "ATTACH '…' AS p"),
        ("SELECT 1 -- api_key = 'sk-1'", "SELECT 1 /* … */"),
        ("SET api_key = 'sk-1' /* mine */", "SET api_key = '…' /* mine */"),
        ("CREATE TABLE t (i INT PRIMARY KEY, x TEXT DEFAULT 'a')", None),
        ("SELECT 'a plain text', \"a name\"", None),
    ],
)
def test_a_secret_is_hidden_in_its_statement(statement: str, shown: str | None) -> None:
    """However it is written; where none is named, the statement stays as it is."""
    assert secrets.hidden(statement) == (shown or statement)


def test_a_long_word_is_looked_through_at_once() -> None:
    """A text of a megabyte without blanks, with whatever a secret has around it."""
    for part in ("a", "a:", "a=", "?key", '"a",'):
        text = "select key, '" + part * 200_000 + "'"
        assert secrets.hidden(text) == "select key, '…'"


@pytest.mark.parametrize("options", [(), ("-echo",)])
def test_no_secret_of_a_statement_is_shown(
    tmp_path: Path, capfd: Captured, options: tuple[str, ...]
) -> None:
    """Neither where it fails nor where it is echoed: logs of others have it for long."""
    script = tmp_path / "deploy.sql"
    script.write_text(
        "RUN command AS LLM WHERE pretrainedModelType='saas/openai' AND udfName='chat'\n"
        "AND saas.api_key='sk-THESECRET' AND saas.base_url='http://127.0.0.1:9/?key=THESECRET';"
    )
    assert main([*options, str(script)]) == 1
    said = capfd.readouterr()
    assert "AND saas.api_key='…' AND saas.base_url='…'" in said.err
    assert "THESECRET" not in said.out + said.err


def test_a_folder_that_is_gone_is_an_error_of_the_statement(tmp_path: Path) -> None:
    """And not the operating system's."""
    folder = tmp_path / "mine"
    folder.mkdir()
    with llmsql.connect() as con:
        con.execute(f'!llm setup "udf_folder={folder}"')
        folder.rmdir()
        with pytest.raises(CatalogError, match=f'^"{folder}/ai_classify.sql" cannot be written: '):
            con.execute("!llm library copy ai_classify")


def test_a_name_that_is_too_long_for_a_path_is_no_model(capfd: Captured) -> None:
    """What the operating system says of it is no answer."""
    deploy = f"RUN command AS LLM WHERE localModelDir='{'x' * 300}' AND udfName='m'"
    assert main(["-c", deploy]) == 1
    assert "BackendError" in capfd.readouterr().err
