"""What vLLM's process is told to load, and the room and the devices that follow from it."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from llmsql.backends.vllm.options import Options
from llmsql.errors import OptionError
from llmsql.types import Kind

_USABLE = 0.92
"""Of a share of a GPU, what is left beside the CUDA contexts of those that share it."""

QUIET = {
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""The environment of the process, where the user's own says nothing: nothing is fetched or sent."""


@dataclass(frozen=True)
class Order:
    """
    A model to load: where its files and those of its *adapter* are, what it is for, and how.

    *own_kind* is what its files are, *engine* the engine arguments that were given.
    """

    path: str
    kind: Kind
    own_kind: Kind
    options: Options
    adapter: str | None = None
    gpus: float = 0.0
    engine: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, path: str, kind: Kind, own_kind: Kind, options: Options, **others: Any) -> Order:
        """An order with *options* in plain form: their own class is made here and known nowhere."""
        own = {option.name: getattr(options, option.name) for option in fields(Options)}
        return cls(path, kind, own_kind, Options(**own), engine=options.engine, **others)

    @property
    def arguments(self) -> dict[str, Any]:
        """The engine arguments that the options and the number of GPUs come to."""
        options = self.options
        said: dict[str, Any] = {
            "dtype": options.dtype,
            "quantization": options.quantization and options.quantization.lower(),
            "max_model_len": options.context,
            "trust_remote_code": options.trust_remote_code,
            "tensor_parallel_size": max(1, int(self.gpus)),
            "disable_log_stats": True,
        }
        if 0 < self.gpus < 1:
            # Beside the others' contexts: of what is not free vLLM takes nothing at all.
            said["gpu_memory_utilization"] = round(_USABLE * self.gpus, 3)
        return {**said, **self.engine}

    @property
    def environment(self) -> dict[str, str]:
        """What the environment of the process has beyond the user's own."""
        said = {name: value for name, value in QUIET.items() if name not in os.environ}
        visible = _visible(self.options.device)
        openmp = _openmp()
        if openmp and "omp" not in os.environ.get("LD_PRELOAD", ""):
            before = os.environ.get("LD_PRELOAD")
            said["LD_PRELOAD"] = f"{openmp}:{before}" if before else openmp
        return said | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})


def _openmp() -> str:
    """The library of threads that vLLM's build for CPUs brings along: half the cost of torch's."""
    try:
        files = importlib.metadata.files("intel-openmp") or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    found = [os.path.realpath(file.locate()) for file in files if file.name == "libiomp5.so"]
    return next(iter(found), "")


def _visible(device: str) -> str | None:
    """The CUDA device that *device* names, as the driver counts; None for all there are."""
    sort, _, number = device.lower().partition(":")
    if sort == "auto":
        return None
    if sort == "cpu":
        return ""
    if sort != "cuda" or not (number or "0").isdecimal():
        raise OptionError(f'there is no device "{device}"\n  devices: auto, cpu, cuda:0, cuda:1, …')
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    index = int(number or "0")
    return named[index] if index < len(named) else str(index)
