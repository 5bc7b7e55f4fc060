"""The head of a GGUF file: what kind of model it is, and whether it is whole.

Reads names and numbers and skips the vocabulary. The library that reads all of it needs a second
for what takes milliseconds here, and a backend on llama.cpp does not have it.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmsql.errors import BackendError
from llmsql.types import Kind

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_TEXT, _ARRAY = 8, 9
_RANK_POOLING = 4
AGAIN = "copy or download the model again"


def kind_of(path: str) -> Kind:
    """Tell the kind from the architecture and the pooling that the file names."""
    values = metadata(path)
    architecture = str(values.get("general.architecture", ""))
    pooling = values.get(f"{architecture}.pooling_type")
    if pooling == _RANK_POOLING:
        return "rerank"
    is_encoder = "bert" in architecture or "embedding" in architecture or "encoder" in architecture
    return "emb" if pooling or is_encoder else "chat"


def check(path: str) -> None:
    """Raise BackendError unless the head of the file can be read and the tensors lie inside it."""
    size = Path(path).stat().st_size
    if max(tensor_starts(path), default=-1) >= size:
        raise _cut_off(path, size)


def tensor_starts(path: str) -> list[int]:
    """Return where each tensor begins, in bytes from the beginning of the file."""
    with _telling(path):
        reader = _open(path)
        tensors, values = reader.tensors, reader.values()
        starts = [reader.tensor_start() for _ in range(tensors)]
        alignment = int(values.get("general.alignment", 32))
        data = -(-reader.at // alignment) * alignment
        return [data + start for start in starts]


def metadata(path: str) -> dict[str, Any]:
    """Return the texts and numbers in the head of the file, without its lists."""
    with _telling(path):
        return _open(path).values()


@contextmanager
def _telling(path: str) -> Iterator[None]:
    """Say of numbers that nothing can come of, and of lists without end, what they are."""
    try:
        yield
    except (ArithmeticError, RecursionError, ValueError) as error:
        raise _broken(path) from error


def _open(path: str) -> _Reader:
    with Path(path).open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise BackendError(
                f'"{path}" is not a GGUF file\n'
                "  a model is a directory with config.json, or a .gguf file"
            )
        return _Reader(path, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def _cut_off(path: str, size: int) -> BackendError:
    return BackendError(
        f'"{path}" is cut off: {size} bytes hold only a part of the model\n  {AGAIN}'
    )


def _broken(path: str) -> BackendError:
    return BackendError(f'"{path}" has a broken head\n  {AGAIN}')


class _Reader:
    """A place in the head of a file; each method reads what is there and moves on."""

    def __init__(self, path: str, content: mmap.mmap) -> None:
        self.path = path
        self.content = content
        self.at = 8
        self.tensors = int(self.scalar("Q"))
        self.keys = int(self.scalar("Q"))

    def scalar(self, code: str) -> Any:
        try:
            (value,) = struct.unpack_from("<" + code, self.content, self.at)
        except struct.error as error:
            raise _cut_off(self.path, len(self.content)) from error
        self.at += struct.calcsize("<" + code)
        return value

    def text(self) -> str:
        length = self.scalar("Q")
        if length > len(self.content):
            raise _broken(self.path)
        start, self.at = self.at, self.at + length
        return self.content[start : self.at].decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self.text()
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind != _ARRAY:
            raise _broken(self.path)
        inner, count = self.scalar("I"), self.scalar("Q")
        if inner in _SCALARS:
            self.at += count * struct.calcsize("<" + _SCALARS[inner])
            return None
        for _ in range(count):
            self.value(inner)
        return None

    def values(self) -> dict[str, Any]:
        found = {}
        for _ in range(self.keys):
            name = self.text()
            found[name] = self.value(self.scalar("I"))
        return {name: value for name, value in found.items() if value is not None}

    def tensor_start(self) -> int:
        self.text()
        dimensions = int(self.scalar("I"))
        self.at += 8 * dimensions + 4  # the dimensions, then the type
        return int(self.scalar("Q"))
