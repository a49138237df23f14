"""The NAS's side of CoA: verify, obey, answer; the same request again gets the same answer (RFC 5176)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, cast

import pyrad.packet

from demarc.adapters.nas_simulator.exchange import Packet, radius

if TYPE_CHECKING:
    from demarc.adapters.nas_simulator.nas import SimulatedSession

_SESSION_CONTEXT_NOT_FOUND = 503
_REMEMBERED_ANSWERS = 512
_NAMES_A_SESSION = {"User-Name", "Acct-Session-Id", "Framed-IP-Address"}
_NOT_A_CHANGE = _NAMES_A_SESSION | {
    "Event-Timestamp",
    "Message-Authenticator",
    "NAS-IP-Address",
    "Proxy-State",
}


class SessionTable:
    """The sessions that the NAS has, by Acct-Session-Id."""

    def __init__(self) -> None:
        self._by_id: dict[str, SimulatedSession] = {}

    def __iter__(self) -> Iterator[SimulatedSession]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, session: SimulatedSession) -> None:
        self._by_id[session.session_id] = session

    def remove(self, session: SimulatedSession) -> None:
        self._by_id.pop(session.session_id, None)

    def find(self, order: Packet) -> SimulatedSession | None:
        """The session that every identifying attribute of the order agrees on."""
        session = self._by_id.get(_value(order, "Acct-Session-Id"))
        if session is None:
            return None
        known = {"User-Name": session.username, "Framed-IP-Address": session.framed_ip}
        agreed = all(_value(order, name) in ("", value) for name, value in known.items())
        return session if agreed else None


class OrderListener(asyncio.DatagramProtocol):
    """Listens on the CoA port. Requests that do not verify are dropped without an answer."""

    def __init__(self, secret: bytes, dictionary: Any, sessions: SessionTable) -> None:
        self.log: list[str] = []
        self._secret = secret
        self._dictionary = dictionary
        self._sessions = sessions
        self._answered: OrderedDict[tuple[Any, bytes], bytes] = OrderedDict()
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(
        cls, address: tuple[str, int], secret: bytes, dictionary: Any, sessions: SessionTable
    ) -> Self:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_datagram_endpoint(
            lambda: cls(secret, dictionary, sessions), local_addr=address
        )
        return made

    @property
    def port(self) -> int:
        if self._transport is None:
            raise RuntimeError("the listener is closed")
        return int(self._transport.get_extra_info("sockname")[1])

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: Any) -> None:
        answer = self._answered.get((address, data)) or self._obey(data)
        if answer is None or self._transport is None:
            return
        self._answered[(address, data)] = answer
        if len(self._answered) > _REMEMBERED_ANSWERS:
            self._answered.popitem(last=False)
        self._transport.sendto(answer, address)

    def _obey(self, data: bytes) -> bytes | None:
        try:
            order = radius.CoAPacket(packet=data, secret=self._secret, dict=self._dictionary)
        except pyrad.packet.PacketError:
            return None
        if not order.VerifyCoARequest() or not _is_signed(order):
            return None
        session = self._sessions.find(order)
        self._note(order, session)
        return _answer(order, session)

    def _note(self, order: Packet, session: SimulatedSession | None) -> None:
        wanted = _value(order, "Acct-Session-Id")
        if session is None:
            self.log.append(f"unknown {wanted}")
        elif order.code == radius.DisconnectRequest:
            self.log.append(f"disconnect {wanted}")
            session.stop("Admin-Reset")
        else:
            self.log.append(f"coa {wanted}")
            session.attributes.update(_changes(order))


def _is_signed(order: Packet) -> bool:
    return bool(order.message_authenticator and order.verify_message_authenticator())


def _answer(order: Packet, session: SimulatedSession | None) -> bytes:
    reply = order.CreateReply()
    if session is None:
        reply.code = radius.DisconnectNAK if order.code == radius.DisconnectRequest else radius.CoANAK
        reply["Error-Cause"] = _SESSION_CONTEXT_NOT_FOUND
    reply.add_message_authenticator()
    datagram: bytes = reply.ReplyPacket()
    return datagram


def _changes(order: Packet) -> Iterator[tuple[str, Any]]:
    for name in order.keys():  # noqa: SIM118 - pyrad's packet yields codes when iterated
        if isinstance(name, str) and name not in _NOT_A_CHANGE:
            values = order[name]
            yield name, values[0] if len(values) == 1 else values


def _value(order: Packet, name: str) -> Any:
    return order.get(name, [""])[0]
