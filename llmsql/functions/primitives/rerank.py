"""`llm_rerank(query, passage [, model])`: how well a passage answers a query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from llmsql import arrays
from llmsql.functions import base
from llmsql.functions import columns as read
from llmsql.functions.columns import Column


class Function(base.ModelFunction):
    """Two texts in, a score out; scores of different models do not compare."""

    name = "llm_rerank"
    kind = "rerank"
    inputs = ("query", "passage")
    answer_type = "FLOAT"

    def keys(self, inputs: Sequence[Column]) -> base.Keys:
        """The pairs; NULL where either side is."""
        pairs = zip(read.texts(inputs[0]), read.texts(inputs[1]), strict=True)
        return [None if None in pair else pair for pair in pairs]

    def array(self, values: list[Any]) -> Any:
        """The scores."""
        return arrays.array(values, pa.float32())
