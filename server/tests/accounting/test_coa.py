"""CoA and Disconnect over real UDP, from the client to simulated NAS."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from demarc.adapters.coa import CoaClient, CoaOrder, open_client
from demarc.adapters.nas_simulator import SimulatedNas, SimulatedSession
from demarc.kernel.errors import Invalid, Misconfigured
from demarc.modules.access.states import CoaKind, CoaOutcome

from .booking import T0

SECRET = b"not-the-real-one"


def moment() -> datetime:
    return T0


@pytest.fixture
async def nas() -> AsyncIterator[SimulatedNas]:
    async with SimulatedNas("127.0.3.1", SECRET, coa_port=0, acct_port=9, clock=moment) as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[CoaClient]:
    """Patient: a busy machine must not look like a NAS that does not answer."""
    async with open_client(source_ip="127.0.0.1", retransmit_after=(20, 20)) as made:
        yield made


@pytest.fixture
async def impatient() -> AsyncIterator[CoaClient]:
    async with open_client(source_ip="127.0.0.1", retransmit_after=(0.3, 0.3, 0.3)) as made:
        yield made


def session_on(nas: SimulatedNas, session_id: str = "a1", **attributes: Any) -> SimulatedSession:
    session = SimulatedSession(
        nas=nas,
        session_id=session_id,
        username="user100@isp",
        started_at=T0,
        nas_port=1,
        attributes={"Framed-IP-Address": "10.0.0.9", **attributes},
        calling_station_id="02:00:00:00:00:01",
    )
    nas.sessions.add(session)
    return session


def order_for(nas: SimulatedNas, kind: CoaKind = CoaKind.DISCONNECT, **changed: Any) -> CoaOrder:
    values: dict[str, Any] = {
        "nas_ip": nas.source_ip,
        "coa_port": nas.coa_port,
        "secret": SECRET,
        "kind": kind,
        "username": "user100@isp",
        "acct_session_id": "a1",
        "framed_ip": "10.0.0.9",
    }
    return CoaOrder(**(values | changed))


async def test_a_disconnect_ends_the_session(nas: SimulatedNas, client: CoaClient) -> None:
    session = session_on(nas)
    reply = await client.send(order_for(nas))
    assert (reply.outcome, reply.attempts, reply.error_cause) == (CoaOutcome.ACK, 1, None)
    assert not session.active
    assert len(nas.sessions) == 0
    assert nas.unacknowledged == 1  # its Stop waits for a RADIUS server


async def test_a_coa_changes_the_speed(nas: SimulatedNas, client: CoaClient) -> None:
    session = session_on(nas, **{"WISPr-Bandwidth-Max-Down": 200_000_000})
    changes = {"WISPr-Bandwidth-Max-Down": 1_000_000, "Mikrotik-Rate-Limit": "1M/1M"}
    reply = await client.send(order_for(nas, CoaKind.COA, attributes=changes))
    assert reply.outcome is CoaOutcome.ACK
    assert (session.active, session.download_bps) == (True, 1_000_000)
    assert session.attributes["Mikrotik-Rate-Limit"] == "1M/1M"


@pytest.mark.parametrize(
    "wrong", [{"acct_session_id": "other"}, {"username": "user101@isp"}, {"framed_ip": "10.0.0.8"}]
)
@pytest.mark.parametrize("kind", list(CoaKind))
async def test_an_unknown_session_is_gone(
    nas: SimulatedNas, client: CoaClient, kind: CoaKind, wrong: dict[str, str]
) -> None:
    session = session_on(nas)
    reply = await client.send(order_for(nas, kind, **wrong))
    assert (reply.outcome, reply.error_cause) == (CoaOutcome.GONE, 503)
    assert session.active


async def test_a_wrong_secret_is_not_obeyed(nas: SimulatedNas, impatient: CoaClient) -> None:
    session = session_on(nas)
    reply = await impatient.send(order_for(nas, secret=b"guessed"))
    assert (reply.outcome, reply.attempts) == (CoaOutcome.TIMEOUT, 3)
    assert session.active


async def test_nobody_there_is_a_timeout(nas: SimulatedNas, impatient: CoaClient) -> None:
    assert (await impatient.send(order_for(nas, nas_ip="127.0.3.77"))).outcome is CoaOutcome.TIMEOUT


async def test_hundreds_at_once_to_several_nas() -> None:
    """More than a socket's buffer may hold on a busy machine: what got lost there is sent again."""
    nases = [
        await SimulatedNas(f"127.0.3.{n}", SECRET, coa_port=0, acct_port=9, clock=moment).open()
        for n in range(10, 13)
    ]
    try:
        orders = []
        for nas in nases:
            for n in range(400):
                session_on(nas, f"s{n}")
                orders.append(order_for(nas, acct_session_id=f"s{n}"))
        async with open_client(source_ip="127.0.0.1", retransmit_after=(2, 4, 8, 16, 30)) as client:
            replies = await asyncio.gather(*(client.send(order) for order in orders))
        assert {reply.outcome for reply in replies} == {CoaOutcome.ACK}
        assert [len(nas.sessions) for nas in nases] == [0, 0, 0]
    finally:
        for nas in nases:
            await nas.close()


