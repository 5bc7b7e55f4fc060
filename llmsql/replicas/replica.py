"""One replica: a process of its own, which is started again when it has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from llmsql.backends.base.hosted import Hosted
from llmsql.errors import BackendError
from llmsql.process import ProcessEnded


class Replica:
    """The model number *number*, in a process that *start* starts; it is loading at first."""

    def __init__(self, number: int, start: Callable[[], Hosted]) -> None:
        self.number = number
        self._start = start
        self._lock = threading.RLock()
        self._loading: Future[Any] | None = None
        self._is_unloaded = False
        self.load()

    @property
    def is_ready(self) -> bool:
        """True while its model is loaded and its process is there."""
        return self._loading is None and not self.model.process.has_ended

    def load(self) -> Future[Any]:
        """Let a new process load the model, unless one does; `settle` takes what comes of it."""
        with self._lock:
            if self._is_unloaded:
                raise BackendError("this model was unloaded")
            if self._loading is None:
                loading = Future[Any]()
                self.model = self._start()
                self._loading = loading
                self.model.begin_loading(loading.set_result)
            return self._loading

    def settle(self) -> None:
        """Wait until it is ready; raises what went wrong, after which its process is gone."""
        with self._lock:
            loading, delivered = self._loading, None
            try:
                if loading is not None:
                    delivered = loading.result()
                    self.model.loaded(delivered)
            except BaseException:  # Ctrl-C as well
                self.model.process.end()
                raise
            finally:
                self._loading = None

    def unload(self) -> None:
        """End the process, for good."""
        self._is_unloaded = True
        self.model.unload()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return what the model's *method* returns; a process that has ended gets another try."""
        try:
            return self._asked(method, *arguments)
        except ProcessEnded:
            return self._asked(method, *arguments)

    def _asked(self, method: str, *arguments: Any) -> Any:
        if not self.is_ready:
            self.load()
            self.settle()
        return getattr(self.model, method)(*arguments)
