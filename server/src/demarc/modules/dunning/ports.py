"""What carries a webhook step outside. Bootstrap joins the adapter (`Work.port(WebhookPoster)`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """One POST of JSON.

    `id` is the same at every attempt (header `webhook-id`). `secrets` sign it, the newest first. `allow_private` lets
    it go to addresses that are not public; without it private, loopback and link-local ones are refused.
    """

    id: str
    event: str
    url: str
    body: dict[str, Any]
    allow_private: bool
    secrets: tuple[bytes, ...] = field(repr=False)


class WebhookPoster(Protocol):
    """Posts webhooks."""

    async def post(self, call: WebhookCall) -> int:
        """The status of a 2xx answer.

        Raises:
            Unavailable: no answer, 408, 429 or 5xx: worth another attempt.
            Invalid: the address is not allowed, or the receiver refused for good.
        """
        ...
