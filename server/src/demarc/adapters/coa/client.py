"""Sends Disconnect-Requests and CoA-Requests from one socket to any number of NAS (RFC 5176).

pyrad encodes, decodes and verifies. The exchange itself is here, since an identifier is taken per NAS, not per
socket, an answer counts only from the address that was asked, and a retransmission must be the same datagram.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, TypeAlias, cast

import pyrad.dictionary
import pyrad.packet

from demarc.kernel.errors import Misconfigured, invalid
from demarc.kernel.logs import logger
from demarc.modules.access.ports import SESSION_CONTEXT_NOT_FOUND, CoaOrder, CoaReply
from demarc.modules.access.states import CoaKind, CoaOutcome

_log = logger("coa")
_radius: Any = pyrad.packet  # pyrad has no types

RETRANSMIT_AFTER = (1.0, 2.0, 3.0)
"""Seconds to wait after each of the datagrams before the NAS counts as not answering."""

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - the kernel picks the address of the route to the NAS
_IDENTIFIERS = 256
_ERROR_CAUSE = 101
_CODES = {
    CoaKind.DISCONNECT: (_radius.DisconnectRequest, _radius.DisconnectACK, _radius.DisconnectNAK),
    CoaKind.COA: (_radius.CoARequest, _radius.CoAACK, _radius.CoANAK),
}
_SESSION_ATTRIBUTES = {"User-Name", "Acct-Session-Id", "Framed-IP-Address", "Event-Timestamp"}

Address = tuple[str, int]


Packet: TypeAlias = Any
Dictionary: TypeAlias = Any


def load_dictionary() -> Dictionary:
    dictionary: Any = pyrad.dictionary.Dictionary
    return dictionary(str(files(__package__) / "dictionary.coa"))


class CoaClient(asyncio.DatagramProtocol):
    """Many orders may be outstanding at once; up to 256 per NAS, further ones wait their turn.

    Made by `open_client`.
    """

    def __init__(
        self,
        *,
        retransmit_after: Sequence[float] = RETRANSMIT_AFTER,
        dictionary: Dictionary = None,
    ) -> None:
        self._retransmit_after = tuple(retransmit_after)
        self._dictionary = dictionary or load_dictionary()
        self._transport: asyncio.DatagramTransport | None = None
        self._identifiers: dict[Address, asyncio.Queue[int]] = {}
        self._waiting: dict[tuple[Address, int], _Exchange] = {}

    async def send(self, order: CoaOrder) -> CoaReply:
        """Send one order and wait for what becomes of it; a NAS that does not answer is an outcome, not an error.

        Raises:
            Invalid: an attribute or its value is not in the dictionary; nothing was sent.
        """
        address = (order.nas_ip, order.coa_port)
        free = self._identifiers.setdefault(address, _all_identifiers())
        identifier = await free.get()
        try:
            return await self._exchange(address, _Exchange(self._encode(order, identifier), order.kind))
        finally:
            free.put_nowait(identifier)

    async def _exchange(self, address: Address, exchange: _Exchange) -> CoaReply:
        key = (address, exchange.identifier)
        self._waiting[key] = exchange
        try:
            return await self._transmit(address, exchange)
        finally:
            del self._waiting[key]

    async def _transmit(self, address: Address, exchange: _Exchange) -> CoaReply:
        if self._transport is None:
            raise RuntimeError("the client is closed; make it by open_client")
        for attempt, patience in enumerate(self._retransmit_after, start=1):
            self._transport.sendto(exchange.datagram, address)
            done, _ = await asyncio.wait({exchange.answer}, timeout=patience)
            if done:
                return _reply(exchange.answer.result(), attempt)
        return CoaReply(CoaOutcome.TIMEOUT, len(self._retransmit_after))

    def _encode(self, order: CoaOrder, identifier: int) -> Packet:
        packet = _radius.CoAPacket(
            _CODES[order.kind][0], identifier, order.secret, dict=self._dictionary, message_authenticator=True
        )
        packet.add_message_authenticator()
        packet["User-Name"] = order.username
        packet["Acct-Session-Id"] = order.acct_session_id
        if order.framed_ip is not None:
            packet["Framed-IP-Address"] = order.framed_ip
        packet["Event-Timestamp"] = int(time.time())
        for name, value in order.attributes.items():
            _set_attribute(packet, name, value)
        return packet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None

    def error_received(self, error: Exception) -> None:
        _log.info("nas_unreachable", reason=str(error))

    def datagram_received(self, data: bytes, address: Any) -> None:
        """An answer that does not verify is as good as none: the order is sent again or times out."""
        exchange = self._waiting.get((address[:2], data[1])) if len(data) > 1 else None
        if exchange is None or not exchange.accept(data, self._dictionary):
            _log.info("coa_answer_ignored", nas=address[0])


class _Exchange:
    """One outstanding request: always the same datagram, until a verified answer."""

    def __init__(self, request: Packet, kind: CoaKind) -> None:
        self.request = request
        self.datagram: bytes = request.RequestPacket()
        self.identifier: int = request.id
        self.answer: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._answers = _CODES[kind][1:]

    def accept(self, data: bytes, dictionary: Dictionary) -> bool:
        try:
            reply = _radius.CoAPacket(packet=data, secret=self.request.secret, dict=dictionary)
        except pyrad.packet.PacketError:
            return False
        if reply.code not in self._answers or not self.request.VerifyReply(reply, data):
            return False
        if not self.answer.done():
            self.answer.set_result(reply)
        return True


@asynccontextmanager
async def open_client(
    *, source_ip: str = ANY_ADDRESS, retransmit_after: Sequence[float] = RETRANSMIT_AFTER
) -> AsyncIterator[CoaClient]:
    """A client on a socket of its own, sending from `source_ip` (a NAS may answer known addresses only).

    Raises:
        Misconfigured: `source_ip` is not an address of this machine.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, client = await loop.create_datagram_endpoint(
            lambda: CoaClient(retransmit_after=retransmit_after), local_addr=(source_ip, 0)
        )
    except OSError as error:
        raise Misconfigured(
            f"CoA cannot be sent from {source_ip} ({error.strerror}). Give an address of this machine."
        ) from error
    try:
        yield client
    finally:
        transport.close()


def _all_identifiers() -> asyncio.Queue[int]:
    """Oldest first: an identifier rests as long as possible before it is used again."""
    free: asyncio.Queue[int] = asyncio.Queue()
    for identifier in range(_IDENTIFIERS):
        free.put_nowait(identifier)
    return free


def _set_attribute(packet: Packet, name: str, value: object) -> None:
    if name in _SESSION_ATTRIBUTES:
        raise invalid("attributes", f"{name} is set by the order itself; leave it out")
    if name not in packet.dict.attributes:
        raise invalid("attributes", f"no attribute is named {name}")
    try:
        packet[name] = value
    except (TypeError, ValueError, OSError, struct.error) as error:
        raise invalid("attributes", f"{value!r} is no value of {name}: {error}") from error


def _reply(packet: Packet, attempts: int) -> CoaReply:
    if packet.code in (_radius.CoAACK, _radius.DisconnectACK):
        return CoaReply(CoaOutcome.ACK, attempts)
    causes = packet.get(_ERROR_CAUSE, [])
    cause = int.from_bytes(causes[0], "big") if causes else None
    outcome = CoaOutcome.GONE if cause == SESSION_CONTEXT_NOT_FOUND else CoaOutcome.NAK
    return CoaReply(outcome, attempts, cause)
