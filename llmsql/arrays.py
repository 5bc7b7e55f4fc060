"""Python values as Arrow arrays, without pandas.

`pyarrow.array` imports pandas where it is installed, to ask whether it is given any: 50 MiB and a
third of a second in a process that may never use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

MANY = 2048
"""So many values, a whole chunk of DuckDB's, are made faster than small by `pyarrow.array`."""

_DTYPES: dict[Any, Any] = {
    pa.int32(): np.dtype(np.int32),
    pa.int64(): np.dtype(np.int64),
    pa.float32(): np.dtype(np.float32),
    pa.float64(): np.dtype(np.float64),
    pa.timestamp("us"): np.dtype("datetime64[us]"),
}
_MOST_BYTES = 2**31 - 1  # in the texts of an array


def array(values: Sequence[Any], kind: Any) -> Any:
    """*values*, of which some may be None, as an array of the type *kind*."""
    make = _maker(kind)
    if len(values) >= MANY or make is None:
        return pa.array(values, kind)
    try:
        return make(values, kind)
    except (TypeError, ValueError, OverflowError):  # Arrow says better what is wrong with them
        return pa.array(values, kind)


def of_numbers(numbers: Any, kind: Any) -> Any:
    """The NumPy array *numbers*, which is not copied, as an array of the type *kind*."""
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])


def texts_in(data: bytes, starts: Any, ends: Any) -> list[str]:
    """The texts from each of *starts* to each of *ends*, which follow each other in *data*.

    Takes a sixth of the time of a Python loop, and imports pandas where it is installed. Raises
    ValueError where one is not UTF-8, and where *data* is too long.
    """
    if len(data) > _MOST_BYTES:
        raise ValueError("the texts are too long for one array")
    edges = np.append(np.column_stack([starts, ends]).ravel(), len(data)).astype(np.int32)
    parts = pa.Array.from_buffers(
        pa.binary(), 2 * len(starts), [None, pa.py_buffer(edges), pa.py_buffer(data)]
    )
    places = of_numbers(np.arange(0, 2 * len(starts), 2), pa.int64())
    texts = parts.take(places).cast(pa.string()).to_numpy(zero_copy_only=False)
    listed: list[str] = texts.tolist()
    return listed


def booleans(values: Sequence[bool | None]) -> Any:
    """*values* as an array of booleans."""
    return _booleans(values, pa.bool_())


def _validity(values: Sequence[Any]) -> Any:
    """The bits that tell which of *values* are there; None where all are."""
    if None not in values:
        return None
    return _bits([value is not None for value in values])


def _maker(kind: Any) -> Callable[[Sequence[Any], Any], Any] | None:
    if pa.types.is_string(kind):
        return _texts
    if pa.types.is_boolean(kind):
        return _booleans
    return _numbers if kind in _DTYPES else None


def time_zones(kind: Any) -> Iterator[str]:
    """The time zones in the Arrow type *kind*, which may be nested."""
    if pa.types.is_timestamp(kind) and kind.tz:
        yield kind.tz
    for at in range(kind.num_fields):
        yield from time_zones(kind.field(at).type)


def _texts(values: Sequence[Any], kind: Any) -> Any:
    valid = _validity(values)
    if valid is not None:
        values = ["" if value is None else value for value in values]
    joined = "".join(values)
    parts = values if joined.isascii() else [value.encode() for value in values]
    ends = np.zeros(len(values) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, parts), np.int64, len(values)), out=ends[1:])
    if ends[-1] > _MOST_BYTES:
        raise OverflowError("the texts are too long for one array")
    buffers = [valid, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(joined.encode())]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _numbers(values: Sequence[Any], kind: Any) -> Any:
    valid = _validity(values)
    if valid is not None:
        values = [0 if value is None else value for value in values]
    data = pa.py_buffer(np.array(values, _DTYPES[kind]))
    return pa.Array.from_buffers(kind, len(values), [valid, data])


def _booleans(values: Sequence[Any], kind: Any) -> Any:
    return pa.Array.from_buffers(kind, len(values), [_validity(values), _bits(values)])


def _bits(values: Sequence[Any]) -> Any:
    return pa.py_buffer(np.packbits(np.array(values, bool), bitorder="little"))
