"""One UDP socket towards a RADIUS server: requests out, verified answers back, identifiers given out once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Self, TypeAlias, cast

import pyrad.dictionary
import pyrad.packet

Packet: TypeAlias = Any
radius: Any = pyrad.packet  # pyrad has no types

_IDENTIFIERS = 250


def load_dictionary() -> Any:
    dictionary: Any = pyrad.dictionary.Dictionary
    return dictionary(str(files(__package__) / "dictionary.nas"))


class Exchange(asyncio.DatagramProtocol):
    """Requests to one server port, as many at once as there are identifiers."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None
        self._free: asyncio.Queue[int] = asyncio.Queue()
        self._waiting: dict[int, tuple[Packet, asyncio.Future[Packet]]] = {}
        for identifier in range(_IDENTIFIERS):
            self._free.put_nowait(identifier)

    @classmethod
    async def open(cls, source_ip: str, server: tuple[str, int]) -> Self:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_datagram_endpoint(lambda: cls(server), local_addr=(source_ip, 0))
        return made

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    async def ask(
        self, request: Packet, retransmit_after: Sequence[float], *, copies: int = 1
    ) -> Packet | None:
        """The verified answer, or None when there was none after the last wait. `copies` of each datagram are sent."""
        request.id = await self._free.get()
        try:
            return await self._transmit(request, request.RequestPacket(), retransmit_after, copies)
        finally:
            del self._waiting[request.id]
            self._free.put_nowait(request.id)

    async def _transmit(
        self, request: Packet, datagram: bytes, retransmit_after: Sequence[float], copies: int
    ) -> Packet | None:
        answer: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = (request, answer)
        for patience in retransmit_after:
            for _ in range(copies):
                self._send(datagram)
            done, _pending = await asyncio.wait({answer}, timeout=patience)
            if done:
                return answer.result()
        return None

    def _send(self, datagram: bytes) -> None:
        if self._transport is None:
            raise ConnectionError("the simulated NAS is closed")
        self._transport.sendto(datagram, self._server)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None

    def error_received(self, _error: Exception) -> None:
        """A server that is down: the datagram is sent again."""

    def datagram_received(self, data: bytes, address: Any) -> None:
        request, answer = self._waiting.get(data[1] if len(data) > 1 else -1, (None, None))
        if request is None or answer is None or answer.done() or address[:2] != self._server:
            return
        try:
            reply = request.CreateReply(packet=data)
        except pyrad.packet.PacketError:
            return
        if request.VerifyReply(reply, data):
            answer.set_result(reply)
