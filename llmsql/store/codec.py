"""An entry as bytes, with a checksum over its key, its value and the rest.

Owns the layout. A body says its own key, so that one found in the wrong place is found out.

    checksum u32 | key 16 bytes | kind u8 | lengths of reason and statement u8 | tokens 2 x i64
    | reason | statement | value

The checksum is a CRC-32 of all that follows it and of the group's digest: it finds every flipped
bit. No reason stands for "stop", and -1 for tokens that are not known.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any
from zlib import crc32

from llmsql.store.entry import Entry

_HEAD = struct.Struct("<I16sBBBqq")
_SCORE = struct.Struct("<d")
_TEXT, _VECTOR, _FLOAT = range(3)


def encode(key: bytes, entry: Entry, seed: int) -> bytes:
    """The body of *entry*; *seed* is its group's. Raises TypeError for a value of no known type."""
    value, reason, read, written, statement = entry
    kind, data = _value_bytes(value)
    named = b"" if reason == "stop" else reason.encode()
    owner = statement or b""
    head = _HEAD.pack(
        0, key, kind, len(named), len(owner), -1 if read is None else read,
        -1 if written is None else written,
    )  # fmt: skip
    rest = b"".join((head[4:], named, owner, data))
    return crc32(rest, seed).to_bytes(4, "little") + rest


def intact(bodies: Iterable[bytes], seed: int) -> Iterator[bytes]:
    """The keys of those *bodies* whose checksum is right."""
    for body in bodies:
        if len(body) >= _HEAD.size and crc32(body[4:], seed) == int.from_bytes(body[:4], "little"):
            yield body[4:20]


def decode(whole: bytes, sizes: Iterable[int], seed: int) -> dict[bytes, Entry]:
    """The entries in *whole* by key, one after the other of *sizes*, but for the damaged ones."""
    found: dict[bytes, Entry] = {}
    # This loop is most of what a known answer costs: nothing in it is copied that need not be.
    head, unpack, make, check = _HEAD.size, _HEAD.unpack_from, tuple.__new__, crc32
    view, end = memoryview(whole), 0
    for size in sizes:
        start, end = end, end + size
        if size < head:
            continue
        checksum, key, kind, named, owner, read, written = unpack(whole, start)
        if check(view[start + 4 : end], seed) != checksum:
            continue
        reason, statement, body = "stop", None, start + head
        if named or owner:
            reason = whole[body : body + named].decode() or "stop"
            statement = whole[body + named : body + named + owner] or None
            body += named + owner
        value = (
            str(view[body:end], "utf-8", "surrogatepass")
            if kind == _TEXT
            else _number_value(kind, whole[body:end])
        )
        tokens = (None if read < 0 else read, None if written < 0 else written)
        found[key] = make(Entry, (value, reason, *tokens, statement))
    return found


def _value_bytes(value: Any) -> tuple[int, bytes]:
    if isinstance(value, str):
        return _TEXT, value.encode("utf-8", "surrogatepass")
    import numpy as np

    if isinstance(value, (float, int, np.floating)):
        return _FLOAT, _SCORE.pack(value)
    if isinstance(value, (np.ndarray, list, tuple)):
        return _VECTOR, np.ascontiguousarray(value, "<f4").tobytes()
    raise TypeError(f"an answer is a text, a vector or a score, not {type(value).__name__}")


def _number_value(kind: int, data: bytes) -> Any:
    if kind == _FLOAT:
        return _SCORE.unpack(data)[0]
    import numpy as np

    return np.frombuffer(data, "<f4")
