"""`llm_embed(text [, model])`: the vector of a text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from llmsql import arrays
from llmsql.errors import OptionError
from llmsql.functions import base
from llmsql.functions import columns as read
from llmsql.functions.columns import Column

# DuckDB writes a VARCHAR[] with these quotes; a JSON text has none.
_REQUESTS = re.compile(r"""\['\{.*"(instruction|query)\\?":.*\}'\]$""", re.DOTALL)


class Function(base.ModelFunction):
    """Text in, vector out: FLOAT[n] for one model, FLOAT[] for the primitive, which serves any."""

    name = "llm_embed"
    kind = "emb"
    inputs = ("text",)

    @property
    def dimension(self) -> int | None:
        """The length of the vectors, where one model makes them all."""
        return self.engine.deployments.get(self.model).model.dimension if self.model else None

    @property
    def answer_type(self) -> str:
        return f"FLOAT[{self.dimension}]" if self.dimension else "FLOAT[]"

    def keys(self, inputs: Sequence[Column]) -> base.Keys:
        """The texts; raises OptionError for a list of requests that DuckDB took for one."""
        texts = read.texts(inputs[0])
        if self.takes_requests and any(text and _REQUESTS.match(text) for text in texts):
            raise OptionError(
                f"{self.called}() got a list of requests where DuckDB cannot tell its type: "
                "in an aggregate, or by an alias of the same SELECT\n"
                f"  llm_request(…, '{self.called}') takes it everywhere"
            )
        return texts  # type: ignore[return-value]

    def array(self, values: list[Any]) -> Any:
        """The vectors."""
        dimension = self.dimension
        if dimension is None:
            return pa.array(values, pa.list_(pa.float32()))
        empty = np.zeros(dimension, np.float32)
        flat = np.concatenate(
            [empty if value is None else value for value in values] or [empty[:0]]
        )
        numbers = arrays.of_numbers(flat.astype(np.float32, copy=False), pa.float32())
        nulls = arrays.booleans([value is None for value in values])
        return pa.FixedSizeListArray.from_arrays(numbers, dimension, mask=nulls)
