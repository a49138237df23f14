"""The database is stopped: who is known stays on line, accounting goes on, and nothing is forgotten."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from radius_packets import (
    ACCESS_ACCEPT,
    ACCESS_REJECT,
    ACCOUNTING_RESPONSE,
    ACCT_STATUS_TYPE,
    ADSL_FORUM,
    CALLING_STATION_ID,
    FILTER_ID,
    FRAMED_POOL,
    MIKROTIK,
    SESSION_TIMEOUT,
    USER_NAME,
    Nas,
    attribute,
    integer,
    vendor,
)
from radius_rows import add_login, add_nas, spool_lines, until

pytestmark = pytest.mark.radius

MAC = "02:00:5e:10:00:01"


@asynccontextmanager
async def stopped(cluster, db):
    await db.close()
    await asyncio.to_thread(cluster.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(cluster.start)


async def test_known_subscribers_stay_known(cluster, db, nas, other_nas, config):
    await db.execute(
        "UPDATE aaa_nas SET speed_replies = $1 WHERE tenant_id = 1",
        ["Mikrotik-Rate-Limit={upload_bps}/{download_bps}"],
    )
    columns = {
        "framed_ip": "10.1.2.3",
        "replies": ["Delegated-IPv6-Prefix=2001:db8:5::/56", "Framed-Route=10.9.0.0/24 10.1.2.3 1"],
        "download_bps": 2_000_000,
        "upload_bps": 1_000_000,
    }
    await add_login(db, "ada", clear_text="right", **columns)
    await add_login(db, "late", expires_at=datetime.now(UTC) + timedelta(hours=1))
    await add_login(db, "soon", expires_at=datetime.now(UTC) + timedelta(seconds=4))
    await add_login(db, "poor", decision="garden", framed_pool="garden")
    await add_login(db, "gone", decision="reject", decision_reason="unpaid")
    await add_login(db, "line", mac=MAC, circuit_id="c-1")
    await add_login(db, "never-seen")
    calling, circuit = attribute(CALLING_STATION_ID, MAC.encode()), vendor(ADSL_FORUM, 1, b"c-1")
    known = nas.pap("ada", "right").attributes[1:]
    for name in ("late", "soon", "poor", "gone"):
        nas.pap(name, "right")
    nas.bare(MAC, calling)
    nas.bare("x", circuit)
    other_nas.pap("ada", "right")
    async with stopped(cluster, db):
        await asyncio.sleep(
            2 * config.nas_lifetime_seconds + 1
        )  # every NAS must be looked up anew, without a database
        for log_in in (nas.pap, nas.chap, nas.mschap2):
            assert log_in("ada", "right").code == ACCESS_ACCEPT
            assert log_in("ada", "wrong").code == ACCESS_REJECT
        remembered = nas.pap("ada", "right").attributes[1:]
        assert sorted(remembered, key=str) == sorted(known, key=str)
        assert (MIKROTIK, 8) in [key for key, _ in remembered]
        assert 3400 < nas.pap("late", "right").number(SESSION_TIMEOUT) <= 3601
        assert nas.pap("soon", "right").code == ACCESS_REJECT
        garden = nas.pap("poor", "right")
        assert (garden.get(FRAMED_POOL), garden.get(FILTER_ID)) == (b"garden", b"garden")
        assert nas.pap("gone", "right").code == ACCESS_REJECT
        assert nas.bare(MAC, calling).get(USER_NAME) == b"line"
        assert nas.bare("x", circuit).get(USER_NAME) == b"line"
        assert nas.hasty.pap("never-seen", "right") is None
        assert nas.hasty.pap(MAC, "x", attribute(CALLING_STATION_ID, b"02:00:5e:10:00:02")) is None
        assert other_nas.hasty.pap("ada", "right") is None, "another tenant's NAS knows nothing of ada"
        assert nas.account(attribute(ACCT_STATUS_TYPE, integer(1))).code == ACCOUNTING_RESPONSE
        assert spool_lines(config, "auth")[-1][4::2] == ["No-Answer", "database%20away%2C%20no%20answer"]

    async def answered():
        return nas.hasty.pap("never-seen", "right") is not None

    await until(answered)
    assert nas.pap("never-seen", "right").code == ACCESS_ACCEPT


async def test_a_subscriber_who_was_removed_is_forgotten(cluster, db, nas):
    await add_login(db, "ada")
    assert nas.pap("ada", "right").code == ACCESS_ACCEPT
    await db.execute("DELETE FROM aaa_login")
    assert nas.pap("ada", "right").code == ACCESS_REJECT
    async with stopped(cluster, db):
        assert nas.hasty.pap("ada", "right") is None


async def test_a_changed_password_counts_and_a_full_house_does_not(cluster, db, nas):
    await add_login(db, "ada")
    assert nas.pap("ada", "right").code == ACCESS_ACCEPT
    from radius_packets import nt_hash

    await db.execute("UPDATE aaa_login SET nt_hash = $1", nt_hash("new").hex())
    await db.execute(
        "INSERT INTO radius_session (tenant_id, id, nas_id, subscriber_id, service_id, username, acct_session_id, "
        "started_at, updated_at) SELECT 1, gen_random_uuid(), 1, 1, 1, 'ada', 's', now(), now()"
    )
    assert nas.pap("ada", "new").code == ACCESS_REJECT
    async with stopped(cluster, db):
        assert nas.pap("ada", "new").code == ACCESS_ACCEPT
        assert nas.pap("ada", "right").code == ACCESS_REJECT


async def test_a_nas_that_was_removed_is_not_brought_back_by_the_outage(cluster, db, engine, config):
    await add_nas(db, address="127.0.0.8")
    await add_login(db, "ada")
    removed = Nas(config.auth_port, config.acct_port, address="127.0.0.8")
    assert removed.pap("ada", "right").code == ACCESS_ACCEPT
    await db.execute("DELETE FROM aaa_nas WHERE source_ip = '127.0.0.8'")

    async def ignored():
        removed.hasty.pap("ada", "right")
        return engine.problems["unknown_nas"] > 0

    await until(ignored)
    async with stopped(cluster, db):
        await asyncio.sleep(config.nas_lifetime_seconds + 1)
        assert removed.hasty.pap("ada", "right") is None


async def test_a_new_configuration_waits_for_the_database(db, config, engine, nas):
    async def away():
        return False

    async def there():
        return True

    pid = engine.pid
    assert await engine.apply(config, there) is False
    assert engine.pid == pid, "the same configuration restarts nothing"
    changed = replace(config, reject_delay_seconds=1)
    assert await engine.apply(changed, away) is False
    assert engine.pid == pid
    assert await engine.apply(changed, there) is True
    assert engine.pid != pid
    await until(engine.probe)
