"""`!llm cache`: the answers that are kept on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from llmsql.errors import CatalogError, OptionError
from llmsql.runtime import orders
from llmsql.statements.base import Rows, Statement
from llmsql.store import Store
from llmsql.workspace import Workspace

STATISTICS = ("model text", "answers integer", "bytes integer", "last_used text", "path text")
EXPORTED = pa.schema(
    [
        ("model", pa.string()),
        ("about", pa.string()),
        ("call_id", pa.string()),
        ("answer", pa.string()),
        ("finish_reason", pa.string()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("created", pa.timestamp("us")),
    ]
)
FORMATS = {".csv": "CSV, HEADER", ".json": "JSON", ".jsonl": "JSON", ".parquet": "PARQUET"}
BATCH = 10_000


@dataclass(frozen=True)
class CacheStat(Statement):
    """Show how many answers are kept, for each model, and where."""

    syntax: ClassVar[str] = "!llm cache stat"

    def run(self, workspace: Workspace) -> Rows:
        """One row a model; none where nothing is kept."""
        store = workspace.store
        rows = [
            (model, answers, size, used.isoformat(" ", "seconds") if used else None, _path(store))
            for model, answers, size, used in store.stat()
        ]
        return Rows(STATISTICS, rows)


@dataclass(frozen=True)
class CacheClear(Statement):
    """Forget the kept answers, or those of one model, also in memory."""

    syntax: ClassVar[str] = "!llm cache clear [<model>]"
    model: str | None = None

    def run(self, workspace: Workspace) -> Rows:
        """Return how many answers went from the disk."""
        store = workspace.store
        kept = {row[0].lower(): row[0] for row in store.stat()}
        name = self.model and kept.get(self.model.lower())
        deployments = workspace.engine.deployments
        if self.model and not name and self.model not in deployments:
            raise CatalogError(
                f'no answers of a model "{self.model}" are kept\n  !llm cache stat shows them'
            )
        for deployment in deployments:
            if self.model is None or deployment.name.lower() == self.model.lower():
                deployment.forget()
        if self.model is None or name == orders.NAME:
            workspace.engine.orders.forget()
        count = store.clear(name) if name or not self.model else 0
        return Rows(("cleared integer",), [(count,)])


@dataclass(frozen=True)
class CacheExport(Statement):
    """Write the kept answers to a file that does not exist yet: .csv, .json or .parquet."""

    syntax: ClassVar[str] = "!llm cache export <path>"
    path: str

    def run(self, workspace: Workspace) -> Rows:
        """Return the file and how many answers it holds."""
        workspace.refuse_without_files("export answers")
        target = Path(self.path).expanduser().resolve()
        if target.suffix.lower() not in FORMATS:
            raise OptionError(
                f'"{self.path}" does not say its format\n  it ends in {", ".join(FORMATS)}'
            )
        if target.exists():
            raise CatalogError(f'"{target}" exists\n  export to another file')
        if not target.parent.is_dir():
            raise CatalogError(f'there is no folder "{target.parent}"')
        reader = pa.RecordBatchReader.from_batches(EXPORTED, _batches(workspace.store))
        count = workspace.copy(reader, str(target), FORMATS[target.suffix.lower()])
        return Rows(("path text", "answers integer"), [(str(target), count)])


def _batches(store: Store) -> Iterator[Any]:
    """The kept answers as Arrow batches."""
    rows: list[dict[str, Any]] = []
    for row in store.rows():
        answer = row[3] if isinstance(row[3], str) else json.dumps(row[3])
        rows.append(dict(zip(EXPORTED.names, (*row[:3], answer, *row[4:]), strict=True)))
        if len(rows) == BATCH:
            yield pa.RecordBatch.from_pylist(rows, EXPORTED)
            rows = []
    yield pa.RecordBatch.from_pylist(rows, EXPORTED)


def _path(store: Store) -> str:
    """Where *store* is, without what a file name should not do to a terminal."""
    return re.sub(r"[\x00-\x1f]", "?", str(store.path))
