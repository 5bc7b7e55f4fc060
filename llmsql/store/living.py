"""Which process wrote something, and whether it still lives.

A number alone does not tell, as numbers are used again: the time when the process began does. Where
the system does not show that, and for processes of another machine or container, age tells.
"""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

STALE_SECONDS = 60.0
"""So long after it last wrote, one that cannot be looked at is taken for dead."""

_DEAD = ("Z", "X")
_STATE, _STARTED = 0, 19  # of what /proc/PID/stat has behind the name


def mark() -> dict[str, Any]:
    """What this process leaves beside something that it writes now."""
    pid = os.getpid()
    return {"place": _place(), "pid": pid, "started": _started(pid), "at": time.time()}


def is_alive(mark: dict[str, Any]) -> bool:
    """Whether the process that left *mark* still lives, as far as one can tell."""
    if mark["started"] and mark["place"] == _place():
        return bool(mark["started"] == _started(int(mark["pid"])))
    return bool(time.time() - mark["at"] < STALE_SECONDS)


def _started(pid: int) -> str:
    """When the process *pid* began, empty where none lives or the system does not tell."""
    with suppress(OSError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        fields = stat.rpartition(")")[2].split()
        if fields[_STATE] not in _DEAD:
            return fields[_STARTED]
    return ""


@lru_cache
def _place() -> str:
    """The machine since it was started, and the part of it that sees the same processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot + os.readlink("/proc/self/ns/pid")
    except OSError:
        return platform.node()
