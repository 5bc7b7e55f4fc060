"""Models in processes of their own, as the rest of llmsql knows models.

Owns the way to them. What runs in a process, and which, is for whoever starts one to say.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Self

from llmsql.backends import base
from llmsql.backends.base.proxy import Proxy
from llmsql.process import Deliver, Process
from llmsql.types import ModelSpec

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
"""What libraries read the number of their threads from."""


@dataclass(frozen=True)
class Share:
    """What of the machine a process has: *cores* and CUDA *devices* by number, empty for all."""

    cores: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """The share as libraries read it; how many threads there are the user may have said."""
        count = str(len(self.cores))
        said = {name: count for name in THREADS if self.cores and name not in os.environ}
        return said | ({"CUDA_VISIBLE_DEVICES": ",".join(self.devices)} if self.devices else {})


class Hosted(Proxy):
    """
    One model and the process it runs in, which `unload` ends.

    It is loading when it is made. `ready` waits for that; who would rather be told calls
    `begin_loading`, and `loaded` with what was delivered. The process answers "load", given
    *order*, with a mapping of what is `told`: device, dimension, and perhaps a note.
    """

    def __init__(self, process: Process, order: Any) -> None:
        self.process = process
        self.order = order
        self.told: Mapping[str, Any] = {}

    def begin_loading(self, deliver: Deliver) -> None:
        """Let the process load the model; what comes of it is delivered."""
        self.process.begin("load", self.order, count=1, deliver=deliver)

    def loaded(self, delivered: Any) -> None:
        """Take what "load" was answered; raises its error, after which the process is gone."""
        if isinstance(delivered, BaseException):
            self.process.end()
            raise delivered
        ((_, self.told),) = delivered
        self.device = self.told["device"]
        self.dimension = self.told["dimension"]
        self.note = self.told.get("note", "")

    def ready(self) -> Self:
        """Load the model and return it; raises what is wrong, after which the process is gone."""
        answers = SimpleQueue[Any]()
        self.begin_loading(answers.put)
        try:
            self.loaded(answers.get())
        except BaseException:  # Ctrl-C as well
            self.process.end()
            raise
        return self

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return what *method* returns in the process."""
        return self.process.ask(method, *arguments)

    def stream(self, method: str, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Return what *method* yields in the process."""
        self.check(method)
        return self.process.stream(method, list(items), count=len(items))

    def unload(self) -> None:
        """End the process, and with it all its memory."""
        self.process.end()

    def begin(self, method: str, items: Sequence[Any], deliver: Deliver) -> int:
        """Ask *method* for all *items*, whose results are delivered; returns the call's number."""
        self.check(method)
        return self.process.begin(method, list(items), count=len(items), deliver=deliver)

    def check(self, method: str) -> None:
        """Raise BackendError where the model knows before it is asked that it has no *method*."""


class Backend(base.Backend):
    """A backend that has processes of its own for its models."""

    @abstractmethod
    def start(self, spec: ModelSpec, share: Share) -> Hosted:
        """Start a process that loads the model; raises BackendError where there is none to load."""

    def load(self, spec: ModelSpec) -> base.Model:
        """Load the model in a process that has the whole machine."""
        return self.start(spec, Share()).ready()
