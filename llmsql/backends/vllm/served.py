"""vLLM's process: takes calls from a pipe, steps the engine, and answers each request as it ends.

Runs in one thread, so calls are looked for between two steps. Its other end is `model`.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from llmsql.backends.vllm.order import Order
from llmsql.errors import BackendError, GenerationError, LlmsqlError, first_line

Key = tuple[int, int]
"""A request: the number of its call, and its place there."""

AHEAD = 256
"""So many requests are made ready at a time, and wait in the engine at least."""


def main(handle: int) -> None:
    """Load what comes first through *handle*, then serve until the other end is gone."""
    with Connection(handle) as connection:
        os.register_at_fork(after_in_child=connection.close)  # a worker would keep the pipe open
        try:
            number, _, (order,) = connection.recv()
            try:
                server = Server(connection, order)
            except Exception as error:  # whatever the library raises, the model is not there
                traceback.print_exc()
                connection.send((number, _as_backend_error(error)))
                return
            connection.send((number, [(0, server.engine.told)]))
            server.run()
        except (EOFError, OSError):
            pass  # nobody is there to answer


class Server:
    """The engine, and the calls whose requests wait or run."""

    def __init__(self, connection: Connection, order: Order) -> None:
        from llmsql.backends.vllm.engine import Engine

        self.connection = connection
        self.engine = Engine(order)
        self.waiting: dict[int, Iterator[Sequence[tuple[Key, Any]]]] = {}

    def run(self) -> None:
        """Serve until the other end says so, or is gone."""
        while True:
            is_busy = bool(self.waiting) or self.engine.is_busy
            while self.connection.poll(0 if is_busy else None):
                message = self.connection.recv()
                if message is None:
                    self.engine.stop()
                    return
                self._take(*message)
                is_busy = True
            self._feed()
            self._answer(self.engine.step())

    def _take(self, number: int, method: str, arguments: tuple[Any, ...]) -> None:
        if method == "abort":
            self.waiting.pop(number, None)
            self.engine.abort(number)
        elif method in ("generate", "embed", "rerank"):
            self.waiting[number] = self._ready(number, method, arguments[0])
        else:
            try:
                answer = [(0, getattr(self.engine.asking, method)(*arguments))]
            except Exception as error:
                self.connection.send((number, _as_backend_error(error)))
            else:
                self.connection.send((number, answer))

    def _ready(
        self, number: int, method: str, items: Sequence[Any]
    ) -> Iterator[Sequence[tuple[Key, Any]]]:
        """Yield the requests of a call in portions, as the engine takes them."""
        make = getattr(self.engine.asking, method)
        for start in range(0, len(items), AHEAD):
            made = make(items[start : start + AHEAD])
            yield [((number, start + at), request) for at, request in enumerate(made)]

    def _feed(self) -> None:
        """Keep the engine's own queue filled, and no fuller: filling it delays the first answer."""
        while self.waiting and self.engine.count < self.engine.slots + AHEAD:
            number, portions = next(iter(self.waiting.items()))
            try:
                portion = next(portions, None)
            except Exception as error:
                del self.waiting[number]
                self.connection.send((number, _as_backend_error(error)))
                continue
            if portion is None:
                del self.waiting[number]
            else:
                self._answer([found for one in portion for found in self.engine.add(*one)])

    def _answer(self, found: Sequence[tuple[Key, Any]]) -> None:
        by_call: dict[int, list[tuple[int, Any]]] = {}
        for (number, index), result in found:
            by_call.setdefault(number, []).append((index, result))
        for number, results in by_call.items():
            self.connection.send((number, results))


def _as_backend_error(error: Exception) -> LlmsqlError:
    if isinstance(error, LlmsqlError) and not isinstance(error, GenerationError):
        return error
    return BackendError(first_line(error))
