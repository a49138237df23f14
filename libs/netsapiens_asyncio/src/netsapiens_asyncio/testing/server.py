"""A small HTTP/1.1 server on h11, which can do what a proper one refuses: cut a connection in the middle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import h11

from netsapiens_asyncio.testing.pbx import FakePbx
from netsapiens_asyncio.testing.wire import Cut

App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]],
    Awaitable[None],
]
CHUNK = 65_536


class _Connection:
    def __init__(self, app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._app = app
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.SERVER)

    async def run(self) -> None:
        try:
            while await self._exchange():
                self._h11.start_next_cycle()
        except (Cut, ConnectionError, h11.ProtocolError):
            pass
        finally:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()

    async def _exchange(self) -> bool:
        """One request and its answer. False: the connection is over."""
        request = await self._next()
        if not isinstance(request, h11.Request):
            return False
        body = bytearray()
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
        await self._app(_scope(request), _receiver(bytes(body)), self._send)
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    async def _next(self) -> Any:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(await self._reader.read(CHUNK))
        return event

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            event = h11.Response(status_code=message["status"], headers=message["headers"])
            self._writer.write(self._h11.send(event) or b"")
            return
        self._writer.write(self._h11.send(h11.Data(data=message.get("body", b""))) or b"")
        if not message.get("more_body"):
            self._writer.write(self._h11.send(h11.EndOfMessage()) or b"")
            await self._writer.drain()


def _scope(request: h11.Request) -> dict[str, Any]:
    path, _, query = request.target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method.decode(),
        "path": path.decode(),
        "raw_path": path,
        "query_string": query,
        "headers": list(request.headers),
    }


def _receiver(body: bytes) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


@contextlib.asynccontextmanager
async def serve(app: App, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serves an ASGI app (a `FakePbx`, an `EventSink`) on this machine while the block runs.

    Args:
        app: what to serve.
        port: 0 takes a free one.
        host: a loopback address.

    Yields:
        Its URL, such as `http://127.0.0.1:40001`: a `base_url` for `NetsapiensAPI`.
    """
    running: set[asyncio.Task[None]] = set()

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(app, FakePbx) and app.down:
            writer.close()
            return
        task = asyncio.current_task()
        if task is not None:
            running.add(task)
            task.add_done_callback(running.discard)
        with contextlib.suppress(asyncio.CancelledError):
            await _Connection(app, reader, writer).run()

    server = await asyncio.start_server(welcome, host, port)
    try:
        yield f"http://{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()
