"""Every script of examples/sql, run whole by the command, against tests/examples/*.out.

`pytest --update` rewrites the outputs. Rules and padding of boxes are not compared, numbers only to
0.02, and the seconds of a deployment not at all: processors round differently.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installed import MINILM, SMOLLM2, require

OUTPUTS = Path(__file__).parent / "examples"
SCRIPTS = sorted((Path(__file__).parent.parent / "examples" / "sql").glob("*.sql"))
PACKAGES = {"smollm2": SMOLLM2, "minilm": MINILM}
TOLERANCE = 0.02

_DRAWN = re.compile(r'"(request_id|time_cost|first_token_time|speed)": ("[^"]*"|[\d.]+)')
_DEPLOYED = re.compile(r"(│ cpu +│) +([\d.]+) │$", re.MULTILINE)


ENGINES = Path(__file__).parent.parent / "examples" / "engines.py"


def packages(script: Path) -> list[str]:
    """What the models of *script* need."""
    text = script.read_text(encoding="utf-8")
    models = [model for model in PACKAGES if re.search(rf"""['"]{model}['"]""", text)]
    return [name for model in models for name in PACKAGES[model]]


def parameter(script: Path) -> object:
    """A script as a parameter, marked where it loads real weights."""
    marks = [pytest.mark.models] if packages(script) else []
    return pytest.param(script, id=script.stem, marks=marks)


def shown(text: str) -> str:
    """What the command wrote, without what differs from run to run."""
    text = _DRAWN.sub(r'"\1": "…"', text)
    return _DEPLOYED.sub(lambda match: f"{match[1]} {'…':>7} │", text)


def words(text: str) -> list[list[str]]:
    """The words of each line, without rules."""
    lines = [line.split() for line in text.splitlines()]
    return [line for line in lines if line and line[0][0] not in "┌├└"]


def is_same(found: str, expected: str) -> bool:
    """True for the same word, and for numbers that lie close together."""
    try:
        return abs(float(found) - float(expected)) <= TOLERANCE
    except ValueError:
        return found == expected


def cache(request: pytest.FixtureRequest, name: str) -> Path:
    """A cache of converted models: a GGUF file is converted once for all, as that takes long.

    What else is in a cache decides which engine a script gets, so theirs is empty at first.
    """
    kept = request.config.cache
    assert kept
    shared, own = kept.mkdir("llmsql") / "models", kept.mkdir(name)
    shared.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):  # by the other worker, or the time before
        (own / "models").symlink_to(shared)
    return own


def run(script: Path, root: Path, cache: Path) -> str:
    """Run *script* as its header says; returns the results, then the warnings."""
    # One thread on the CPU adds numbers up in the same order every time.
    settings = {"PYTHONPATH": str(root), "LLMSQL_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "llmsql.cli", str(script.relative_to(root))],
        cwd=root,
        env={**os.environ, **settings, "CUDA_VISIBLE_DEVICES": "", "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines(True) if line.startswith("warning: ")]
    return shown(done.stdout) + "".join(warnings)


@pytest.mark.parametrize("script", [parameter(script) for script in SCRIPTS])
def test_script(script: Path, root: Path, request: pytest.FixtureRequest) -> None:
    """The script runs from top to bottom, and answers what its .out file says."""
    require(*packages(script))
    found = run(script, root, cache(request, "examples"))
    output = OUTPUTS / f"{script.stem}.out"
    if request.config.getoption("--update"):
        output.write_text(found, encoding="utf-8")
    expected = words(output.read_text(encoding="utf-8"))
    got = words(found)
    for line, wanted in zip(got, expected, strict=False):
        assert len(line) == len(wanted) and all(map(is_same, line, wanted)), " ".join(line)
    assert len(got) == len(expected), found


def test_outputs() -> None:
    """Every .out file belongs to a script that exists."""
    assert {path.stem for path in OUTPUTS.glob("*.out")} == {path.stem for path in SCRIPTS}


@pytest.mark.models
def test_readme(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Python in the README prints what stands below it."""
    require(*PACKAGES["minilm"])
    text = (root / "README.md").read_text(encoding="utf-8")
    code, output = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", text, re.DOTALL).groups()  # type: ignore[union-attr]
    monkeypatch.chdir(root)
    names: dict[str, object] = {}
    exec(code, names)
    got, expected = words(capsys.readouterr().out), words(output)
    names["con"].close()  # type: ignore[attr-defined]
    assert [len(line) for line in got] == [len(line) for line in expected]
    assert all(map(is_same, sum(got, []), sum(expected, [])))


@pytest.mark.models
def test_every_engine_is_asked(request: pytest.FixtureRequest) -> None:
    """Each that is installed answers, and those that read the same numbers say the same."""
    require(*PACKAGES["smollm2"], *PACKAGES["minilm"], "xllamacpp", "onnxruntime")
    run = subprocess.run(
        [sys.executable, "-W", "ignore", str(ENGINES)],
        capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "LLMSQL_CACHE": str(cache(request, "llmsql"))},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    asked = re.findall(r"│ ((?:chat|emb)_on_\w+)", run.stdout)
    wanted = {"chat_on_llamacpp", "chat_on_transformers", "emb_on_onnxruntime"}
    assert wanted | {"emb_on_sentence_transformers"} <= set(asked)
    # In bfloat16, where the processor has it, vectors are a thousandth apart.
    assert re.search(r"onnxruntime │ sentence_transformers │ +(1\.0|0\.99\d*) │", run.stdout)
