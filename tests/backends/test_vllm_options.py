"""The options of vLLM: its own arguments by their types, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from llmsql.backends.vllm import Options, Sampling, arguments
from llmsql.backends.vllm.order import Order
from llmsql.errors import OptionError
from llmsql.types import read_options
from tests.installed import require

from .conftest import VLLM

require(*VLLM)
pytestmark = pytest.mark.models


def options(**given: Any) -> Options:
    """The options as a statement gives them."""
    return read_options(Options, given, owner='backend "vllm"', prefix="backend.")


def test_engine_arguments_are_read_from_the_source() -> None:
    """The names are those of the installed vLLM's own dataclass, without importing it."""
    assert "vllm" not in sys.modules
    code = "import dataclasses, vllm.engine.arg_utils as a; print(*[f.name for f in dataclasses.fields(a.EngineArgs)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = set(done.stdout.split("\n")[-2].split())
    assert set(arguments.known()) == {n for n in names - arguments.OURS if not n.startswith("_")}


def test_an_engine_argument_has_its_type() -> None:
    """Engine arguments are read from text by their type, and go to vLLM by name."""
    given = options(max_num_seqs="8", enforce_eager="false", block_size="16", seed="3")
    assert given.engine == {"max_num_seqs": 8, "enforce_eager": False, "block_size": 16, "seed": 3}
    order = Order.of("x", "chat", "chat", given, gpus=2.0)
    assert {"max_num_seqs": 8, "tensor_parallel_size": 2}.items() <= order.arguments.items()
    with pytest.raises(OptionError) as error:
        options(max_num_seqs="many")
    assert str(error.value) == (
        'option "backend.max_num_seqs" of backend "vllm" takes an integer, not \'many\''
    )


def test_a_part_of_a_gpu_is_a_share_of_its_memory() -> None:
    """Less than one GPU is a share of memory, more than one are as many that share the model."""
    told = [Order.of("x", "chat", "chat", Options(), gpus=n).arguments for n in (0.4, 1.0, 2.0)]
    assert [said.get("gpu_memory_utilization") for said in told] == [
        0.368,
        None,
        None,
    ]  # the others have contexts, too
    assert [said["tensor_parallel_size"] for said in told] == [1, 1, 2]


def test_wrong_options_are_refused() -> None:
    """Options and samplings that cannot be are refused in our words."""
    with pytest.raises(OptionError, match="^context must be 2 or more, not 1$"):
        Options(context=1)
    with pytest.raises(OptionError, match="^kv_cache_gb must be above 0, not 0$"):
        Options(kv_cache_gb=0)
    with pytest.raises(OptionError, match="^an answer has one form: give one of json_schema"):
        Sampling(regex="a", choice=("b",))
    with pytest.raises(OptionError, match="^json_schema is not JSON: "):
        Sampling(json_schema="{")
    with pytest.raises(OptionError, match="^vLLM draws one answer for a prompt\\n"):
        Sampling(use_beam_search=True)


def test_an_unknown_engine_argument_names_the_nearest() -> None:
    """A misspelt engine argument is refused before anything is loaded."""
    with pytest.raises(OptionError) as error:
        options(max_num_seq="8")
    assert str(error.value).startswith(
        'backend "vllm" has no option "backend.max_num_seq"; did you mean "max_num_seqs"?\n'
    )
