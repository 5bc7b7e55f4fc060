"""`llm_models()`: the deployed models, on what terms they are asked, and what they did."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from llmsql.functions.tables import base
from llmsql.runtime.conditions import Conditions
from llmsql.runtime.deployments import Deployment


class Table(base.TableFunction):
    """One row a deployed model."""

    name = "llmsql_models"
    schema = pa.schema(
        [
            ("model", pa.string()),
            ("kind", pa.string()),
            ("backend", pa.string()),
            ("source", pa.string()),
            ("device", pa.string()),
            ("is_loaded", pa.bool_()),
            ("loading_seconds", pa.float64()),
            ("replicas", pa.int32()),
            ("dimension", pa.int32()),
            ("answered", pa.int64()),
            ("failed", pa.int64()),
            ("known", pa.int64()),
            ("is_kept", pa.bool_()),
            ("price_input", pa.float64()),
            ("price_output", pa.float64()),
        ]
    )

    def rows(self, conditions: Conditions) -> Any:
        """The models of this process."""
        return pa.Table.from_pylist([_row(d) for d in self.engine.deployments], self.schema)


def _row(deployment: Deployment) -> dict[str, Any]:
    spec = deployment.spec
    return {
        "model": spec.name,
        "kind": spec.kind,
        "backend": spec.backend,
        "source": spec.source or None,
        "device": deployment.model.device if deployment.is_loaded else None,
        "is_loaded": deployment.is_loaded,
        "loading_seconds": deployment.seconds,
        "replicas": spec.replicas,
        "dimension": deployment.model.dimension,
        "answered": deployment.answered,
        "failed": deployment.failed,
        "known": deployment.known,
        "is_kept": deployment.is_kept,
        "price_input": spec.terms.price_input,
        "price_output": spec.terms.price_output,
    }
