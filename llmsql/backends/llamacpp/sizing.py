"""How much one row may hold, and how many rows run side by side, in the memory there is.

Reads the head of the file and asks for free memory; nothing is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

DEFAULT_CONTEXT = 4096
MOST_SLOTS = 32
"""More slots than this gained nothing on the processors we measured."""

BYTES = 2  # of a number in the cache, which is float16
SHARE = (
    4  # the cache takes a quarter of what is free: the weights and everybody else live there too
)
_UNKNOWN_MEMORY = 8 << 30


class Size(NamedTuple):
    """Tokens that one row may have, prompt and answer together, and how many rows run at once."""

    context: int
    slots: int


def size(values: Mapping[str, Any], context: int, slots: int, free: int) -> Size:
    """
    Return the size for a model whose file says *values*, with *free* bytes of memory.

    *context* and *slots* are what the user wants, 0 where he leaves it to us. A slot's cache takes
    context times `token_bytes`; as many slots are made as a quarter of *free* holds, 1 to 32.
    """
    own = int(_said(values, "context_length") or 0)
    context = context or DEFAULT_CONTEXT
    context = min(context, own) if own else context
    fitting = free // SHARE // max(1, context * token_bytes(values))
    return Size(context, slots or max(1, min(MOST_SLOTS, fitting)))


def token_bytes(values: Mapping[str, Any]) -> int:
    """Return the bytes that one token takes in the cache; too many where layers differ."""
    heads = int(_said(values, "attention.head_count") or 1)
    kept = int(_said(values, "attention.head_count_kv") or heads)
    usual = int(_said(values, "embedding_length") or 0) // heads
    key = int(_said(values, "attention.key_length") or usual)
    value = int(_said(values, "attention.value_length") or usual)
    return int(_said(values, "block_count") or 1) * kept * (key + value) * BYTES


def free_memory() -> int:
    """Return how many bytes a process may still take without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(s.split()[1]) * 1024 for s in lines if s.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return _UNKNOWN_MEMORY


def _said(values: Mapping[str, Any], name: str) -> Any:
    return values.get(f"{values.get('general.architecture')}.{name}")
