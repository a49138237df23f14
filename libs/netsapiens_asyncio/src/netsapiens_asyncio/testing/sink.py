"""A receiver of events, for tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any


class EventSink:
    """An ASGI app that takes every post and hands it to `on_post(path, body)`.

    Attributes:
        posts: all of them, path and body.
        failing: answers 500 and takes nothing.
    """

    def __init__(self, on_post: Callable[[str, bytes], Awaitable[Any]] | None = None) -> None:
        self.posts: list[tuple[str, bytes]] = []
        self.failing = False
        self.on_post = on_post

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if not self.failing:
            self.posts.append((scope["path"], body))
            if self.on_post is not None:
                await self.on_post(scope["path"], body)
        status = 500 if self.failing else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
