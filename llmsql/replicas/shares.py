"""What of the machine each of several replicas gets: cores, and GPUs."""

from __future__ import annotations

import os
from dataclasses import is_dataclass, replace
from typing import Any

from llmsql.backends.base.hosted import Share
from llmsql.errors import BackendError
from llmsql.process import own_cores
from llmsql.torch_models import numbers
from llmsql.types import ModelSpec

THREADS = ("n_threads", "threads")
"""What backends call the option, where it is no matter of the environment; 0 and None are open."""


def dealt(spec: ModelSpec) -> list[Share]:
    """Return a share for each replica of *spec*; BackendError where there are too few GPUs.

    One replica has all. GPUs are those of whoever has an option `device`, and says "auto" or a
    CUDA device; where there are none, replicas run on the CPU.
    """
    if spec.replicas == 1:
        return [Share()]
    devices = _devices(spec)
    return [
        Share(_cores(number, spec.replicas), devices[number]) for number in range(spec.replicas)
    ]


def with_threads(spec: ModelSpec, share: Share) -> ModelSpec:
    """Return *spec* with as many threads as *share* has cores, where that is an option."""
    options: Any = spec.options
    open_ones = [name for name in THREADS if not getattr(options, name, True)]
    if not share.cores or not open_ones or not is_dataclass(options):
        return spec
    said = dict.fromkeys(open_ones, len(share.cores))
    return replace(spec, options=replace(options, **said))  # type: ignore[type-var]


def _cores(number: int, count: int) -> tuple[int, ...]:
    """The cores of replica *number* of *count*: one at least, which others may have as well."""
    cores = own_cores()
    first, last = number * len(cores) // count, (number + 1) * len(cores) // count
    return tuple(cores[first : max(last, first + 1)])


def _devices(spec: ModelSpec) -> list[tuple[str, ...]]:
    """The CUDA devices of each replica, none where it has no use for them or sees all."""
    everything: list[tuple[str, ...]] = [()] * spec.replicas
    wanted = str(getattr(spec.options, "device", "cpu"))
    if wanted == "cpu" or not spec.gpus:
        return everything
    names = _names()
    if not names:
        return everything
    is_one = wanted.startswith("cuda:")
    _check(spec, 1 if is_one else len(names), wanted if is_one else "")
    if is_one:
        return everything  # all on the one that is named
    if spec.gpus < 1:
        together = int(1 / spec.gpus + 1e-9)
        return [(names[number // together],) for number in range(spec.replicas)]
    size = int(spec.gpus)
    return [tuple(names[n * size : (n + 1) * size]) for n in range(spec.replicas)]


def _check(spec: ModelSpec, there: int, device: str) -> None:
    """Raise BackendError where *there* are fewer GPUs than the replicas of *spec* need."""
    together = int(1 / spec.gpus + 1e-9) if spec.gpus < 1 else 0
    needed = -(-spec.replicas // together) if together else spec.replicas * int(spec.gpus)
    if needed <= there:
        return
    crowd = -(-spec.replicas // there)  # so many on each
    advice = f"num_gpus='{int(100 / crowd) / 100:g}'"
    place = f' on device "{device}"' if device else ""
    raise BackendError(
        f"Larger num_gpus ({spec.replicas} replicas of {spec.gpus:g}) than GPUs ({there}){place}\n"
        f"  set {advice}, or a smaller maxConcurrency"
    )


def _names() -> list[str]:
    """The CUDA devices that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    count, said = numbers.gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is None or not count:
        return list(map(str, range(count)))
    return [name.strip() for name in said.split(",") if name.strip() not in ("", "-1")]
