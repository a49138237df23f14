"""Status-Server (RFC 5997): ask a RADIUS server whether it lives, without logging anybody on."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import struct

STATUS_SERVER = 12
ACCESS_ACCEPT = 2
_HEADER = struct.Struct("!BBH16s")
_MESSAGE_AUTHENTICATOR = 80
_LENGTH = _HEADER.size + 18


def status_request(secret: str) -> bytes:
    """A Status-Server packet signed with Message-Authenticator (RFC 3579 3.2)."""
    header = _HEADER.pack(STATUS_SERVER, secrets.randbelow(256), _LENGTH, secrets.token_bytes(16))
    attribute = bytes((_MESSAGE_AUTHENTICATOR, 18))
    signature = hmac.digest(secret.encode(), header + attribute + bytes(16), "md5")
    return header + attribute + signature


def is_answer(answer: bytes, request: bytes, secret: str) -> bool:
    """Whether the answer is an Access-Accept to this request from one who knows the secret (RFC 2865 3)."""
    if len(answer) < _HEADER.size or answer[0] != ACCESS_ACCEPT or answer[1] != request[1]:
        return False
    signed = answer[:4] + request[4:20] + answer[20:] + secret.encode()
    return hmac.compare_digest(answer[4:20], hashlib.md5(signed, usedforsecurity=False).digest())


class _OneAnswer(asyncio.DatagramProtocol):
    def __init__(self, request: bytes, secret: str) -> None:
        self._request = request
        self._secret = secret
        self.alive: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:  # noqa: ARG002  interface
        if not self.alive.done() and is_answer(data, self._request, self._secret):
            self.alive.set_result(True)

    def error_received(self, exc: Exception) -> None:  # noqa: ARG002  interface
        if not self.alive.done():
            self.alive.set_result(False)


async def ask_status(port: int, secret: str, *, timeout_seconds: float = 1.0) -> bool:
    """Whether a server answers on loopback within the time."""
    request = status_request(secret)
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _OneAnswer(request, secret), remote_addr=("127.0.0.1", port)
    )
    transport.sendto(request)
    try:
        return await asyncio.wait_for(protocol.alive, timeout_seconds)
    except TimeoutError:
        return False
    finally:
        transport.close()
