"""HTTP servers on localhost for tests: real sockets, and every way in which a server goes wrong.

A test gives a function from request to reply; what was asked is in `requests`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """What a server answers; *body* is JSON unless it is bytes.

    With *pieces* the bytes go out so many at a time, as chunks if *is_chunked*; with *reset_after*
    only so many bytes of the body are sent before the connection is torn down.
    """

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    pieces: int = 0
    is_chunked: bool = False
    reset_after: int | None = None
    raw: bytes | None = None


Answer = Callable[[Request], Reply | Awaitable[Reply]]


class Server:
    """A server in a thread of its own, for the time of a `with`."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.most_at_once = 0
        self.lost = threading.Event()
        self._ready = threading.Event()
        self._now = 0
        self._loop = asyncio.new_event_loop()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)

    @property
    def url(self) -> str:
        return self._url

    def asked(self, path: str) -> list[Any]:
        """The bodies posted to paths that end in *path*, in order of arrival."""
        return [r.body for r in self.requests if r.path.endswith(path)]

    def __enter__(self) -> Server:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Hang up on everyone and listen no longer; may be called before the `with` ends."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, sock=self._listening)
        )
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _read(reader):
                await self._reply(request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.lost.set()
        except asyncio.CancelledError:
            pass  # the server stops; asyncio would log the cancelled task
        finally:
            writer.transport.abort()

    async def _reply(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.requests.append(request)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            reply = self.answer(request)
            if not isinstance(reply, Reply):
                reply = await reply
            if reply.delay:
                await self._pause(reply.delay, reader)
        finally:
            self._now -= 1
        await _write(reply, writer)

    async def _pause(self, seconds: float, reader: asyncio.StreamReader) -> None:
        """Wait, and note when the client hangs up meanwhile."""
        for _ in range(round(seconds / 0.02)):
            await asyncio.sleep(0.02)
            if reader.at_eof() or reader.exception():
                raise ConnectionResetError


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    method, path, _ = head[0].split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, json.loads(body) if body else None)


async def _write(reply: Reply, writer: asyncio.StreamWriter) -> None:
    if reply.raw is not None:
        writer.write(reply.raw)
        await writer.drain()
        raise ConnectionResetError
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    headers = {"Content-Type": "application/json", **reply.headers}
    size = "Transfer-Encoding: chunked" if reply.is_chunked else f"Content-Length: {len(body)}"
    lines = [f"HTTP/1.1 {reply.status} Told", size, *(f"{k}: {v}" for k, v in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    if reply.reset_after is not None:
        writer.write(body[: reply.reset_after])
        await writer.drain()
        await asyncio.sleep(0.02)  # so that the part arrives before the reset
        hard = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hard)
        raise ConnectionResetError
    step = reply.pieces or len(body) or 1
    for start in range(0, len(body), step):
        piece = body[start : start + step]
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if reply.is_chunked else piece)
        if reply.pieces:
            await writer.drain()
            await asyncio.sleep(0)
    if reply.is_chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()
