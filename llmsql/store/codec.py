"""An entry as bytes, with a checksum over its key, its value and the rest.

Owns the layout. A body says its own key, so that one found in the wrong place is found out.

    checksum u32 | key 16 bytes | kind u8 | lengths of reason and statement u8 | tokens 2 x i64
    | reason | statement | value

The checksum is a CRC-32 of all that follows it and of the group's digest: it finds every flipped
bit. No reason stands for "stop", and -1 for tokens that are not known.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from zlib import crc32

from llmsql.store.entry import Entry
from llmsql.store.found import Columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

_HEAD = struct.Struct("<I16sBBBqq")
_HEAD_COLUMNS = [
    ("checksum", "<u4"), ("key", "V16"), ("kind", "u1"), ("named", "u1"), ("owner", "u1"),
    ("read", "<i8"), ("written", "<i8"),
]  # fmt: skip
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


def key_of(body: bytes) -> bytes:
    """The key that *body* says it has, right or wrong."""
    return body[4:20]


def intact(whole: bytes, sizes: ArrayLike, seed: int) -> list[bytes]:
    """The keys of the undamaged bodies in *whole*, which lie there one after the other."""
    keys: list[bytes] = _undamaged(whole, sizes, seed)[2]["key"].tolist()
    return keys


def decode(whole: bytes, sizes: ArrayLike, seed: int) -> Columns:
    """What the undamaged bodies in *whole* say, which lie there one after the other."""
    starts, ends, heads = _undamaged(whole, sizes, seed)
    named, owner, begin = heads["named"], heads["owner"], starts + _HEAD.size
    reasons = _slices(whole, begin, begin + named) if named.any() else ()
    owners = _slices(whole, begin + named, begin + named + owner) if owner.any() else ()
    return Columns(
        bytearray(heads["key"].tobytes()),
        _values(whole, heads["kind"], begin + named + owner, ends),
        [reason.decode() or "stop" for reason in reasons] or ["stop"] * len(heads),
        _tokens(heads["read"]),
        _tokens(heads["written"]),
        [owner or None for owner in owners] or [None] * len(heads),
    )


def _undamaged(whole: bytes, sizes: ArrayLike, seed: int) -> tuple[Any, Any, Any]:
    """Where each body with the right checksum starts and ends, and its head."""
    import numpy as np

    lengths = np.array(sizes, np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    is_whole = lengths >= _HEAD.size
    starts, ends = starts[is_whole], ends[is_whole]
    # An index for each byte, or a look at each text, would push the chunk out of the cache.
    windows = np.lib.stride_tricks.sliding_window_view(_bytes(whole), _HEAD.size)
    heads = windows[starts].view(_HEAD_COLUMNS)[:, 0]
    view = memoryview(whole)
    ranges = zip((starts + 4).tolist(), ends.tolist(), strict=True)
    sums = np.array([crc32(view[start:end], seed) for start, end in ranges], np.uint32)
    is_right = sums == heads["checksum"]
    if not is_right.all():
        starts, ends, heads = starts[is_right], ends[is_right], heads[is_right]
    return starts, ends, heads


def _bytes(whole: bytes) -> NDArray[np.uint8]:
    """Each byte of *whole*, and at least one head's."""
    import numpy as np

    return np.frombuffer(whole.ljust(_HEAD.size), np.uint8)


def _slices(whole: bytes, starts: Any, ends: Any) -> list[bytes]:
    return [whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def _values(whole: bytes, kinds: Any, starts: Any, ends: Any) -> list[Any]:
    from llmsql import arrays

    if len(kinds) >= arrays.MANY and not kinds.any():
        with suppress(ValueError):  # half a surrogate pair
            return arrays.texts_in(whole, starts, ends)
    bodies = _slices(whole, starts, ends)
    return [_value(kind, body) for kind, body in zip(kinds.tolist(), bodies, strict=True)]


def _tokens(numbers: Any) -> list[int | None]:
    counts: list[Any] = numbers.tolist()
    return [None if n < 0 else n for n in counts] if (numbers < 0).any() else counts


def _value_bytes(value: Any) -> tuple[int, bytes]:
    if isinstance(value, str):
        return _TEXT, value.encode("utf-8", "surrogatepass")
    import numpy as np

    if isinstance(value, (float, int, np.floating)):
        return _FLOAT, _SCORE.pack(value)
    if isinstance(value, (np.ndarray, list, tuple)):
        return _VECTOR, np.ascontiguousarray(value, "<f4").tobytes()
    raise TypeError(f"an answer is a text, a vector or a score, not {type(value).__name__}")


def _value(kind: int, data: bytes) -> Any:
    if kind == _TEXT:
        return data.decode("utf-8", "surrogatepass")
    if kind == _FLOAT:
        return _SCORE.unpack(data)[0]
    import numpy as np

    return np.frombuffer(data, "<f4")
