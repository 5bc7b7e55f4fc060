"""What a query would ask of its models, call by call, while nothing is asked: EXPLAIN's numbers.

Counts inputs. What they will need is `expected`'s business, and how a pass is run the explainer's.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from llmsql.runtime.answers import MISSING, Answers

if TYPE_CHECKING:
    from llmsql.runtime.collector import Site
    from llmsql.runtime.deployments import Deployment

Where = tuple["Site", "Deployment", Answers]


class Census:
    """
    The distinct inputs of each call of a query.

    *stands_in* lets an unknown input have itself for an answer where that is a text, so that a call
    which waits for it sees as many different inputs as it will see.
    """

    def __init__(self, *, stands_in: bool = False) -> None:
        self.stands_in = stands_in
        self.inputs: dict[Where, dict[Hashable, None]] = {}
        self._lock = threading.Lock()

    def count(
        self, deployment: Deployment, answers: Answers, keys: Sequence[Any], site: Site
    ) -> list[Any]:
        """Count *keys* and return what is known of them; nothing is asked."""
        with self._lock:
            inputs = self.inputs.setdefault((site, deployment, answers), {})
            inputs.update(dict.fromkeys(key for key in keys if key is not None))
        values = [answers.known.get(key, MISSING) for key in keys]
        is_text = self.stands_in and deployment.spec.kind == "chat"
        return [
            (f"{key} …" if is_text else None) if value is MISSING else value
            for key, value in zip(keys, values, strict=True)
        ]
