"""`llm_request(requests [, model])`: ask a model of any kind what a JSON request wants. Spec S01.

The first request of a row's list is answered, by a JSON object. The function of each deployed model
comes here when it is given a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from llmsql import arrays
from llmsql.functions import base, wishes
from llmsql.functions import columns as read
from llmsql.functions.columns import Column
from llmsql.functions.replies import Requests
from llmsql.runtime.collector import Collector
from llmsql.runtime.deployments import Deployment

SETTLED, DRAWN = Requests(is_deterministic=True), Requests(is_deterministic=False)


class Function(base.ModelFunction):
    """A list of requests in, the answer to the first one out, as JSON."""

    name = "llm_request"
    kind = None
    inputs = ("requests",)
    takes_options = False
    takes_requests = True
    answer_type = "VARCHAR"

    def __call__(self, *columns: Column) -> Any:
        """Answer one chunk, of lists or of requests alone."""
        if read.has_requests(columns):
            columns = (arrays.array(read.requests(columns[0]), pa.string()), *columns[1:])
        return super().__call__(*columns)

    def keys(self, inputs: Sequence[Column]) -> base.Keys:
        """The requests as they are written."""
        return read.texts(inputs[0])  # type: ignore[return-value]

    def array(self, values: list[Any]) -> Any:
        """The answers."""
        return arrays.array(values, pa.string())

    def _groups(
        self, keys: base.Keys, extras: Sequence[Column], collector: Collector
    ) -> list[base.Group]:
        """Requests whose answers are drawn are asked apart: those are not kept."""
        _, models = self._extras(extras)
        names = read.texts(models) if models is not None else [None] * len(keys)
        alike: dict[tuple[Deployment, Requests], list[int]] = {}
        for row, name in enumerate(names):
            deployment = self._deployment(name)
            asking = self._asking(keys, row, deployment, collector)
            alike.setdefault((deployment, asking), []).append(row)
        is_raising = self.is_raising(None, collector)
        return [
            base.Group(deployment, collector.answers(deployment, asking), rows, is_raising)
            for (deployment, asking), rows in alike.items()
        ]

    def _asking(
        self, keys: base.Keys, row: int, deployment: Deployment, collector: Collector
    ) -> Requests:
        """How the request of *row* is asked; one whose instruction is NULL becomes NULL."""
        text: Any = keys[row]
        if text in collector.answers(deployment, SETTLED).known:
            return SETTLED
        wish = wishes.read(text, deployment)
        if wish is None:
            keys[row] = None
        return SETTLED if wish is None or wish.is_deterministic else DRAWN
