"""Simulated NAS against a real FreeRADIUS, and the ingester behind it: octets sent are octets stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from Crypto.Hash import MD4

from demarc.adapters.freeradius.engine import RadiusEngine
from demarc.adapters.freeradius.raddb import DatabaseLogin, RadiusConfig, find_binary
from demarc.adapters.nas_simulator import (
    Credentials,
    Faults,
    Method,
    NasAddress,
    SimulatedNas,
    SimulationPlan,
    run_simulation,
)
from demarc.kernel.errors import Invalid, Misconfigured
from demarc.workflows.metering import Ingester

from ..bare_postgres import BarePostgres  # noqa: TID252 - the suite's own
from ..ports import free_port  # noqa: TID252 - the suite's own
from .booking import record_deltas

pytestmark = pytest.mark.radius

PASSWORD = "right password"
NOVEMBER_END = datetime(2026, 11, 30, 12, tzinfo=UTC)
FIRST_NAS = NasAddress("127.0.1.1", b"first-secret", 0)
SECOND_NAS = NasAddress("127.0.1.2", b"second-secret", 0)


@pytest.fixture
async def engine(
    seeded: BarePostgres, owner: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RadiusEngine]:
    monkeypatch.setattr("demarc.adapters.freeradius.engine.free_port", free_port)
    try:
        find_binary("freeradius")
    except Misconfigured as error:
        pytest.skip(error.message)
    nt_hash = MD4.new(PASSWORD.encode("utf-16-le")).hexdigest()
    await owner.execute("UPDATE aaa_login SET nt_hash = $1, clear_text = $2", nt_hash, PASSWORD)
    made = RadiusEngine(
        RadiusConfig(
            directory=tmp_path / "raddb",
            spool_dir=tmp_path / "spool",
            database=DatabaseLogin("127.0.0.1", seeded.port, "postgres", "demarc_aaa"),
            auth_port=free_port(),
            acct_port=free_port(),
            reject_delay_seconds=0,
        )
    )
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def ingester(seeded: BarePostgres, engine: RadiusEngine, tmp_path: Path) -> AsyncIterator[Ingester]:
    made = Ingester(
        seeded.dsn("demarc_ingest"), node="node-1", spool_dir=tmp_path / "spool", raise_usage=record_deltas
    )
    yield made
    await made.close()


def nas_towards(engine: RadiusEngine, clock_at: datetime = NOVEMBER_END) -> SimulatedNas:
    return SimulatedNas(
        FIRST_NAS.source_ip,
        FIRST_NAS.secret,
        auth_port=engine._config.auth_port,
        acct_port=engine._config.acct_port,
        coa_port=0,
        clock=lambda: clock_at,
    )


@pytest.mark.parametrize("method", list(Method))
async def test_every_method_logs_in_or_is_refused(engine: RadiusEngine, method: Method) -> None:
    async with nas_towards(engine) as nas:
        accepted = await nas.dial("user100@isp", PASSWORD, method)
        refused = await nas.dial("user100@isp", "wrong", method)
        foreign = await nas.dial("user250@isp", PASSWORD, method)
    assert accepted.accepted
    assert accepted.session is not None
    assert accepted.attributes["Acct-Interim-Interval"] == 300
    assert (refused.accepted, refused.session, foreign.accepted) == (False, None, False)


async def test_a_radius_server_that_was_away_gets_every_packet(
    engine: RadiusEngine, ingester: Ingester, owner: asyncpg.Connection
) -> None:
    async with nas_towards(engine) as nas:
        session = (await nas.dial("user100@isp", PASSWORD)).session
        assert session is not None
        await nas.drain()
        await engine.stop()
        session.carry(input_octets=7, output_octets=(5 << 32) + 70)
        session.interim()
        session.stop()
        assert nas.unacknowledged == 2
        await engine.start()
        await nas.drain()
    report = await ingester.ingest_once()
    assert report.rejected == 0
    row = await owner.fetchrow("SELECT * FROM radius_session_history")
    assert (row["input_octets"], row["output_octets"]) == (7, (5 << 32) + 70)
    assert (row["started_at"], row["provisional"]) == (NOVEMBER_END, False)
    attempt = await owner.fetchrow("SELECT * FROM login_attempt")
    assert (attempt["username"], attempt["accepted"]) == ("user100@isp", True)
    assert await owner.fetchval("SELECT message_authenticator_seen FROM aaa_nas WHERE nas_id = 11")


async def test_octets_sent_are_octets_stored_month_by_month(
    engine: RadiusEngine, ingester: Ingester, owner: asyncpg.Connection
) -> None:
    plan = SimulationPlan(
        nas=(FIRST_NAS, SECOND_NAS),
        subscribers=tuple(Credentials(f"user{n}@isp", PASSWORD) for n in range(100, 112)),
        begins_at=NOVEMBER_END,
        ends_at=NOVEMBER_END + timedelta(days=1),
        time_zone="Europe/Berlin",
        interim=timedelta(hours=1),
        gigaword_users=0.4,
        faults=Faults(lost_start=0.3, repeated_packet=0.2, reboot=0.1, hang_up=0.1),
        auth_port=engine._config.auth_port,
        acct_port=engine._config.acct_port,
        seed=20261130,
    )
    seen: list[float] = []
    report = await run_simulation(plan, lambda progress: seen.append(progress.done))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert min(report.lost_starts, report.repeated, report.reboots) > 0
    assert report.refused == 0
    assert report.total()[1] > 1 << 36
    assert (await ingester.ingest_once()).rejected == 0
    rows = await owner.fetch(
        "SELECT u.username, to_char(d.event_at AT TIME ZONE 'Europe/Berlin', 'YYYY-MM'), "
        "sum(d.input_octets)::bigint, sum(d.output_octets)::bigint "
        "FROM delta_book d JOIN aaa_login u USING (tenant_id, subscriber_id) GROUP BY 1, 2"
    )
    assert {(row[0], row[1]): (row[2], row[3]) for row in rows} == report.octets
    assert {month for _, month in report.octets} == {"2026-11", "2026-12"}
    stored = await owner.fetchrow(
        "SELECT sum(input_octets)::bigint, sum(output_octets)::bigint FROM radius_session_history"
    )
    assert (stored[0], stored[1]) == report.total()
    assert await owner.fetchval("SELECT count(*) FROM radius_session") == 0


def test_an_interval_too_short_to_tell_reboots_apart_is_refused() -> None:
    plan = SimulationPlan((), (), NOVEMBER_END, NOVEMBER_END, "UTC")
    with pytest.raises(Invalid):
        replace(plan, interim=timedelta(seconds=30))
