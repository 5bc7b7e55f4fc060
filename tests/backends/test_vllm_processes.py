"""vLLM's processes: started without a word, shared, killed, and never left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import llmsql
from llmsql import backends, replicas, sources
from llmsql.backends.vllm import Options, Sampling
from llmsql.errors import BackendError, LlmsqlWarning
from llmsql.types import ModelSpec, Prompt
from tests.installed import require

from .conftest import VLLM, Models, loaded

require(*VLLM)
import psutil  # noqa: E402  # comes with vLLM

pytestmark = pytest.mark.models


def test_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    """A statement that deploys, asks and removes writes nothing on its own, not even warnings."""
    con = llmsql.connect()
    con.execute(
        "RUN command AS LLM WHERE localModelDir='smollm2' AND udfName='ask'"
        " AND infer_backend='ray/vllm' AND `backend.kv_cache_gb`='0.5'"
        " AND `backend.max_num_seqs`='8' AND `gen.max_tokens`='2'"
    )
    with pytest.warns(LlmsqlWarning, match="cut"):
        (rows,) = con.execute("SELECT count(ask('City ' || i)) FROM range(20) t(i)").fetchall()
    assert rows == (20,)
    pid = con.engine.deployments.get("ask").model.pids[0]
    con.execute("!llm model remove ask")
    con.close()
    psutil.wait_procs([p for p in psutil.process_iter() if p.pid == pid], timeout=30)
    assert not psutil.pid_exists(pid)
    assert capfd.readouterr() == ("", "")


@pytest.mark.xdist_group("vllm emb")
def test_unload_ends_the_process(model: Models) -> None:
    """Unloading ends vLLM's process and what it started; asking says so then."""
    emb: Any = model("vllm emb")
    process = emb.process
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    model.unload("vllm emb")
    assert not any(one.is_running() for one in family)
    with pytest.raises(BackendError, match="^this model was unloaded$"):
        list(emb.embed(["a"]))


def test_a_process_that_dies_is_told() -> None:
    """Where vLLM's process is killed, the call that runs fails, and says what to do."""
    model = loaded("vllm", "emb", "minilm")
    process: Any = model.process  # type: ignore[attr-defined]
    running = model.embed(["a", "b"])
    psutil.Process(process.pid).kill()
    with pytest.raises(BackendError, match="^vLLM's process ended: ") as error:
        list(running)
    assert str(error.value).endswith("killed by SIGKILL, as where memory runs out")
    model.unload()


def test_a_killed_engine_is_started_again() -> None:
    """Kill -9 of the engine in mid-batch: a new one answers what is left, as one would alone."""
    spec = ModelSpec(
        name="m", kind="chat", backend="vllm", source="smollm2", path=sources.locate("smollm2"),
        options=Options(context=2048, kv_cache_gb=0.5, dtype="float32"),
    )  # fmt: skip
    prompts = [Prompt(f"Name {i} towns.", Sampling(max_tokens=4 + i)) for i in range(8)]
    model: Any = replicas.load(spec, backends.get("vllm"))
    wanted = {index: answer.text for index, answer in model.generate(prompts)}
    (killed,) = model.pids
    running = iter(model.generate(prompts))
    index, first = next(running)
    psutil.Process(killed).kill()
    found = dict(running) | {index: first}
    assert {index: answer.text for index, answer in found.items()} == wanted
    assert model.pids != [killed]
    model.unload()


def test_two_engines_share_a_set() -> None:
    """Two replicas have an engine each, on cores of their own, and both answer."""
    spec = ModelSpec(
        name="m", kind="emb", backend="vllm", source="minilm", path=sources.locate("minilm"),
        options=Options(), replicas=2, concurrency=2,
    )  # fmt: skip
    model: Any = replicas.load(spec, backends.get("vllm"))
    found = dict(model.embed([f"text {i}" for i in range(200)]))
    assert len(found) == 200
    assert {vector.replica for vector in found.values()} == {0, 1}
    model.unload()


def test_a_model_that_cannot_be_loaded_leaves_nothing(tmp_path: Path) -> None:
    """Where loading fails, its process is gone, and the message has vLLM's reason."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(
        '{"architectures": ["NobodyForCausalLM"], "model_type": "llama"}'
    )
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    before = psutil.Process().children(recursive=True)
    with pytest.raises(BackendError, match=f'^cannot load "{folder}": '):
        loaded("vllm", "chat", str(folder))
    assert psutil.Process().children(recursive=True) == before
