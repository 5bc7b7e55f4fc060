"""A stranger's backend in replicas: what it warns of, forgets and raises arrives as it should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmsql import backends
from llmsql.errors import BackendError, LlmsqlWarning

BACKEND = '''
from llmsql.backends import base
from llmsql.errors import GenerationError, warn
from llmsql.types import Completion


class Refused(GenerationError):
    """Known nowhere else."""

    def __init__(self, text, code):
        super().__init__(f"{text} ({code})")


class Twisted:
    """Is written, and cannot be read."""

    def __reduce__(self):
        return int, ("x",)


class Backend(base.Backend):
    needs_source = False
    model_types = ("stranger",)

    def load(self, spec):
        warn("this model is strange")
        return Model()


class Model(base.Model):
    note = "it is noted"

    def generate(self, prompts):
        for index, prompt in enumerate(prompts):
            if prompt.text == "refuse":
                yield index, Refused("no", 42)
            elif prompt.text == "hide":
                yield index, lambda: None
            elif prompt.text == "twist":
                yield index, Twisted()
            elif prompt.text != "forget":
                yield index, Completion(prompt.text)
'''


@pytest.fixture
def strange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, con: Any) -> Iterator[Any]:
    """A connection where the package `strange` is installed, and its model deployed twice."""
    (tmp_path / "strange.py").write_text(BACKEND)
    about = tmp_path / "strange-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[llmsql.backends]\nstrange = strange:Backend\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.warns(LlmsqlWarning) as said:
        con.execute(
            "RUN command AS LLM WHERE pretrainedModelType='stranger' AND udfName='chat'"
            " AND maxConcurrency='2'"
        )
    assert [str(one.message) for one in said] == [
        "this model is strange",
        'model "chat": it is noted',
    ]
    yield con
    backends.get.cache_clear()


def test_what_it_says_when_it_loads_is_said_once(strange: Any) -> None:
    """Two replicas warn of the same, and it is answered by both (the fixture looks)."""
    assert strange.execute("SELECT chat('yes')").fetchall() == [("yes",)]


def test_what_it_forgets_is_an_error_of_the_row(strange: Any) -> None:
    """An input without an answer fails; the others wait for nothing."""
    with pytest.warns(LlmsqlWarning, match="1 of 2.*the model gave no answer"):
        rows = strange.execute("SELECT chat(s) FROM (VALUES ('a'), ('forget')) t(s)").fetchall()
    assert rows == [("a",), (None,)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hide", "^an answer cannot be sent: "),
        ("twist", '^a process of model "chat" gave an answer that cannot be read: invalid literal'),
    ],
)
def test_what_cannot_cross_ends_the_statement(strange: Any, text: str, said: str) -> None:
    """An answer that no pipe takes is an error, and nobody waits for it; the next one comes."""
    with pytest.raises(BackendError, match=said):
        strange.execute(f"SELECT chat('{text}')")
    assert strange.execute("SELECT chat('yes')").fetchall() == [("yes",)]


def test_an_error_of_its_own_class_is_one_of_ours(strange: Any) -> None:
    """An error that cannot be made anew here keeps its text."""
    with pytest.warns(LlmsqlWarning, match=r"1 of 1.*no \(42\)"):
        assert strange.execute("SELECT chat('refuse')").fetchall() == [(None,)]
