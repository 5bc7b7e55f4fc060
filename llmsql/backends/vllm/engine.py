"""vLLM's engine in its process: made from an order, fed with requests, stepped.

What is asked, and what an output means, is the business of `asking`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmsql.backends.vllm.asking import Asking, Request
from llmsql.backends.vllm.chat import Chat
from llmsql.backends.vllm.order import Order
from llmsql.backends.vllm.pooled import Pairs, Vectors
from llmsql.backends.vllm.served import Key
from llmsql.errors import BackendError, GenerationError
from llmsql.sources.files import read_json

ADAPTER_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
BLOCK_TOKENS = 32  # the fewest that vLLM takes on a CPU


class Engine:
    """One model on vLLM's own engine, which batches whatever it was given, step by step."""

    def __init__(self, order: Order) -> None:
        _on_this_machine()
        from vllm.engine.arg_utils import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        said = {name: value for name, value in _arguments(order).items() if value is not None}
        self.llm = LLMEngine.from_engine_args(EngineArgs(**said))
        self.slots: int = self.llm.vllm_config.scheduler_config.max_num_seqs
        self.adapter = _adapter(order)
        self.asking: Asking = _asking(order, self.llm)
        self._requests: dict[str, tuple[Key, Request]] = {}

    @property
    def told(self) -> dict[str, Any]:
        """What the other side of the pipe has to know of the model."""
        config = self.llm.model_config
        return {
            "device": str(self.llm.vllm_config.device_config.device_type),
            "max_model_len": self.asking.context,
            "architectures": list(config.architectures),
            "dtype": str(config.dtype).removeprefix("torch."),
            "dimension": self.asking.dimension,
            "has_template": self.asking.has_template,
        }

    @property
    def count(self) -> int:
        """How many requests wait or run."""
        return len(self._requests)

    @property
    def is_busy(self) -> bool:
        """True while a request waits or runs."""
        return bool(self._requests)

    def add(self, key: Key, request: Request | GenerationError) -> Sequence[tuple[Key, Any]]:
        """Let *request* run; returns the error of one that cannot be asked."""
        if isinstance(request, GenerationError):
            return [(key, request)]
        name = f"{key[0]}-{key[1]}"
        try:
            self.llm.add_request(
                name,
                {"prompt_token_ids": request.tokens},
                request.parameters,
                lora_request=self.adapter,
            )
        except ValueError as error:  # vLLM refuses this one before it starts
            return [(key, GenerationError(str(error)))]
        self._requests[name] = key, request
        return []

    def step(self) -> Sequence[tuple[Key, Any]]:
        """Run one step of all requests that run; returns what ended with it."""
        if not self._requests:
            return []
        ended = [output for output in self.llm.step() if output.finished]
        found = []
        for output in ended:
            key, request = self._requests.pop(output.request_id)
            found.append((key, request.read(output)))
        return found

    def abort(self, number: int) -> None:
        """Give up every request of the call *number*."""
        names = [name for name, (key, _) in self._requests.items() if key[0] == number]
        for name in names:
            del self._requests[name]
        self.llm.abort_request(names)

    def stop(self) -> None:
        """End what the engine started."""
        self.llm.engine_core.shutdown()


def _asking(order: Order, llm: Any) -> Asking:
    """Return how the model of *order* is asked."""
    if order.kind == "chat" or (order.kind, order.own_kind) == ("rerank", "chat"):
        return Chat(order, llm)
    return Vectors(order, llm) if order.kind == "emb" else Pairs(order, llm)


def _on_this_machine() -> None:
    """On a CPU, keep the engine in this process: two more would load vLLM again, for nothing."""
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")


def _arguments(order: Order) -> dict[str, Any]:
    """Every engine argument, those that the machine decides too."""
    from vllm.platforms import current_platform

    from llmsql.torch_models import conversion, placement

    placement.check_gpus(order.gpus)
    said = {name: _unpacked(value) for name, value in order.arguments.items()}
    said["model"] = conversion.plain(order.path)
    if current_platform.is_cpu():
        said = {**_for_cpu(order, said), **said, "dtype": _cpu_dtype(said["dtype"])}
    if order.adapter:
        rank = int(read_json(Path(order.adapter) / "adapter_config.json").get("r") or 8)
        said |= {
            "enable_lora": True,
            "max_lora_rank": next((known for known in ADAPTER_RANKS if known >= rank), rank),
        }
        if (Path(order.adapter) / "tokenizer_config.json").exists():
            said.setdefault("tokenizer", order.adapter)
    return {**said, **_runner(order, said)}


def _for_cpu(order: Order, said: dict[str, Any]) -> dict[str, Any]:
    """What serves best on a CPU: no compiling, and no share of all memory for the cache.

    Prefixes are shared in whole blocks, and prompts of a table rarely have 128 tokens in common,
    which is vLLM's own block there: blocks of 32 answered them 1.6 times as fast.
    """
    room = {"kv_cache_memory_bytes": int(order.options.kv_cache_gb * 2**30)}
    has_room = "gpu_memory_utilization" in said or os.environ.get("VLLM_CPU_KVCACHE_SPACE")
    return {"enforce_eager": True, "block_size": BLOCK_TOKENS, **({} if has_room else room)}


def _cpu_dtype(wanted: str) -> str:
    """*wanted*, or float32 for "auto" where the processor has no shorter numbers."""
    import torch

    from llmsql.torch_models import placement

    is_plain = placement.dtype("auto", torch.device("cpu")) == torch.float32
    return "float32" if wanted == "auto" and is_plain else wanted


def _runner(order: Order, said: dict[str, Any]) -> dict[str, Any]:
    """How vLLM is to run the files for what is wanted of them."""
    if order.kind == "chat" or (order.kind, order.own_kind) == ("rerank", "chat"):
        return {
            "runner": "generate",
            "enable_prefix_caching": said.get("enable_prefix_caching", True),
        }
    if order.own_kind != "chat":
        return {"runner": "pooling"}
    from vllm.config import PoolerConfig

    pooler = said.get("pooler_config") or {"seq_pooling_type": "MEAN"}
    return {"runner": "pooling", "convert": "embed", "pooler_config": PoolerConfig(**pooler)}


def _adapter(order: Order) -> Any:
    if not order.adapter:
        return None
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, order.adapter)


def _unpacked(value: Any) -> Any:
    """*value*, or what it means where it is the text of a list or a mapping."""
    if not (isinstance(value, str) and value.lstrip()[:1] in ("{", "[")):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise BackendError(f"an engine argument is not JSON: {error}") from error
