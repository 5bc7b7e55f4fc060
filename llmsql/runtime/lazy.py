"""A model that is loaded when it is first asked something.

What is loaded, and from where, is for whoever makes one to say.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmsql.backends.base import Model
from llmsql.backends.base.proxy import Proxy
from llmsql.errors import BackendError, LlmsqlError


class LazyModel(Proxy):
    """
    Stands for a model until the first call, and passes every call on.

    It is loaded once, in the thread of the first call, which is the deployment's. What fails to
    load is tried again at the next call.
    """

    device = ""

    def __init__(self, name: str, load: Callable[[], Model], dimension: int | None) -> None:
        self.name = name
        self.dimension = dimension
        self.seconds: float | None = None
        self._lock = threading.Lock()
        self._load = load
        self._model: Model | None = None

    @property
    def being_written(self) -> int:
        """The model's own number, 0 until it is loaded."""
        return 0 if self._model is None else self._model.being_written

    @property
    def retrying(self) -> int:
        """The model's own number, 0 until it is loaded."""
        return 0 if self._model is None else self._model.retrying

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return what the model returns."""
        return getattr(self._loaded(), method)(*arguments)

    def stream(self, method: str, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield what the model yields; it is loaded when the first result is asked for."""
        yield from getattr(self._loaded(), method)(items)

    def wind_up(self, seconds: float) -> bool:
        """Let the model wind up, if it is loaded."""
        return self._model is not None and self._model.wind_up(seconds)

    def wake(self) -> None:
        """Load the model, if it is not."""
        self._loaded()

    def count_tokens(self, inputs: Sequence[Any]) -> list[int] | None:
        """Return what the model returns, None until it is loaded: counting is not worth loading."""
        return None if self._model is None else self._model.count_tokens(inputs)

    def unload(self) -> None:
        """Unload the model, if it was ever loaded."""
        if self._model is not None:
            self._model.unload()

    def _loaded(self) -> Model:
        with self._lock:
            if self._model is None:
                started = time.perf_counter()
                self._model = model = self._made()
                self.device, self.note = model.device, model.note
                self.seconds = time.perf_counter() - started
            return self._model

    def _made(self) -> Model:
        try:
            model = self._load()
        except LlmsqlError:
            raise
        except Exception as error:  # else the scheduler would take it for one row's
            raise BackendError(
                f'model "{self.name}" cannot be loaded: {type(error).__name__}: {error}'
            ) from error
        self._check(model)
        return model

    def _check(self, model: Model) -> None:
        """Refuse a model whose vectors do not fit the type that the SQL function returns."""
        if self.dimension not in (None, model.dimension):
            model.unload()
            raise BackendError(
                f'model "{self.name}" makes vectors of {model.dimension} numbers now, not of '
                f"{self.dimension}\n  !llm model reload {self.name}"
            )
