"""Months of network life in seconds: subscribers dial in, use data, drop out, and things go wrong.

The report is the truth to compare sessions, usage and bills with: octets by subscriber and calendar month, where
octets belong to the month of the packet that told them first.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from demarc.adapters.nas_simulator.nas import Reported, SimulatedNas, SimulatedSession
from demarc.adapters.nas_simulator.proofs import Method
from demarc.kernel.errors import invalid

SHORTEST_INTERIM = timedelta(minutes=3)

Octets = tuple[int, int]
"""(input, output): upload and download of the subscriber (RFC 2866)."""


@dataclass(frozen=True, slots=True)
class NasAddress:
    source_ip: str
    secret: bytes = field(repr=False)
    coa_port: int = 3799


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Faults:
    """Chances, each between 0 and 1: per log-in, per packet, per NAS and interim interval."""

    lost_start: float = 0.05
    repeated_packet: float = 0.05
    reboot: float = 0.01
    hang_up: float = 0.03


@dataclass(frozen=True, slots=True)
class SimulationPlan:
    """Who, where and when. Times are business time of the tenant; the same seed gives the same story."""

    nas: tuple[NasAddress, ...]
    subscribers: tuple[Credentials, ...]
    begins_at: datetime
    ends_at: datetime
    time_zone: str
    interim: timedelta = timedelta(minutes=5)
    octets_per_interim: int = 40_000_000
    gigaword_users: float = 0.1
    """Share of subscribers that carry more than 2^32 octets per interval."""
    method: Method = Method.PAP
    faults: Faults = Faults()
    seed: int = 1
    radius_host: str = "127.0.0.1"
    auth_port: int = 1812
    acct_port: int = 1813
    hang_up_at_end: bool = True

    def __post_init__(self) -> None:
        """A session id that a rebooted NAS gives out again is told apart by its start: a minute is too close."""
        if self.interim < SHORTEST_INTERIM:
            raise invalid("interim", f"must be at least {SHORTEST_INTERIM.total_seconds():.0f} seconds")


@dataclass(slots=True)
class SimulationReport:
    """What happened. `octets[(username, "2026-11")]` is what was reported in that month."""

    octets: dict[tuple[str, str], Octets] = field(default_factory=dict)
    log_ins: int = 0
    refused: int = 0
    lost_starts: int = 0
    repeated: int = 0
    reboots: int = 0
    packets: int = 0
    cut_by_platform: int = 0

    def total(self) -> Octets:
        return sum(up for up, _ in self.octets.values()), sum(down for _, down in self.octets.values())


@dataclass(frozen=True, slots=True)
class Progress:
    """Told after each interval: business time, share done (0 to 1), sessions on line."""

    moment: datetime
    done: float
    on_line: int


def ignore_progress(_progress: Progress) -> None:
    """For a simulation that nobody watches."""


async def run_simulation(
    plan: SimulationPlan, on_progress: Callable[[Progress], None] = ignore_progress
) -> SimulationReport:
    """Play `plan` against a running RADIUS server; returns when all records are acknowledged.

    Raises:
        Unavailable: the RADIUS server does not answer log-ins.
        Misconfigured: an address of a NAS cannot be used.
    """
    story = _Story(plan, on_progress)
    async with AsyncExitStack() as stack:
        for address in plan.nas:
            story.nas.append(await stack.enter_async_context(story.make_nas(address)))
        await story.play()
    return story.report


class _Story:
    def __init__(self, plan: SimulationPlan, on_progress: Callable[[Progress], None]) -> None:
        self.plan = plan
        self.nas: list[SimulatedNas] = []
        self.report = SimulationReport()
        self._on_progress = on_progress
        self._moment = plan.begins_at
        self._zone = ZoneInfo(plan.time_zone)
        self._random = random.Random(plan.seed)  # noqa: S311 - a story to be told again, no secret
        self._sessions: dict[str, SimulatedSession] = {}
        self._heavy = {
            who.username for who in plan.subscribers if self._random.random() < plan.gigaword_users
        }
        self._input: Counter[tuple[str, str]] = Counter()
        self._output: Counter[tuple[str, str]] = Counter()

    def make_nas(self, address: NasAddress) -> SimulatedNas:
        return SimulatedNas(
            address.source_ip,
            address.secret,
            radius_host=self.plan.radius_host,
            auth_port=self.plan.auth_port,
            acct_port=self.plan.acct_port,
            coa_port=address.coa_port,
            clock=lambda: self._moment,
            on_report=self._book,
        )

    async def play(self) -> None:
        while self._moment < self.plan.ends_at:
            await self._dial_missing()
            self._moment = min(self._moment + self.plan.interim, self.plan.ends_at)
            self._use_and_report()
            await self._settle()
            await self._reboot_some()
            self._tell()
        await self._finish()

    async def _dial_missing(self) -> None:
        missing = [
            (place, who)
            for place, who in enumerate(self.plan.subscribers)
            if (session := self._sessions.get(who.username)) is None or not session.active
        ]
        # The dice are thrown before anything is awaited: the story must not depend on who answers first.
        loses = [self._happens(self.plan.faults.lost_start) for _ in missing]
        await asyncio.gather(
            *(self._dial(place, who, lost) for (place, who), lost in zip(missing, loses, strict=True))
        )

    async def _dial(self, place: int, who: Credentials, lose_start: bool) -> None:
        before = self._sessions.pop(who.username, None)
        if before is not None:
            self.report.cut_by_platform += 1
        dialed = await self.nas[place % len(self.nas)].dial(
            who.username,
            who.password,
            self.plan.method,
            calling_station_id=f"02:00:{place >> 24 & 255:02X}:{place >> 16 & 255:02X}:{place >> 8 & 255:02X}:{place & 255:02X}",
            lose_start=lose_start,
        )
        self.report.log_ins += 1
        self.report.refused += not dialed.accepted
        if dialed.session is not None:
            self._sessions[who.username] = dialed.session
            self.report.lost_starts += lose_start
            self.report.packets += not lose_start

    def _use_and_report(self) -> None:
        for username in sorted(self._sessions):
            session = self._sessions[username]
            if not session.active:
                continue
            self._use(session)
            if self._happens(self.plan.faults.hang_up):
                session.stop()
                del self._sessions[username]
            else:
                self._interim(session)
            self.report.packets += 1

    def _use(self, session: SimulatedSession) -> None:
        most = self.plan.octets_per_interim
        extra = 1 << 32 if session.username in self._heavy else 0
        session.carry(
            input_octets=self._random.randrange(most // 8 + 1),
            output_octets=extra + self._random.randrange(most + 1),
        )

    def _interim(self, session: SimulatedSession) -> None:
        if not self._happens(self.plan.faults.repeated_packet):
            session.interim()
            return
        self.report.repeated += 1
        if self._happens(0.5):
            session.interim(copies=2)
        else:
            session.interim()
            session.repeat_last()

    async def _reboot_some(self) -> None:
        for nas in self.nas:
            if self._happens(self.plan.faults.reboot):
                self.report.reboots += 1
                gone = set(nas.sessions)
                await nas.reboot()
                self._sessions = {name: kept for name, kept in self._sessions.items() if kept not in gone}

    async def _finish(self) -> None:
        if self.plan.hang_up_at_end:
            for session in self._sessions.values():
                session.stop()
        await self._settle()
        keys = self._input.keys() | self._output.keys()
        self.report.octets = {key: (self._input[key], self._output[key]) for key in sorted(keys)}

    async def _settle(self) -> None:
        await asyncio.gather(*(nas.drain() for nas in self.nas))

    def _book(self, told: Reported) -> None:
        key = (told.username, told.event_at.astimezone(self._zone).strftime("%Y-%m"))
        if told.input_octets or told.output_octets:
            self._input[key] += told.input_octets
            self._output[key] += told.output_octets

    def _tell(self) -> None:
        whole = (self.plan.ends_at - self.plan.begins_at) / timedelta(seconds=1)
        done = (self._moment - self.plan.begins_at) / timedelta(seconds=1)
        self._on_progress(Progress(self._moment, done / whole, sum(len(nas.sessions) for nas in self.nas)))

    def _happens(self, chance: float) -> bool:
        return self._random.random() < chance
