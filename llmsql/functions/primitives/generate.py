"""`llm_generate(prompt [, options] [, model])`: ask a chat model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from llmsql import arrays
from llmsql.errors import OptionError
from llmsql.functions import base
from llmsql.functions import columns as read
from llmsql.functions.caller import caller_of, told
from llmsql.functions.columns import Column
from llmsql.functions.primitives import request


class Function(base.ModelFunction):
    """Text in, text out; the second argument may be options or a model's name."""

    name = "llm_generate"
    kind = "chat"
    inputs = ("prompt",)
    answer_type = "VARCHAR"

    def __call__(self, *columns: Column) -> Any:
        """Answer one chunk; a list that is given to the function of a model holds requests."""
        if self.model is not None and read.has_requests(columns):
            self._check(columns)
            return request.Function(self.engine, self.model, self.on_error)(*columns)
        return super().__call__(*columns)

    def _check(self, columns: Sequence[Column]) -> None:
        collector, _, arguments = caller_of(self.engine, columns)
        with told(collector):
            if len(arguments) > 1:
                raise OptionError(
                    f"{self.called}(llm_param(…)) takes its options inside the request\n"
                    "  llm_param({'instruction': '…', 'max_tokens': 5})"
                )

    def keys(self, inputs: Sequence[Column]) -> base.Keys:
        """The prompts."""
        return read.texts(inputs[0])  # type: ignore[return-value]

    def array(self, values: list[Any]) -> Any:
        """The completions."""
        return arrays.array(values, pa.string())
