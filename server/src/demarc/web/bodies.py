"""A request's body is bounded before anybody keeps it in memory."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demarc.kernel.errors import TooLarge
from demarc.web.errors import respond

LARGEST_BODY = 8 * 1024 * 1024
"""Octets; the largest documented request (1,000 usage records) has less than one million."""


class BoundedBodies:
    """Answers 413 to a body that says it is too large, and stops reading one that turns out to be."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST_BODY) -> None:
        self.app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _declared(scope) > self._largest:
            await respond(self._refusal())(scope, receive, send)
            return
        await self.app(scope, self._bounded(receive), send)

    def _bounded(self, receive: Receive) -> Receive:
        taken = 0

        async def take() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._largest:
                raise self._refusal()
            return message

        return take

    def _refusal(self) -> TooLarge:
        return TooLarge(
            f"a body may have {self._largest:,} octets at most; send the rows in several requests"
        )


def _declared(scope: Scope) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0
