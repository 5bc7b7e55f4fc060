"""A replica's process: loads a model, and answers what comes through a pipe, one call at a time.

Its other end is `Process`. Two threads stand by, so that a call can be given up while the model
works, and answers leave while it goes on; when the other end is gone, the process ends at once.
"""

from __future__ import annotations

import os
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from llmsql import backends
from llmsql.backends.base import Model
from llmsql.errors import BackendError, GenerationError, LlmsqlWarning
from llmsql.process import translated
from llmsql.types import ModelSpec

STREAMED = ("generate", "embed", "rerank")


def main(handle: int) -> None:
    """Serve what comes through *handle* until the other end says so."""
    with Connection(handle) as connection:
        os.register_at_fork(after_in_child=connection.close)  # else the pipe outlives us
        Server(connection).run()


class Server:
    """The model, and the calls that wait for it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.model = Model()
        self.calls: SimpleQueue[tuple[int, str, tuple[Any, ...]] | None] = SimpleQueue()
        self.results: SimpleQueue[tuple[int, int, Any] | None] = SimpleQueue()
        self.given_up: set[int] = set()
        self.is_stopping = False

    def run(self) -> None:
        """Answer calls, in order, until there are none to come."""
        sender = threading.Thread(target=_or_exit, args=(self._send,), daemon=True)
        sender.start()
        threading.Thread(target=_or_exit, args=(self._receive,), daemon=True).start()
        while (call := self.calls.get()) is not None:
            self._answer(*call)
        self.model.unload()
        self.results.put(None)
        sender.join()

    def _receive(self) -> None:
        """Take calls from the pipe, and at once those that are given up."""
        while (message := self.connection.recv()) is not None:
            number, method, _ = message
            if method == "abort":
                self.given_up.add(number)
            else:
                self.calls.put(message)
        self.is_stopping = True
        self.calls.put(None)

    def _send(self) -> None:
        """Write results to the pipe, together where the model is faster than the pipe."""
        while (result := self.results.get()) is not None:
            results = [result]
            while not self.results.empty() and results[-1] is not None:
                results.append(self.results.get())  # type: ignore[arg-type]
            self._write([found for found in results if found is not None])
            if results[-1] is None:
                return

    def _write(self, results: list[tuple[int, int, Any]]) -> None:
        by_call: dict[int, list[tuple[int, Any]]] = {}
        for number, index, result in results:
            if isinstance(result, Raised):  # behind the results before it, or these would be lost
                if number in by_call:
                    self._say(number, by_call.pop(number))
                self._say(number, result.error)
            else:
                by_call.setdefault(number, []).append((index, result))
        for number, found in by_call.items():
            self._say(number, found)

    def _say(self, number: int, said: Any) -> None:
        try:
            self.connection.send((number, said))
        except OSError:
            raise
        except Exception as error:  # whatever pickle makes of a stranger's class
            self.connection.send((number, BackendError(f"an answer cannot be sent: {error}")))

    def _answer(self, number: int, method: str, arguments: tuple[Any, ...]) -> None:
        if number in self.given_up:
            return
        try:
            if method in STREAMED:
                self._stream(number, method, *arguments)
            else:
                ask = self._load if method == "load" else getattr(self.model, method)
                self.results.put((number, 0, ask(*arguments)))
        except Exception as error:  # whatever it is, it belongs to who asked
            traceback.print_exc()
            self.results.put((number, 0, Raised(translated(error))))

    def _stream(self, number: int, method: str, items: list[Any]) -> None:
        left = set(range(len(items)))
        stream = getattr(self.model, method)(items)
        try:
            for index, result in stream:
                left.discard(index)
                failed = isinstance(result, GenerationError)
                self.results.put((number, index, translated(result) if failed else result))
                if number in self.given_up or self.is_stopping:
                    return
        finally:
            close: Callable[[], None] = getattr(stream, "close", lambda: None)
            close()
        for index in left:
            self.results.put((number, index, GenerationError("the model gave no answer")))

    def _load(self, spec: ModelSpec) -> Mapping[str, Any]:
        """Load the model of *spec*; returns what the other side has to know of it."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LlmsqlWarning)
            try:
                self.model = backends.get(spec.backend).load(spec)
            except MemoryError as error:
                raise BackendError(f'no memory left to load model "{spec.name}"') from error
        ours = [str(one.message) for one in caught if issubclass(one.category, LlmsqlWarning)]
        model = self.model
        told = {"device": model.device, "dimension": model.dimension, "note": model.note}
        return {**told, "warnings": ours}


class Raised:
    """An error that ends a call, where the error of one input is a result."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _or_exit(work: Callable[[], None]) -> None:
    """Do *work*; where the other end is gone, nobody waits for what this process does."""
    try:
        work()
    except (EOFError, OSError):
        os._exit(0)
