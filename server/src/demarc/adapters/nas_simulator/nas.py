"""A NAS that a subscriber can dial into: it authenticates, accounts and obeys CoA over real UDP.

It knows exactly what it has reported, which is what tests and the tour compare bills with.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from demarc.adapters.nas_simulator.exchange import Exchange, Packet, load_dictionary, radius
from demarc.adapters.nas_simulator.orders import OrderListener, SessionTable
from demarc.adapters.nas_simulator.proofs import Method, add_proof
from demarc.kernel.errors import Misconfigured, Unavailable

AUTH_WAITS = (2.0, 3.0, 5.0)
ACCT_WAITS = (1.0, 2.0)
"""Seconds after each datagram; then the record is made anew with its Acct-Delay-Time, until it is acknowledged."""

_GIGAWORD = 1 << 32


@dataclass(frozen=True, slots=True)
class Reported:
    """What one accounting packet told for the first time: octets since the packet before."""

    username: str
    session_id: str
    event_at: datetime
    input_octets: int
    output_octets: int


@dataclass(eq=False, slots=True)
class SimulatedSession:
    """A subscriber on line. `input_octets` and `output_octets` are carried so far, `reported` is what was told."""

    nas: SimulatedNas
    session_id: str
    username: str
    started_at: datetime
    nas_port: int
    attributes: dict[str, Any]
    calling_station_id: str
    input_octets: int = 0
    output_octets: int = 0
    reported: tuple[int, int] = (0, 0)
    active: bool = True
    _last: dict[str, Any] = field(default_factory=dict)
    _tail: asyncio.Task[None] | None = None

    @property
    def framed_ip(self) -> str | None:
        return self.attributes.get("Framed-IP-Address")

    @property
    def download_bps(self) -> int | None:
        """What the NAS lets through now (WISPr, bit/s); a CoA may have changed it."""
        return self.attributes.get("WISPr-Bandwidth-Max-Down")

    @property
    def upload_bps(self) -> int | None:
        return self.attributes.get("WISPr-Bandwidth-Max-Up")

    def carry(self, *, input_octets: int, output_octets: int) -> None:
        """The subscriber uploads and downloads; told with the next packet."""
        self.input_octets += input_octets
        self.output_octets += output_octets

    def interim(self, *, copies: int = 1) -> None:
        """Queue an Interim-Update; `copies` of each datagram go out."""
        self._account("Interim-Update", copies=copies)

    def stop(self, cause: str = "User-Request") -> None:
        """End the session and queue its Stop."""
        if self.active:
            self.nas.forget(self)
            self._account("Stop", more={"Acct-Terminate-Cause": cause})

    def repeat_last(self) -> None:
        """Send the last record once more, as a NAS does that missed the answer: same content, new identifier."""
        if self._last:
            self._queue(dict(self._last))

    def announce(self) -> None:
        """Queue the Start."""
        self._account("Start")

    def _account(self, kind: str, *, copies: int = 1, more: Mapping[str, Any] | None = None) -> None:
        now = self.nas.clock()
        self._report(now)
        record = {"Acct-Status-Type": kind, **self._identity(), **self._counters(kind, now), **(more or {})}
        self._last = record
        self._queue(record, copies)

    def _report(self, now: datetime) -> None:
        carried = (self.input_octets, self.output_octets)
        told = Reported(
            self.username, self.session_id, now, carried[0] - self.reported[0], carried[1] - self.reported[1]
        )
        self.reported = carried
        self.nas.on_report(told)

    def _identity(self) -> dict[str, Any]:
        passed = {
            name: self.attributes[name]
            for name in ("Framed-IP-Address", "Delegated-IPv6-Prefix", "Class")
            if name in self.attributes
        }
        return passed | {
            "User-Name": self.username,
            "Acct-Session-Id": self.session_id,
            "NAS-Port": self.nas_port,
            "Calling-Station-Id": self.calling_station_id,
        }

    def _counters(self, kind: str, now: datetime) -> dict[str, Any]:
        stamped = {"Event-Timestamp": int(now.timestamp())}
        if kind == "Start":
            return stamped
        # Whole seconds of both ends, so that event time less session time is always the Start's second.
        lasted = int(now.timestamp()) - int(self.started_at.timestamp())
        return stamped | {
            "Acct-Session-Time": lasted,
            "Acct-Input-Octets": self.input_octets % _GIGAWORD,
            "Acct-Output-Octets": self.output_octets % _GIGAWORD,
            "Acct-Input-Gigawords": self.input_octets // _GIGAWORD,
            "Acct-Output-Gigawords": self.output_octets // _GIGAWORD,
        }

    def _queue(self, record: dict[str, Any], copies: int = 1) -> None:
        self._tail = self.nas.send_record(record, after=self._tail, copies=copies)


@dataclass(frozen=True, slots=True)
class Dialed:
    """The server's answer to a log-in; `session` is the one that was opened, None when refused."""

    accepted: bool
    attributes: Mapping[str, Any]
    session: SimulatedSession | None


