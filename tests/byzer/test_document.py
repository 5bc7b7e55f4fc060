"""The SQL of Byzer-LLM's own document, block by block; only paths and GPUs are other ones.

Training and the vendors' blocks are left out here. The blocks are in `document/`, in the order they
stand in there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmsql
from llmsql import sources
from tests.installed import SMOLLM2, require

DOCUMENT = Path(__file__).parent / "document"
MODELS = {
    "/home/byzerllm/models/openbuddy-llama-13b-v5-fp16": "smollm2",
    "/home/byzerllm/models/my_3b_test2": "smollm2",
}
GPUS = {"num_gpus=4": "num_gpus=0", "num_gpus=2": "num_gpus=0"}
"""More GPUs than there are would be refused."""

pytestmark = [
    pytest.mark.models,
    pytest.mark.filterwarnings("ignore::llmsql.errors.LlmsqlWarning"),
]


@pytest.fixture(autouse=True)
def _models() -> None:
    require(*SMOLLM2, "peft")


@pytest.fixture
def con() -> Iterator[llmsql.Connection]:
    with llmsql.connect() as made:
        yield made


def block(name: str, paths: dict[str, str]) -> str:
    """A block of the document with its paths exchanged, and for machines without a GPU."""
    text = (DOCUMENT / f"{name}.sql").read_text(encoding="utf-8")
    assert all(theirs in text for theirs in paths)
    for theirs, ours in (paths | GPUS).items():
        text = text.replace(theirs, ours)
    return text


def test_deploy_and_call(con: llmsql.Connection) -> None:
    """The first model is deployed and asked; its answer is a JSON object in the table q1."""
    path = "/home/byzerllm/models/openbuddy-llama-13b-v5-fp16"
    [row] = con.execute(block("1_deploy", {path: MODELS[path]})).fetchall()
    assert row[:3] == ("llama2_chat", "chat", "transformers")
    con.execute(block("2_call", {}))
    [(text,)] = con.execute("select q from q1").fetchall()
    answer = json.loads(text)
    assert "Zhu William" in answer["input"]["instruction"]
    assert [message["role"] for message in answer["history"]] == ["user", "assistant"]
    assert answer["output"]


def test_a_conversation_of_three_turns(con: llmsql.Connection) -> None:
    """A name given in the first turn is known in the third."""
    path = "/home/byzerllm/models/openbuddy-llama-13b-v5-fp16"
    con.execute(block("1_deploy", {path: MODELS[path]}))
    con.execute(
        """
        select llama2_chat(llm_param(map("max_length", "24", "instruction",
            llm_prompt('My name is {0}. Hello!', array("William"))))) as q as q1;
        select llama2_chat(llm_stack(q, llm_param(map("max_length", "24", "instruction",
            'What is the capital of France?')))) as q from q1 as q2;
        select llama2_chat(llm_stack(q, llm_param(map("max_length", "24", "instruction",
            'Repeat my name.')))) as q from q2 as q3;
        """
    )
    [(answer, history)] = con.execute(
        "select llm_result(q), json_array_length(q::JSON, 'history') from q3"
    ).fetchall()
    assert "William" in answer
    assert history == 6


def test_pretraining_data(con: llmsql.Connection, tmp_path: Path) -> None:
    """The configuration, the texts, their table and its 12 partitions."""
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(f"text {name}\nof two lines\n")
    con.execute(block("3_pretraining_data", {"/home/byzerllm/data/raw_data": str(tmp_path)}))
    found = con.execute("select text, file, __part from finalTrainData order by file").fetchall()
    assert [row[0] for row in found] == [f"text {n}\nof two lines\n" for n in "abc"]
    assert all(0 <= row[2] < 12 for row in found)
    config = json.loads(con.variables.expand("${ds_config}"))
    assert config["optimizer"]["params"]["betas"] == [0.9, 0.95]
    assert ("num_gpus", "12") in con.settings.rows()
    assert ("runIn", "executor") in con.settings.rows()


def test_deploy_what_was_converted(con: llmsql.Connection) -> None:
    """A variable that only names a node does no harm."""
    path = "/home/byzerllm/models/my_3b_test2"
    [row] = con.execute(block("4_deploy_converted", {path: MODELS[path]})).fetchall()
    assert row[0] == "my_3b_chat"
    assert con.execute("select my_3b_chat('Say hello.') <> ''").fetchall() == [(True,)]


def test_finetuning_data(con: llmsql.Connection, tmp_path: Path) -> None:
    """JSON lines become the table that training reads."""
    data = tmp_path / "dummy_data.jsonl"
    data.write_text('{"instruction": "a", "input": "", "output": "b"}\n')
    con.execute(block("5_finetuning_data", {"/tmp/upload/dummy_data.jsonl": str(data)}))
    assert con.execute("select output from sft_data").fetchall() == [("b",)]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # transformers', when it saves
def test_deploy_what_was_finetuned(con: llmsql.Connection, tmp_path: Path) -> None:
    """A folder with `pretrained_model` inside is that model with the adapter beside it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from llmsql.torch_models import conversion

    base = conversion.plain(sources.locate("smollm2"))
    shutil.copytree(base, tmp_path / "pretrained_model")
    model = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path)
    path = (
        "/home/byzerllm/models/sft/jobs/"
        "sft-william-llama2-alpaca-data-ccb8fb55-382c-49fb-af04-5cbb3966c4e6/finetune_model/final"
    )
    [row] = con.execute(block("6_deploy_finetuned", {path: str(tmp_path)})).fetchall()
    assert row[:3] == ("fintune_llama2_chat", "chat", "transformers")
    asked = "fintune_llama2_chat('Say hello.', {'max_tokens': 8}) <> ''"
    assert con.execute(f"select {asked}").fetchall() == [(True,)]


def test_a_file_answers_without_a_run(tmp_path: Path) -> None:
    """A database closed and opened by a new process has its model, loaded at the first call."""
    file = tmp_path / "shop.duckdb"
    path = "/home/byzerllm/models/openbuddy-llama-13b-v5-fp16"
    with llmsql.connect(str(file)) as con:
        con.execute(block("1_deploy", {path: MODELS[path]}))
        [(answer,)] = con.execute("select llama2_chat('Say hello.')").fetchall()
    code = (
        "import sys, llmsql\n"
        "con = llmsql.connect(sys.argv[1])\n"
        "assert 'torch' not in sys.modules\n"
        "print(con.execute(\"select llama2_chat('Say hello.')\").fetchall()[0][0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == answer.strip()
