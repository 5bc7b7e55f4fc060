"""A process of ours: asked, given up, ended, and what is said of one that ended by itself."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmsql.errors import BackendError
from llmsql.process import Process, ProcessEnded

MAIN = """
import os, signal, sys
from multiprocessing.connection import Connection

def main(handle):
    connection = Connection(handle)
    while (message := connection.recv()) is not None:
        number, method, arguments = message
        if method == "echo":
            connection.send((number, [(0, arguments[0])]))
        elif method == "exit":
            print(*arguments, file=sys.stderr)
            return
        elif method == "abort":
            print("bye", flush=True)
            os.abort()
        elif method == "environment":
            connection.send((number, [(0, os.environ.get(arguments[0]))]))
"""
Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a process that echoes, and dies as it is told."""
    (tmp_path / "echoing.py").write_text(MAIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    started: list[Process] = []

    def start(**environment: str) -> Process:
        started.append(Process("echoing", "it", environment))
        return started[-1]

    yield start
    for process in started:
        process.end()


def test_it_answers(start: Start) -> None:
    """What is asked is answered, in an environment of its own."""
    process = start(COLOUR="blue")
    assert process.ask("echo", {"a": [1, None]}) == {"a": [1, None]}
    assert process.ask("environment", "COLOUR") == "blue"
    assert list(process.stream("echo", count=0)) == []


@pytest.mark.parametrize(
    ("method", "words", "said"),
    [
        ("exit", ("first\nno", "room\n\n"), "it ended: no room"),
        ("exit", (), "it ended: it wrote nothing"),
        ("abort", (), "it ended: killed by SIGABRT; bye"),
    ],
    ids=["with words", "without", "killed"],
)
def test_its_last_words(start: Start, method: str, words: tuple[str, ...], said: str) -> None:
    """A process that ends by itself says why: what killed it, and its last line."""
    process = start()
    with pytest.raises(ProcessEnded) as error:
        process.ask(method, *words)
    assert str(error.value) == said
    assert process.has_ended
    with pytest.raises(ProcessEnded):
        process.ask("echo", 1)


def test_what_cannot_be_sent_is_the_callers_error(start: Start) -> None:
    """An argument that cannot be written is refused, and the next call is answered."""
    process = start()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        process.ask("echo", lambda: None)
    assert process.ask("echo", 1) == 1


def test_an_ended_one_was_unloaded(start: Start) -> None:
    """Who ends it knows: what is asked then is no death."""
    process = start()
    process.end()
    with pytest.raises(BackendError, match="^this model was unloaded$") as error:
        process.ask("echo", 1)
    assert not isinstance(error.value, ProcessEnded)


def test_a_forked_process_leaves_it_alone(start: Start) -> None:
    """It has the pipe, and no thread that listens: its answers would be the parent's."""
    process = start()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            process.ask("echo", 1)
        except BackendError as error:
            os.write(write, str(error).encode())
        process.end()
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1000).decode().startswith("it belongs to the process that this one was")
    assert list(process.stream("echo", 1, count=1)) == [(0, 1)]
