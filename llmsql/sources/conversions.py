"""Where converted models are kept, and how one gets there: whole, once, for several processes.

What is converted, and to what, is for whoever asks.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from llmsql.errors import BackendError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def directory() -> Path:
    """Return where converted models are kept: $LLMSQL_CACHE, else llmsql in the user's cache."""
    own = os.environ.get("LLMSQL_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmsql"


def once(place: Path, source: str, make: Callable[[Path], object]) -> Path:
    """Return *place*, which *make* fills from *source* unless it is there: it gets a directory.

    Two processes may ask at once: one works, the other waits for it, and nobody ever sees a
    half-written directory. Raises BackendError where the disk does not take it.
    """
    if place.exists():
        return place
    from filelock import FileLock

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            if not place.exists():
                _fill(place, make)
    except OSError as error:
        raise BackendError(
            f'cannot keep "{source}" converted in {place.parent}: {error}\n'
            "  set LLMSQL_CACHE to a directory with room"
        ) from error
    return place


def full_disk(error: BaseException) -> OSError | None:
    """What *error* comes of, where that is a file that could not grow.

    Libraries wrap it, and safetensors has a type of its own.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in _FULL:
            return found
        if any(f"os error {number}" in str(found) for number in _FULL):
            return OSError(str(found))
        found = found.__cause__ or found.__context__
    return None


def _fill(place: Path, make: Callable[[Path], object]) -> None:
    for left in place.parent.glob(f"{glob.escape(place.name)}.????????"):  # of a process that died
        shutil.rmtree(left, ignore_errors=True)
    building = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
    try:
        make(building)
        building.chmod(0o755)  # others may share the cache
        os.replace(building, place)
    finally:
        shutil.rmtree(building, ignore_errors=True)
