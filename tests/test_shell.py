from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installed import require

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")

DEPLOY = (
    "RUN command AS LLM WHERE action='infer' AND pretrainedModelType='debug' AND udfName='chat';"
)
PATIENCE = 60
# Ctrl-C reaches who has the terminal as its own.
IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Terminal:
    """The command in a terminal of 80 columns: what is typed, and what is seen."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.fd, there = pty.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL, "-m", "llmsql.cli", *arguments],
            stdin=there,
            stdout=there,
            stderr=there,
            env={**os.environ, "XDG_CACHE_HOME": str(home), "TERM": "dumb"},
            start_new_session=True,
        )
        os.close(there)
        self.seen = self.until("llmsql> ")

    def until(self, text: str) -> str:
        """Read up to *text*, and return what came."""
        seen, deadline = b"", time.monotonic() + PATIENCE
        while text.encode() not in seen:
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come after {seen.decode()!r}"
            try:
                more = os.read(self.fd, 4096)
            except OSError:  # Linux says so when the other side has gone
                more = b""
            assert more, f"the shell left after {seen.decode()!r}"
            seen += more
        return seen.decode().replace("\r", "")

    def type(self, text: str) -> str:
        """Type a line, and return what came before the next prompt."""
        os.write(self.fd, f"{text}\n".encode())
        return re.sub(r"\x1b\[\?2004[hl]\r?", "", self.until("> "))

    def left(self) -> int:
        """Wait for the end, and return the exit code."""
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End the shell if it still runs."""
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A shell at its first prompt."""
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


def test_session(terminal: Terminal) -> None:
    """
    A model is deployed and asked at the prompt; a statement may take several lines.
    """
    assert terminal.seen.startswith("llmsql ")
    assert "echo" in terminal.type(DEPLOY)
    assert terminal.type("SELECT chat('one;").endswith("   ...> ")
    assert terminal.type("two')").endswith("   ...> ")
    seen = terminal.type("AS answer;")
    assert "│ answer  │\n│ varchar │\n├─────────┤\n│ one;    │\n│ two     │\n" in seen
    assert seen.endswith("llmsql> ")


def test_a_chat_cell_ends_with_a_blank_line(terminal: Terminal) -> None:
    """
    Free text has no semicolon: a blank line sends it, and the answer comes.
    """
    terminal.type(DEPLOY)
    assert terminal.type("--%chat").endswith("   ...> ")
    assert terminal.type("--%model=chat").endswith("   ...> ")
    assert terminal.type("what; is this").endswith("   ...> ")
    assert "what; is this" in terminal.type("")


def test_errors_do_not_end_it(terminal: Terminal) -> None:
    """
    After an error, of DuckDB or of ours, the prompt comes back, and what was made is still there.
    """
    terminal.type("CREATE TABLE t AS SELECT 7 AS i;")
    seen = terminal.type("SELECT nope;")
    assert '\nBinder Error: Referenced column "nope"' in seen
    seen = terminal.type("!llm nope;")
    assert "StatementError: " in seen
    assert "  | " not in seen
    assert "│     7 │" in terminal.type("FROM t;")


def test_width_is_the_terminals(terminal: Terminal) -> None:
    """
    A box fits the terminal, and a long result shows its ends.
    """
    seen = terminal.type("SELECT repeat('long ', 100) AS text FROM range(2);")
    assert {len(line) for line in seen.split("\n") if line.startswith("│")} == {80}
    assert "  100 rows (40 shown)" in terminal.type("FROM range(100);")


@pytest.mark.parametrize("leave", [".quit", ".exit", "exit", "quit;", "\x04"])
def test_leaving(terminal: Terminal, leave: str) -> None:
    """
    .quit, .exit and Ctrl-D leave with code 0, and so do the words alone.
    """
    os.write(terminal.fd, (leave if leave == "\x04" else leave + "\n").encode())
    assert terminal.left() == 0


def test_interrupt_clears_the_line(terminal: Terminal) -> None:
    """
    Ctrl-C forgets a statement half typed.
    """
    terminal.type("SELECT 'half")
    time.sleep(0.3)  # readline draws the prompt a moment before it listens
    os.write(terminal.fd, b"\x03")
    assert terminal.until("llmsql> ")
    assert "│     1 │" in terminal.type("SELECT 1;")


def test_interrupt_cancels_a_statement(terminal: Terminal) -> None:
    """
    Ctrl-C stops a long query, and the next one runs.
    """
    query = "SELECT sum(a.range * b.range % 7) FROM range(1000000) a, range(1000000) b;"
    os.write(terminal.fd, f"{query}\n".encode())
    time.sleep(2)
    os.write(terminal.fd, b"\x03")
    assert "interrupted" in terminal.until("llmsql> ").removeprefix(query)
    assert "│     1 │" in terminal.type("SELECT 1;")


def test_dot_commands(terminal: Terminal, tmp_path: Path) -> None:
    """
    The dot commands list tables, change the format, time, read scripts and list themselves.
    """
    (tmp_path / "a.sql").write_text("SELECT 11 AS a;\n\nSELECT nope;\n")
    terminal.type("CREATE TABLE shop(i INT);")
    assert "│ shop    │" in terminal.type(".tables")
    terminal.type(".mode csv")
    assert "\na\n1\n" in terminal.type("SELECT 1 AS a;")
    terminal.type(".timer on")
    assert re.search(r"\ntook \d+\.\d{3} s\n", terminal.type("SELECT 1 AS a;"))
    terminal.type(".timer off;")
    seen = terminal.type(f".read {tmp_path}/a.sql")
    assert f"\na\n11\n{tmp_path}/a.sql:3: Binder Error" in seen
    seen = terminal.type(".help")
    assert ".read FILE        run a script" in seen
    assert seen.count(".exit") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (".quiet", 'there is no command ".quiet"; did you mean ".quit"?\n  .help shows them'),
        (".mode boxx", 'there is no mode "boxx"; did you mean "box"?\n  modes: box, table'),
        (".timer", '.timer takes on or off, not ""'),
        (".read /nope.sql", 'cannot read script "/nope.sql": '),
    ],
)
def test_wrong_dot_commands(line: str, message: str, tmp_path: Path) -> None:
    """
    A dot command that makes no sense says what there is instead.
    """
    terminal = Terminal(tmp_path)
    assert message in terminal.type(line)
    terminal.close()


def test_line_ends_in_texts_that_are_read_stay(terminal: Terminal, tmp_path: Path) -> None:
    """
    A script means the same to .read as to the command line.
    """
    (tmp_path / "a.sql").write_bytes(b"SELECT length('a\r\nb') AS n;\r\n")
    terminal.type(".mode csv")
    assert "\nn\n4\n" in terminal.type(f".read {tmp_path}/a.sql")


def test_history(tmp_path: Path) -> None:
    """
    Lines are remembered from one session to the next, for their author alone.
    """
    require("readline")
    first = Terminal(tmp_path)
    first.type("SELECT 'remember me';")
    os.write(first.fd, b".quit\n")
    assert first.left() == 0
    first.close()
    history = tmp_path / "llmsql" / "history"
    assert "SELECT 'remember me';" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600
    second = Terminal(tmp_path)
    os.write(second.fd, b"\x10\x10")  # twice back: over .quit
    assert "│ remember me   │" in second.type("")
    second.close()


def test_init_comes_first(tmp_path: Path) -> None:
    """
    The init file is run before the first prompt.
    """
    (tmp_path / "init.sql").write_text("CREATE TABLE t AS SELECT 5 AS i;")
    terminal = Terminal(tmp_path, "-init", str(tmp_path / "init.sql"), "-line")
    assert "i = 5" in terminal.type("FROM t;")
    terminal.close()
