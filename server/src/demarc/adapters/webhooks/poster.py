"""Posts JSON to an address that a tenant chose, and to no address that only this machine's network can reach."""

from __future__ import annotations

import hmac
from base64 import b64encode
from dataclasses import dataclass, field
from time import time

import httpx
import msgspec

from demarc.kernel.addresses import Address, is_public, resolve
from demarc.kernel.errors import Invalid, Unavailable
from demarc.modules.dunning.ports import WebhookCall

TIMEOUT_SECONDS = 10.0
_RETRY_LATER = frozenset({408, 425, 429})
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class HttpWebhookPoster:
    """The port `WebhookPoster` over HTTP. Redirects are not followed: they could lead inside."""

    client: httpx.AsyncClient = field(
        default_factory=lambda: httpx.AsyncClient(
            timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False
        )
    )

    async def post(self, call: WebhookCall) -> int:
        """See `WebhookPoster.post`."""
        try:
            answer = await self._client_post(call)
        except (httpx.TransportError, OSError) as error:
            raise Unavailable(f"{_place(call)} does not answer ({type(error).__name__})") from None
        if answer.is_success:
            return answer.status_code
        text = f"{_place(call)} answered {answer.status_code}"
        if answer.status_code >= _SERVER_ERROR or answer.status_code in _RETRY_LATER:
            raise Unavailable(text)
        raise Invalid(text, code="WEBHOOK_REFUSED")

    async def _client_post(self, call: WebhookCall) -> httpx.Response:
        """To the very address that was checked: a name that resolves to another one a moment later changes nothing."""
        url = httpx.URL(call.url)
        address = await _allowed_address(url, allow_private=call.allow_private)
        body = msgspec.json.encode(call.body)
        timestamp = int(time())
        async with self.client.stream(
            "POST",
            url.copy_with(host=str(address)),
            content=body,
            headers={
                "Host": url.netloc.decode(),
                "Content-Type": "application/json",
                "User-Agent": "demarc",
                "X-ISP-Event": call.event,
                "webhook-id": call.id,
                "webhook-timestamp": str(timestamp),
                **signatures(call, timestamp, body),
            },
            extensions={"sni_hostname": url.host},
        ) as answer:
            return answer  # its body is never read


def _place(call: WebhookCall) -> str:
    return f"the webhook at {httpx.URL(call.url).host}"


async def _allowed_address(url: httpx.URL, *, allow_private: bool) -> Address:
    """The first address of the host; every one it resolves to has to be allowed.

    Raises:
        Invalid: one of them is private, loopback, link-local or otherwise not public.
        Unavailable: the name does not resolve.
    """
    port = url.port or (443 if url.scheme == "https" else 80)
    addresses = await resolve(url.host, port)
    if not allow_private and not all(is_public(address) for address in addresses):
        raise Invalid(
            f"{url.host} is not a public address; webhooks go there only if the operator allows it "
            "(tenant setting webhook_private_addresses)",
            code="WEBHOOK_ADDRESS_REFUSED",
        )
    return addresses[0]


def signatures(call: WebhookCall, timestamp: int, body: bytes) -> dict[str, str]:
    """What a receiver checks that the call is ours by; one signature for each secret while they overlap.

    `webhook-signature` is Standard Webhooks 1.0 (`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`),
    `X-ISP-Signature` is `sha256=` and the hexadecimal HMAC-SHA256 of the body alone, by the newest secret.
    """
    signed = f"{call.id}.{timestamp}.".encode() + body
    return {
        "webhook-signature": " ".join(
            f"v1,{b64encode(hmac.digest(secret, signed, 'sha256')).decode()}" for secret in call.secrets
        ),
        "X-ISP-Signature": f"sha256={hmac.digest(call.secrets[0], body, 'sha256').hex()}",
    }
