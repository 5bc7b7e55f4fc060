"""What happened, as tables: statements, their calls, and what each model used by day.

Owns columns and types. The rows lie in the store, the newest 100,000 of each; what is written when
is the account's business.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from llmsql import arrays
from llmsql.store import Store

STATEMENTS = pa.schema(
    [
        ("statement", pa.int64()),
        ("started_at", pa.timestamp("us")),
        ("kind", pa.string()),
        ("text", pa.string()),
        ("state", pa.string()),
        ("seconds", pa.float64()),
        ("calls", pa.int64()),
        ("reused", pa.int64()),
        ("failed", pa.int64()),
        ("cut", pa.int64()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("cost", pa.float64()),
        ("error", pa.string()),
    ]
)
CALLS = pa.schema(
    [
        ("statement", pa.int64()),
        ("site", pa.int32()),
        ("model", pa.string()),
        ("call_id", pa.string()),
        ("prompt_hash", pa.string()),
        ("prompt", pa.string()),
        ("is_reused", pa.bool_()),
        ("replica", pa.int32()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("retries", pa.int32()),
        ("finish_reason", pa.string()),
        ("error", pa.string()),
        ("answered_at", pa.timestamp("us")),
    ]
)
USAGE = pa.schema(
    [
        ("day", pa.date32()),
        ("model", pa.string()),
        ("calls", pa.int64()),
        ("failed", pa.int64()),
        ("reused", pa.int64()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("cost", pa.float64()),
    ]
)
_TOKENS = ("input_tokens", "output_tokens", "cached_tokens")
_KINDS = {"statements": STATEMENTS, "calls": CALLS}


def write(store: Store, kind: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Append *rows*, whose columns are those of *kind*, to what *store* keeps."""
    schema = _KINDS[kind]
    columns = zip(*rows, strict=True)
    made = [arrays.array(column, f.type) for column, f in zip(columns, schema, strict=True)]
    batch = pa.RecordBatch.from_arrays(made, schema=schema)
    store.append(_stored(kind), batch.serialize().to_pybytes(), len(rows))


def read(store: Store, kind: str) -> Any:
    """The rows of *kind* in *store*, oldest first, as an Arrow table."""
    schema = _KINDS[kind]
    found = store.batches(_stored(kind))
    batches = [pa.ipc.read_record_batch(pa.py_buffer(body), schema) for _, body in found]
    return pa.Table.from_batches(batches, schema)


def usage(store: Store) -> Any:
    """What each model used on each day, as an Arrow table."""
    days: dict[tuple[str, str], dict[str, Any]] = {}
    for row in store.usage():
        total = days.setdefault((row["day"], row["model"]), {"cost": None})
        for name in USAGE.names[2:]:
            if row[name] is not None:
                total[name] = (total.get(name) or 0) + row[name]
    return pa.Table.from_pylist(list(_usage_rows(days)), USAGE)


def _usage_rows(days: dict[tuple[str, str], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for (day, model), sums in sorted(days.items()):
        none = {} if sums.get("calls") else dict.fromkeys(_TOKENS, 0)  # else nobody told
        yield {"day": date.fromisoformat(day), "model": model, **none, **sums}


def _stored(kind: str) -> str:
    """The name that rows of *kind* are kept under: another set of columns has another name."""
    names = ",".join(f"{f.name} {f.type}" for f in _KINDS[kind])
    return f"{kind}:{zlib.crc32(names.encode()):08x}"
