"""Replicas of a model: each in a process of its own, started again when it dies.

`load` is what the runtime calls for every model. A batch is shared among replicas (`sharing`, over
`work`); each is a `replica` with its part of the machine (`shares`). `served` is what runs in the
process, except for backends that have one of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from llmsql.backends.base import Backend, Model, hosted
from llmsql.backends.base.hosted import Hosted, Share
from llmsql.process import Process
from llmsql.replicas import shares
from llmsql.replicas.replicated import Replicated
from llmsql.types import ModelSpec


def load(spec: ModelSpec, backend: Backend) -> Model:
    """Load the model of *spec*, as often as it says; raises BackendError where one fails.

    A model that is wanted once is loaded in this process, unless its backend has another way.
    """
    start: Callable[[ModelSpec, Share], Hosted] = _started
    if isinstance(backend, hosted.Backend):
        start = backend.start
    elif backend.is_remote or spec.replicas == 1:
        return backend.load(spec)
    starts = [partial(start, spec, share) for share in shares.dealt(spec)]
    return Replicated(starts, least=spec.concurrency)


def _started(spec: ModelSpec, share: Share) -> Hosted:
    """Start a process of ours that loads the model of *spec*."""
    owner = f'a process of model "{spec.name}"'
    process = Process("llmsql.replicas.served", owner, share.environment)
    return Hosted(process, shares.with_threads(spec, share))
