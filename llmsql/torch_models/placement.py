"""Where a model runs and in which numbers, and how its memory is given back."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from llmsql.errors import BackendError
from llmsql.torch_models.numbers import larger

log = logging.getLogger("llmsql")


def device(wanted: str) -> torch.device:
    """Return the device called *wanted*; "auto" is CUDA where there is one, else the CPU."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(wanted)
    except RuntimeError as error:
        raise BackendError(
            f'there is no device "{wanted}"\n  devices: auto, {_devices()}'
        ) from error
    count = torch.cuda.device_count()
    if found.type == "cuda" and (found.index or 0) >= count:
        raise BackendError(f'there is no device "{wanted}" here\n  devices: auto, {_devices()}')
    return found


def check_gpus(wanted: float) -> None:
    """Raise BackendError where *wanted* GPUs are more than there are; one may always be wanted."""
    count = torch.cuda.device_count()
    if wanted > max(1, count):
        raise BackendError(larger(wanted, count))


def free_memory(place: torch.device, share: float = 1.0) -> int:
    """Return the bytes that are free on a GPU, or of *share* of it where that is below 1."""
    free, total = map(int, torch.cuda.mem_get_info(place))
    if not 0 < share < 1:
        return free
    used = int(torch.cuda.memory_allocated(place))
    return max(0, min(free, int(share * total) - used))


def _devices() -> str:
    return ", ".join(["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))])


def dtype(wanted: str, place: torch.device) -> torch.dtype:
    """
    Return the number type called *wanted*; "auto" is the fastest that *place* has hardware for.

    Without instructions for bfloat16, which old GPUs emulate, it is several times slower.
    """
    if wanted != "auto":
        return getattr(torch, wanted)
    if place.type == "cuda":
        with torch.cuda.device(place):  # of several, the one that is meant
            has_it = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_it else torch.float16
    return torch.bfloat16 if place.type == "cpu" and _cpu_has_bfloat16() else torch.float32


def _cpu_has_bfloat16() -> bool:
    # Older versions of torch do not tell.
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(has for name, has in known.items() if "bf16" in name)


def quantization(bits: int, threshold: float, place: torch.device, compute: torch.dtype) -> Any:
    """Return what transformers takes as quantization_config, None for 0 *bits*."""
    if not bits:
        return None
    if place.type != "cuda":
        raise BackendError(
            f"quantization to {bits} bits needs a CUDA device; this model is on {place.type}\n"
            "  leave out the option quantization, or deploy a GGUF file that is quantized already"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise BackendError(
            f"quantization to {bits} bits needs bitsandbytes, not installed here\n"
            "  pip install bitsandbytes"
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=bits == 4,
        load_in_8bit=bits == 8,
        llm_int8_threshold=threshold,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=compute,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing bars and advice, and DeepSpeed from standard output."""
    from transformers.utils import logging

    from llmsql.torch_models import deepspeed_log

    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with deepspeed_log.on_stderr():
            yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether *error* means that memory ran out, on whichever device."""
    # The CPU's allocator has no exception type of its own, nor have CUDA's libraries.
    words = "allocate memory", "not enough memory", "out of memory", "_ALLOC_FAILED"
    is_allocator = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    is_ours = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return is_allocator or is_ours or _is_of_onednn(error)


def _is_of_onednn(error: BaseException) -> bool:
    """Tell whether oneDNN, which multiplies bfloat16 on CPUs, could not do something.

    It says no more than what.
    """
    words = (
        "could not create a primitive",
        "could not execute a primitive",
        "could not create a memory",
    )
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def goes_without_onednn(error: BaseException) -> bool:
    """Go on without oneDNN where *error* is its own, and tell whether that is new.

    What it could not make once it will not make again, however much memory there is then (it keeps
    failures among its primitives). Of one row nothing is slower for it, batches are.
    """
    if not _is_of_onednn(error) or not torch.backends.mkldnn.enabled:
        return False
    torch.backends.mkldnn.set_flags(False)
    log.warning("memory ran out: from here on models on this CPU run without oneDNN, slower")
    return True


def check_memory(error: BaseException) -> None:
    """Raise BackendError unless *error* of a model that ran means that memory ran out."""
    if not is_out_of_memory(error):
        raise BackendError(f"the model failed while running: {error}") from error


def release(error: BaseException | None = None) -> None:
    """Give memory that is no longer referred to back to the device.

    The frames that *error* came through let go of theirs: whoever keeps an error would keep them.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
    trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def trim() -> None:
    """Give the holes that batches of ever other shapes leave in the process's heap back.

    Milliseconds; they grow to several times what a batch needs where nobody does.
    """
    _trimmer()(0)


@cache
def _trimmer() -> Callable[[int], Any]:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return getattr(libc, "malloc_trim", lambda kept: None)  # musl has none
