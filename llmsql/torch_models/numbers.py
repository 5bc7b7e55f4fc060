"""What decides in which numbers a model computes, and on how many GPUs, without torch."""

from __future__ import annotations

import ctypes
from typing import Literal

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def deciding_device(dtype: str, device: str) -> str | None:
    """Return the sort of *device* ("cpu", "cuda", "auto") where it chooses *dtype*, else None.

    It only does so for "auto". What "auto" comes to on this machine does not count: finding out
    takes torch seconds to import, and a model that was deployed so was meant to run anywhere.
    """
    return device.partition(":")[0].lower() if dtype == "auto" else None


def larger(wanted: float, count: int) -> str:
    """Return what is said where *wanted* GPUs are more than the *count* there are."""
    fitting = f"num_gpus='{count}', or fewer" if count else "num_gpus='0' for the CPU"
    return f"Larger num_gpus ({wanted:g}) than GPUs ({count})\n  set {fitting}"


def gpus() -> int:
    """Return how many GPUs of Nvidia's there are; torch, which knows, takes a second to import."""
    count = ctypes.c_uint(0)
    for library in ("libnvidia-ml.so.1", "nvml.dll"):
        try:
            driver = ctypes.CDLL(library)
        except OSError:
            continue
        if driver.nvmlInit_v2() == 0:
            driver.nvmlDeviceGetCount_v2(ctypes.byref(count))
            driver.nvmlShutdown()
    return count.value
