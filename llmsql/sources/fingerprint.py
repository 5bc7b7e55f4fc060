"""A fingerprint of a model's files: the same for a copy, another where an answer may differ.

Reads files whole up to a gigabyte and samples larger ones, as hashing those would take longer than
most statements: a training is seen, a few bytes edited within a large tensor may not be. Who
compares fingerprints is others' business.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

from llmsql.errors import BackendError
from llmsql.sources import files, gguf

WHOLE = 1 << 30
"""A file of up to so many bytes is read whole: about 0.1 s for the 98 MB of SmolLM2."""

EDGE, PIECE, STEP = 64 << 10, 4 << 10, 1 << 20
"""A large file counts by its first and last EDGE bytes, and a PIECE of every STEP."""
DIGEST_BYTES = 16

# Everything else counts: a file that some library reads must not be missed.
_IDLE_SUFFIXES = frozenset(
    ".md .rst .pdf .png .jpg .jpeg .gif .svg .webp .log .lock .ipynb .html .pyc".split()
)
_IDLE_STARTS = (
    *("readme", "license", "licence", "notice", "use_policy", "events.out.tfevents"),
    *("optimizer", "scheduler", "rng_state", "trainer_state", "training_args", "global_step"),
)
_IDLE_FOLDERS = frozenset({"__pycache__", "runs", "wandb"})


def fingerprint(path: str) -> str:
    """Return the fingerprint of the file or directory *path* in hexadecimal, '' where none is.

    Of a directory, the names and the contents of what may matter to a model count, in the order of
    the names. Files read once are known for the life of the process, by path, size and time.
    """
    place = Path(path)
    if path and place.is_file():
        return _of_file(place).hex()
    if not path or not place.is_dir():
        return ""
    whole = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name, file in sorted(_files(place)):
        whole.update(name.encode("utf-8", "surrogateescape") + b"\0" + _of_file(file))
    return whole.hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files in *folder* that matter, with their names from there on."""
    seen = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not _is_idle(name, _IDLE_FOLDERS)]
        for name in names:
            file = Path(root, name)
            if not _is_idle(name) and file.is_file():
                yield file.relative_to(folder).as_posix(), file


def _is_idle(name: str, idle: frozenset[str] = frozenset()) -> bool:
    """True for what no library reads to make an answer."""
    lower = name.lower()
    return (
        lower.startswith((".", *_IDLE_STARTS))
        or lower in idle
        or os.path.splitext(lower)[1] in _IDLE_SUFFIXES
    )


def _of_file(file: Path) -> bytes:
    try:
        state = file.stat()
        return _digest(os.path.abspath(file), state.st_size, (state.st_mtime_ns, state.st_ctime_ns))
    except OSError:  # gone since, or not ours to read: loading says so
        return b""


@cache
def _digest(path: str, size: int, _times: tuple[int, int]) -> bytes:
    digest = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=DIGEST_BYTES)
    with Path(path).open("rb", buffering=0) as stream:
        if size <= WHOLE:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
            return digest.digest()
        _expect_jumps(stream)
        for start, length in _samples(size, _tensors(Path(path))):
            stream.seek(start)
            digest.update(stream.read(length))
    return digest.digest()


def _samples(size: int, tensors: Iterable[int]) -> list[tuple[int, int]]:
    """Where to read, and how much: the edges, a piece of every step, and each tensor's start."""
    starts = {*range(STEP, size - EDGE, STEP), *tensors}
    inner = [(start, PIECE) for start in sorted(starts) if EDGE <= start < size - EDGE]
    return [(0, EDGE), *inner, (size - EDGE, EDGE)]


def _tensors(file: Path) -> list[int]:
    """Where the tensors begin, if the file says so: a small one may lie between two steps."""
    try:
        if file.suffix == ".gguf":
            return gguf.tensor_starts(str(file))
        files.check_safetensors(file)
        return files.tensor_starts(file)
    except (BackendError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return []  # another format, or a broken file, which whoever loads it will describe


def _expect_jumps(stream: BinaryIO) -> None:
    """Tell the system not to read ahead, where it can be told."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
