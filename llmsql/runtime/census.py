"""What a query would ask of its models, call by call, while nothing is asked: EXPLAIN's numbers.

Counts inputs. What they will need is `expected`'s business, and how a pass is run the explainer's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from llmsql.runtime.answers import MISSING, Answers

if TYPE_CHECKING:
    from llmsql.runtime.collector import Site
    from llmsql.runtime.deployments import Deployment

Where = tuple["Site", "Deployment", Answers]


class Census:
    """
    The distinct inputs of each call of a query.

    Where a call *stands_in*, an unknown input has itself for an answer, or some vector or score, so
    that what waits for it sees as many different inputs as it will see.
    """

    def __init__(self, stands_in: Callable[[Site], bool]) -> None:
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
        others = _stand_ins(deployment, keys) if self.stands_in(site) else repeat(None)
        return [b if a is MISSING else a for a, b in zip(values, others, strict=False)]


def _stand_ins(deployment: Deployment, keys: Sequence[Any]) -> Iterable[Any]:
    """What might be the answers to *keys*; NULL where nothing is known of answers."""
    if deployment.spec.kind == "chat":
        return (f"{key} …" for key in keys)
    return repeat(0.0 if deployment.spec.kind == "rerank" else deployment.any_vector())
