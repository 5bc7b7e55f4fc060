"""A model in vLLM's process, as the rest of llmsql knows models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmsql.backends.base.hosted import Hosted, Share
from llmsql.backends.vllm.order import Order
from llmsql.errors import BackendError
from llmsql.process import Process, ProcessEnded

METHODS = {"chat": "generate", "emb": "embed", "rerank": "rerank"}


class Model(Hosted):
    """One model and the process it runs in; *source* is what its errors call it."""

    order: Order

    def __init__(self, order: Order, source: str, share: Share) -> None:
        environment = order.environment | share.environment
        if share.cores:  # else each of several takes all for itself
            environment["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, share.cores))
        process = Process("llmsql.backends.vllm.served", "vLLM's process", environment)
        super().__init__(process, order)
        self.source = source

    def loaded(self, delivered: Any) -> None:
        """Take what "load" was answered; raises its error, which names the source."""
        try:
            super().loaded(delivered)
        except ProcessEnded as error:
            raise ProcessEnded(f'cannot load "{self.source}": {error}') from error
        except BackendError as error:
            raise BackendError(f'cannot load "{self.source}": {error}') from error

    def meta(self) -> Mapping[str, Any]:
        """Return what the model's files say."""
        return {
            "max_model_len": self.told["max_model_len"],
            "architectures": self.told["architectures"],
            "support_chat_template": self.told["has_template"],
            "message_format": self.told["has_template"],
            "embedding_mode": self.dimension is not None,
            "dtype": self.told["dtype"],
        }

    def check(self, method: str) -> None:
        """Raise BackendError where it was deployed for something else."""
        if method != METHODS[self.order.kind]:
            kind = next(kind for kind, known in METHODS.items() if known == method)
            raise BackendError(f"this model was deployed for {self.order.kind}, not for {kind}")