def ignore_report(_reported: Reported) -> None:
    """For a NAS whose octets nobody compares."""


class SimulatedNas:
    """One NAS on an address of its own (any of 127.0.0.0/8 works on Linux without further ado).

    Args:
        source_ip: address it sends from and listens for CoA on.
        secret: shared with the RADIUS server.
        radius_host, auth_port, acct_port: the RADIUS server.
        coa_port: where it listens for CoA and Disconnect; 0 takes a free port, see `coa_port`.
        clock: its time; business time in a sandbox.
        on_report: told of all octets when they are put into a packet for the first time.
    """

    def __init__(
        self,
        source_ip: str,
        secret: bytes,
        *,
        radius_host: str = "127.0.0.1",
        auth_port: int = 1812,
        acct_port: int = 1813,
        coa_port: int = 3799,
        clock: Callable[[], datetime],
        on_report: Callable[[Reported], None] = ignore_report,
    ) -> None:
        self.source_ip = source_ip
        self.clock = clock
        self.on_report = on_report
        self.sessions = SessionTable()
        self.coa_port = coa_port
        self._secret = secret
        self._servers = ((radius_host, auth_port), (radius_host, acct_port))
        self._dictionary = load_dictionary()
        self._sending: set[asyncio.Task[None]] = set()
        self._next_session = 0
        self._auth: Exchange | None = None
        self._acct: Exchange | None = None
        self._orders: OrderListener | None = None

    async def open(self) -> Self:
        """Bind the sockets.

        Raises:
            Misconfigured: the address is not of this machine, or the CoA port is taken.
        """
        try:
            self._auth = await Exchange.open(self.source_ip, self._servers[0])
            self._acct = await Exchange.open(self.source_ip, self._servers[1])
            self._orders = await OrderListener.open(
                (self.source_ip, self.coa_port), self._secret, self._dictionary, self.sessions
            )
        except OSError as error:
            await self.close()
            raise Misconfigured(
                f"A simulated NAS cannot use {self.source_ip}, CoA port {self.coa_port}: {error.strerror}. "
                "Stop what listens there or choose another address."
            ) from error
        self.coa_port = self._orders.port
        return self

    async def close(self) -> None:
        """Stop at once: sessions end unheard, records not yet acknowledged are lost."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        for endpoint in (self._auth, self._acct, self._orders):
            if endpoint is not None:
                endpoint.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    @property
    def unacknowledged(self) -> int:
        """Accounting records that the server has not acknowledged yet."""
        return len(self._sending)

    @property
    def orders_obeyed(self) -> list[str]:
        """What came over CoA, in order: `disconnect <session>`, `coa <session>`, `unknown <session>`."""
        return self._orders.log if self._orders is not None else []

    async def drain(self) -> None:
        """Wait until the server has acknowledged all that was queued."""
        while self._sending:
            await asyncio.gather(*self._sending)

    async def dial(
        self,
        username: str,
        password: str,
        method: Method | str = Method.PAP,
        *,
        calling_station_id: str = "02:00:00:00:00:01",
        lose_start: bool = False,
    ) -> Dialed:
        """Log a subscriber in; when accepted a session opens and its Start is queued (unless it gets lost).

        Raises:
            Unavailable: the RADIUS server does not answer.
        """
        answer, proved = await self._authenticate(username, password, Method(method), calling_station_id)
        attributes = dict(_readable(answer))
        if answer.code != radius.AccessAccept or not proved:
            return Dialed(accepted=False, attributes=attributes, session=None)
        session = self._new_session(username, attributes, calling_station_id)
        if not lose_start:
            session.announce()
        return Dialed(accepted=True, attributes=attributes, session=session)

    async def reboot(self) -> None:
        """Lose all sessions without a Stop, give session ids out anew from the first, say Accounting-On."""
        await self.drain()
        for session in list(self.sessions):
            self.forget(session)
        self._next_session = 0
        self.send_record(
            {"Acct-Status-Type": "Accounting-On", "Event-Timestamp": int(self.clock().timestamp())}
        )
        await self.drain()

    def forget(self, session: SimulatedSession) -> None:
        """The session is over for the NAS; nothing is sent."""
        session.active = False
        self.sessions.remove(session)

    def send_record(
        self, record: dict[str, Any], *, after: asyncio.Task[None] | None = None, copies: int = 1
    ) -> asyncio.Task[None]:
        """Send a record until it is acknowledged, once the record `after` is."""
        task = asyncio.create_task(self._deliver(record, after, copies))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return task

    async def _deliver(self, record: dict[str, Any], after: asyncio.Task[None] | None, copies: int) -> None:
        queued = time.monotonic()
        if after is not None:
            await after
        while await self._send_once(record, int(time.monotonic() - queued), copies) is None:
            pass

    async def _send_once(self, record: dict[str, Any], delay: int, copies: int) -> Packet | None:
        if self._acct is None:
            raise RuntimeError("open the simulated NAS before using it")
        packet = radius.AcctPacket(secret=self._secret, dict=self._dictionary)
        for name, value in {**record, "Acct-Delay-Time": delay, "NAS-IP-Address": self.source_ip}.items():
            packet[name] = value
        return await self._acct.ask(packet, ACCT_WAITS, copies=copies)

    async def _authenticate(
        self, username: str, password: str, method: Method, calling_station_id: str
    ) -> tuple[Packet, bool]:
        if self._auth is None:
            raise RuntimeError("open the simulated NAS before using it")
        packet = radius.AuthPacket(secret=self._secret, dict=self._dictionary)
        packet.authenticator = packet.CreateAuthenticator()
        packet.add_message_authenticator()
        packet["User-Name"] = username
        check = add_proof(packet, username, password, method)
        for name, value in self._line(calling_station_id).items():
            packet[name] = value
        answer = await self._auth.ask(packet, AUTH_WAITS)
        if answer is None:
            raise Unavailable("the RADIUS server does not answer; is it running, and does it know this NAS?")
        return answer, answer.code != radius.AccessAccept or check(answer)

    def _line(self, calling_station_id: str) -> dict[str, Any]:
        return {
            "NAS-IP-Address": self.source_ip,
            "NAS-Port": self._next_session + 1,
            "NAS-Port-Type": "Ethernet",
            "Service-Type": "Framed",
            "Framed-Protocol": "PPP",
            "Calling-Station-Id": calling_station_id,
        }

    def _new_session(
        self, username: str, attributes: dict[str, Any], calling_station_id: str
    ) -> SimulatedSession:
        self._next_session += 1
        session = SimulatedSession(
            nas=self,
            session_id=f"{self._next_session:08x}",
            username=username,
            started_at=self.clock(),
            nas_port=self._next_session,
            attributes=attributes,
            calling_station_id=calling_station_id,
        )
        self.sessions.add(session)
        return session


def _readable(packet: Packet) -> Iterator[tuple[str, Any]]:
    """Attributes by name; what the dictionary does not know is left out."""
    for name in packet.keys():  # noqa: SIM118 - pyrad's packet yields codes when iterated
        if isinstance(name, str) and name != "Message-Authenticator":
            yield name, packet[name][0]