class Answering(asyncio.DatagramProtocol):
    """A NAS of the test's own making: answers as it is told, and keeps what it got."""

    def __init__(
        self, *, lose: int = 0, code: int = 41, secret: bytes = SECRET, attributes: bytes = b""
    ) -> None:
        self.got: list[bytes] = []
        self._lose, self._code, self._secret, self._attributes = lose, code, secret, attributes

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.got.append(data)
        if len(self.got) > self._lose:
            head = bytes((self._code, data[1])) + (20 + len(self._attributes)).to_bytes(2, "big")
            digest = hashlib.md5(head + data[4:20] + self._attributes + self._secret).digest()
            self.transport.sendto(head + digest + self._attributes, address)


async def answering(**options: Any) -> Answering:
    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Answering(**options), local_addr=("127.0.3.9", 0)
    )
    return protocol


async def test_a_retransmission_is_the_same_datagram(nas: SimulatedNas) -> None:
    deaf = await answering(lose=2)
    async with open_client(source_ip="127.0.0.1", retransmit_after=(0.1, 0.1, 60)) as client:
        reply = await client.send(order_for(nas, nas_ip="127.0.3.9", coa_port=deaf.port))
    deaf.transport.close()
    assert reply.outcome is CoaOutcome.ACK
    assert len(deaf.got) >= 3
    assert len(set(deaf.got)) == 1
    assert deaf.got[0][20:22] == b"\x50\x12"  # Message-Authenticator comes first


@pytest.mark.parametrize(("attributes", "cause"), [(b"\x65\x06\x00\x00\x01\xfa", 506), (b"", None)])
async def test_a_refusal_tells_its_cause(
    nas: SimulatedNas, client: CoaClient, attributes: bytes, cause: int | None
) -> None:
    other = await answering(code=42, attributes=attributes)
    reply = await client.send(order_for(nas, nas_ip="127.0.3.9", coa_port=other.port))
    other.transport.close()
    assert (reply.outcome, reply.error_cause) == (CoaOutcome.NAK, cause)


@pytest.mark.parametrize(
    "options",
    [
        {"code": 44},  # a CoA-ACK is no answer to a Disconnect-Request
        {"secret": b"forged"},
        {"attributes": b"\x50\x12" + bytes(16)},  # wrong Message-Authenticator
    ],
)
async def test_only_a_verified_fitting_answer_counts(
    nas: SimulatedNas, impatient: CoaClient, options: dict[str, Any]
) -> None:
    other = await answering(**options)
    reply = await impatient.send(order_for(nas, nas_ip="127.0.3.9", coa_port=other.port))
    other.transport.close()
    assert reply.outcome is CoaOutcome.TIMEOUT
    assert len(other.got) == reply.attempts == 3


async def test_an_answer_from_elsewhere_is_ignored(nas: SimulatedNas, impatient: CoaClient) -> None:
    class Elsewhere(Answering):
        def datagram_received(self, data: bytes, address: Any) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind(("127.0.3.10", 0))
                self.transport, kept = other, self.transport
                super().datagram_received(data, address)
                self.transport = kept

    _, spoof = await asyncio.get_running_loop().create_datagram_endpoint(
        Elsewhere, local_addr=("127.0.3.9", 0)
    )
    reply = await impatient.send(order_for(nas, nas_ip="127.0.3.9", coa_port=spoof.port))
    spoof.transport.close()
    assert reply.outcome is CoaOutcome.TIMEOUT
    assert len(spoof.got) == 3


async def test_a_retransmitted_disconnect_gets_its_ack_again(nas: SimulatedNas) -> None:
    """The answer got lost: the session is gone by now, yet the order was obeyed."""
    session_on(nas)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.setblocking(False)
        wire.bind(("127.0.0.1", 0))
        async with open_client(source_ip="127.0.0.1", retransmit_after=(0.1,)) as client:
            deaf = await answering(lose=99)
            await client.send(order_for(nas, nas_ip="127.0.3.9", coa_port=deaf.port))
            deaf.transport.close()
        codes = []
        for _ in range(2):
            await loop.sock_sendto(wire, deaf.got[0], (nas.source_ip, nas.coa_port))
            codes.append((await asyncio.wait_for(loop.sock_recv(wire, 4096), 30))[0])
    assert codes == [41, 41]
    assert nas.orders_obeyed == ["disconnect a1"]


@pytest.mark.parametrize(
    "attributes", [{"Mikrotik-Rate-Limmit": "1M/1M"}, {"WISPr-Bandwidth-Max-Up": "fast"}, {"User-Name": "x"}]
)
async def test_an_unknown_attribute_is_refused_before_it_is_sent(
    nas: SimulatedNas, client: CoaClient, attributes: dict[str, Any]
) -> None:
    session_on(nas)
    with pytest.raises(Invalid):
        await client.send(order_for(nas, CoaKind.COA, attributes=attributes))
    assert nas.orders_obeyed == []
    assert (await client.send(order_for(nas, CoaKind.COA))).outcome is CoaOutcome.ACK


async def test_a_foreign_source_address_is_named() -> None:
    with pytest.raises(Misconfigured, match=r"192\.0\.2\.1"):
        async with open_client(source_ip="192.0.2.1"):
            pass


def test_the_secret_does_not_show(nas: SimulatedNas) -> None:
    assert "not-the-real-one" not in repr(order_for(nas))
