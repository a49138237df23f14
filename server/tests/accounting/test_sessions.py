"""What the merge makes of packets, one rule at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from demarc.modules.access.accounting import (
    Merged,
    close_stale_sessions,
    merge_accounting,
    merge_logins,
    prepare_accounting,
)

from ..bare_postgres import BarePostgres  # noqa: TID252 - the suite's own
from .booking import Packet, at, interim, login_line, record_deltas, restart, start, stop

GIGAWORD = 1 << 32


class Book:
    """The tables as the ingest role sees them."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def merge(self, *packets: Packet) -> Merged:
        async with self.connection.transaction():
            merged = await merge_accounting(self.connection, b"".join(p.line() for p in packets), 0)
            await record_deltas(self.connection)
        return merged

    async def live(self) -> list[dict[str, Any]]:
        return await self._rows("SELECT * FROM radius_session ORDER BY started_at")

    async def closed(self) -> list[dict[str, Any]]:
        return await self._rows("SELECT * FROM radius_session_history ORDER BY started_at")

    async def deltas(self) -> list[tuple[int, int]]:
        rows = await self._rows("SELECT * FROM delta_book")
        return [(row["input_octets"], row["output_octets"]) for row in rows]

    async def total(self) -> tuple[int, int]:
        pairs = await self.deltas()
        return sum(a for a, _ in pairs), sum(b for _, b in pairs)

    async def _rows(self, query: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.connection.fetch(query)]


@pytest.fixture
async def book(seeded: BarePostgres) -> AsyncIterator[Book]:
    connection = await asyncpg.connect(seeded.dsn("demarc_ingest"))
    await prepare_accounting(connection)
    yield Book(connection)
    await connection.close()


def only(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    assert len(rows) == 1
    return rows[0]


async def test_a_session_from_start_to_stop(book: Book) -> None:
    await book.merge(start(0, values=(("framed_ip", "10.0.0.9"), ("delegated_prefix", "2001:db8:1::1/56"))))
    await book.merge(interim(300, (10, 100), 300))
    session = only(await book.live())
    assert (session["subscriber_id"], session["service_id"], session["nas_id"]) == (100, 1100, 11)
    assert (session["started_at"], session["updated_at"]) == (at(0), at(300))
    assert str(session["framed_ip"]) == "10.0.0.9"
    assert str(session["delegated_prefix"]) == "2001:db8:1::/56"
    await book.merge(stop(500, (15, 150), 500, values=(("terminate_cause", "User-Request"),)))
    assert await book.live() == []
    ended = only(await book.closed())
    assert ended["id"] == session["id"]
    assert (ended["stopped_at"], ended["terminate_cause"], ended["provisional"]) == (
        at(500),
        "User-Request",
        False,
    )
    assert (ended["input_octets"], ended["output_octets"], ended["session_seconds"]) == (15, 150, 500)
    assert str(ended["framed_ip"]) == "10.0.0.9"
    assert await book.deltas() == [(10, 100), (5, 50)]


async def test_one_batch_or_many_is_the_same(book: Book) -> None:
    await book.merge(start(0), interim(300, (10, 100), 300), stop(500, (15, 150), 500))
    assert await book.live() == []
    assert only(await book.closed())["stopped_at"] == at(500)
    assert await book.deltas() == [(15, 150)]


@pytest.mark.parametrize("times", [2, 5])
async def test_duplicates_add_nothing(book: Book, times: int) -> None:
    packets = [start(0), interim(300, (10, 100), 300), stop(500, (15, 150), 500)]
    for _ in range(times):
        await book.merge(*packets, *packets)
    assert await book.total() == (15, 150)
    assert len(await book.closed()) == 1


async def test_gigawords_make_64_bits(book: Book) -> None:
    await book.merge(interim(300, (5 * GIGAWORD + 7, GIGAWORD - 1), 300))
    await book.merge(interim(600, (6 * GIGAWORD, GIGAWORD), 600))
    assert await book.total() == (6 * GIGAWORD, GIGAWORD)


@pytest.mark.parametrize("kind", ["Interim-Update", "Stop"])
async def test_a_lost_start_costs_nothing(book: Book, kind: str) -> None:
    await book.merge(Packet(kind, 300, (10, 100), 290))
    row = only(await (book.closed() if kind == "Stop" else book.live()))
    assert row["started_at"] == at(10)
    assert await book.total() == (10, 100)


async def test_counters_never_go_down(book: Book) -> None:
    await book.merge(interim(600, (20, 200), 600))
    await book.merge(interim(300, (10, 300), 300))
    assert await book.total() == (20, 300)
    row = only(await book.live())
    assert (row["updated_at"], row["session_seconds"]) == (at(600), 600)


async def test_an_interim_after_the_stop_does_not_reopen(book: Book) -> None:
    await book.merge(start(0), stop(500, (15, 150), 500))
    await book.merge(interim(300, (10, 100), 300))
    await book.merge(interim(499, (16, 150), 499))
    assert await book.live() == []
    assert only(await book.closed())["input_octets"] == 16
    assert await book.total() == (16, 150)


async def test_a_late_stop_of_the_same_session_amends_once(book: Book) -> None:
    await book.merge(stop(500, (15, 150), 500))
    await book.merge(stop(502, (15, 160), 502))
    row = only(await book.closed())
    assert (row["stopped_at"], row["output_octets"]) == (at(502), 160)
    assert await book.total() == (15, 160)


async def test_the_month_is_the_tenants(book: Book) -> None:
    before = (datetime(2026, 11, 30, 22, 59, tzinfo=UTC) - at(0)).total_seconds()  # 23:59 in Berlin
    await book.merge(
        interim(before, (10, 100), 600),
        interim(before + 60, (11, 101), 660),
        interim(before + 300, (15, 150), 900),
    )
    rows = await book.connection.fetch("SELECT * FROM delta_book ORDER BY event_at")
    assert [(row["input_octets"], row["event_at"]) for row in rows] == [
        (10, at(before)),
        (5, at(before + 300)),
    ]


async def test_a_reboot_closes_provisionally_and_the_ids_come_back(book: Book) -> None:
    await book.merge(
        start(0), start(0, session="s2", user="user101@isp"), start(0, nas="127.0.1.2", user="user102@isp")
    )
    await book.merge(interim(300, (10, 100), 300), restart(400), start(450), interim(750, (3, 30), 300))
    live = await book.live()
    assert [(row["username"], row["started_at"]) for row in live] == [
        ("user102@isp", at(0)),
        ("user100@isp", at(450)),
    ]
    closed = await book.closed()
    assert [(row["stopped_at"], row["provisional"], row["terminate_cause"]) for row in closed] == [
        (at(400), True, "NAS-Reboot")
    ] * 2
    assert await book.total() == (13, 130)


async def test_a_stop_after_the_reboot_makes_it_final(book: Book) -> None:
    await book.merge(start(0), interim(300, (10, 100), 300), restart(400))
    await book.merge(stop(398, (12, 120), 398))
    row = only(await book.closed())
    assert (row["stopped_at"], row["provisional"]) == (at(398), False)
    assert await book.total() == (12, 120)


async def test_a_restart_does_not_end_a_session_heard_of_since(book: Book) -> None:
    await book.merge(start(0), interim(500, (10, 100), 500))
    await book.merge(restart(400))
    assert len(await book.live()) == 1


async def test_a_reused_id_without_accounting_on_is_a_new_generation(book: Book) -> None:
    await book.merge(start(0), interim(300, (10, 100), 300))
    await book.merge(interim(1300, (4, 40), 300))
    assert only(await book.live())["started_at"] == at(1000)
    old = only(await book.closed())
    assert (old["terminate_cause"], old["provisional"]) == ("Session-Id-Reused", True)
    await book.merge(stop(900, (11, 110), 900))
    assert len(await book.live()) == 1
    assert await book.total() == (15, 150)


async def test_an_older_generation_that_comes_late_is_not_live(book: Book) -> None:
    await book.merge(start(1000))
    await book.merge(interim(300, (10, 100), 300))
    assert only(await book.live())["started_at"] == at(1000)
    assert only(await book.closed())["provisional"] is True


async def test_packets_without_session_time_stay_together(book: Book) -> None:
    await book.merge(start(0), interim(300, (10, 100), None), interim(600, (20, 200), None))
    await book.merge(interim(900, (30, 300), None))
    await book.merge(stop(1000, (40, 400), None))
    assert await book.live() == []
    assert only(await book.closed())["started_at"] == at(0)
    assert await book.total() == (40, 400)


async def test_a_restamped_or_delayed_packet_finds_its_session(book: Book) -> None:
    await book.merge(start(0), interim(300, (10, 100), 300))
    # Sent again and again for ten minutes: stamped once when it happened, once at each sending.
    await book.merge(interim(600, (20, 200), 600, delay=600))
    await book.merge(Packet("Interim-Update", 1500, (30, 300), 900, delay=600, received=1500))
    assert only(await book.live())["started_at"] == at(0)
    assert await book.total() == (30, 300)


async def test_outside_a_sandbox_a_wrong_clock_is_not_believed(book: Book) -> None:
    years = 86_400 * 3650
    beta = {"nas": "127.0.2.1", "user": "user250@isp"}
    await book.merge(Packet("Start", -years, received=0, **beta))
    await book.merge(Packet("Interim-Update", 305, (10, 100), 300, received=300, **beta))
    await book.merge(
        Packet("Interim-Update", 0, (20, 200), 600, received=700, delay=100, stamped=False, **beta)
    )
    row = only(await book.live())
    assert (row["started_at"], row["updated_at"]) == (at(0), at(600))
    assert await book.total() == (20, 200)


async def test_in_a_sandbox_the_packets_time_is_business_time(book: Book, owner: asyncpg.Connection) -> None:
    month = 86_400 * 40
    await book.merge(Packet("Start", month, received=0))
    assert only(await book.live())["started_at"] == at(month)
    await owner.execute("UPDATE tenant SET clock_offset = interval '10 days' WHERE id = 1")
    await book.merge(Packet("Start", 0, received=5, stamped=False, user="user101@isp"))
    assert (await book.live())[0]["started_at"] == at(864_005)


async def test_stale_sessions_close_and_come_back(book: Book) -> None:
    await book.merge(start(0), interim(300, (10, 100), 300))
    await book.merge(start(0, user="user101@isp"), interim(700, (1, 1), 700, user="user101@isp"))
    async with book.connection.transaction():
        assert await close_stale_sessions(book.connection, now=at(1200)) == 1
    closed = only(await book.closed())
    assert (closed["stopped_at"], closed["provisional"], closed["terminate_cause"]) == (
        at(300),
        True,
        "Stale",
    )
    await book.merge(interim(1500, (30, 300), 1500))
    reopened = next(row for row in await book.live() if row["username"] == "user100@isp")
    assert (reopened["id"], reopened["started_at"], reopened["updated_at"]) == (
        closed["id"],
        at(0),
        at(1500),
    )
    assert await book.closed() == []
    assert await book.total() == (31, 301)


async def test_a_late_packet_from_before_the_stale_end_amends_only(book: Book) -> None:
    await book.merge(start(0), interim(300, (10, 100), 300))
    async with book.connection.transaction():
        await close_stale_sessions(book.connection, now=at(5000))
    await book.merge(interim(200, (5, 50), 200), interim(299, (10, 101), 299))
    assert await book.live() == []
    assert await book.total() == (10, 101)
    await book.merge(stop(40 * 86_400, (20, 200), 40 * 86_400))
    row = only(await book.closed())
    assert (row["stopped_at"], row["provisional"]) == (
        at(40 * 86_400),
        False,
    )  # moved to its month's partition
    assert await book.total() == (20, 200)


async def test_another_tenants_subscriber_is_kept_aside(book: Book) -> None:
    merged = await book.merge(
        start(0, user="user250@isp"),
        start(0, user="nobody@isp"),
        start(0, nas="127.0.9.9"),
        start(0, session=""),
        interim(10, (GIGAWORD << 21, 0), 10),
        Packet("Interim-Update", 10, (1, 1), 3_000_000_000),
        start(0),
    )
    assert merged.booked == 1
    assert [(bad.reason, bad.tenant_id) for bad in merged.rejected] == [
        ("user name of another tenant than the NAS's", 1),
        ("user name is no subscriber's", 1),
        ("packet from an address that is no NAS", None),
        ("no Acct-Session-Id", 1),
        ("impossible octets", 1),
        ("impossible duration", 1),
    ]
    assert merged.rejected[1].line == start(0, user="nobody@isp").line().rstrip(b"\n")
    assert only(await book.live())["username"] == "user100@isp"


async def test_a_subscriber_who_left_is_counted_to_the_end(book: Book, owner: asyncpg.Connection) -> None:
    await book.merge(start(0))
    await owner.execute("UPDATE aaa_login SET username = 'new-name' WHERE subscriber_id = 100")
    await book.merge(stop(300, (10, 100), 300))
    assert only(await book.closed())["subscriber_id"] == 100
    assert await book.total() == (10, 100)


@pytest.mark.parametrize(
    ("user", "subscriber"),
    [("AA-BB-CC-00-11-22", 150), ("aabb.cc00.1122", 150), ("aa:bb:cc:00:11:22", 150), ("olt1/0/3:12", 151)],
)
async def test_ipoe_names_find_their_subscriber(book: Book, user: str, subscriber: int) -> None:
    await book.merge(start(0, user=user))
    assert only(await book.live())["subscriber_id"] == subscriber


async def test_the_last_login_of_each_user_is_kept(book: Book) -> None:
    async with book.connection.transaction():
        merged = await merge_logins(
            book.connection,
            login_line("user100@isp", "Access-Accept", 10)
            + login_line("user100@isp", "Access-Reject", 20, reason="wrong password")
            + login_line("user250@isp", "Access-Accept", 5, nas="127.0.2.1")
            + login_line("user250@isp", "Access-Accept", 5, nas="127.9.9.9"),
            0,
        )
    async with book.connection.transaction():
        await merge_logins(book.connection, login_line("user100@isp", "Access-Accept", 15), 0)
    assert [bad.reason for bad in merged.rejected] == ["log-in from an address that is no NAS"]
    rows = await book.connection.fetch("SELECT * FROM login_attempt ORDER BY username")
    assert [(row["username"], row["tenant_id"], row["accepted"], row["reason"]) for row in rows] == [
        ("user100@isp", 1, False, "wrong password"),
        ("user250@isp", 2, True, ""),
    ]
    assert rows[0]["attempted_at"] == at(20)


async def test_the_last_refusal_outlives_the_log_ins_that_went_well(book: Book) -> None:
    for lines in (
        login_line("user100@isp", "Access-Reject", 10, reason="wrong password")
        + login_line("user100@isp", "Access-Reject", 20, reason="session limit")
        + login_line("user100@isp", "Access-Accept", 30),
        login_line("user100@isp", "Access-Accept", 40)
        + login_line("user100@isp", "No-Answer", 50, reason="away"),
    ):
        async with book.connection.transaction():
            await merge_logins(book.connection, lines, 0)
    row = await book.connection.fetchrow("SELECT * FROM login_attempt WHERE username = 'user100@isp'")
    assert (row["accepted"], row["reason"], row["attempted_at"]) == (False, "away", at(50))
    assert (row["reject_reason"], row["rejected_at"]) == ("session limit", at(20))


async def test_a_nas_that_signs_once_is_remembered(book: Book, owner: asyncpg.Connection) -> None:
    await owner.execute("UPDATE aaa_nas SET message_authenticator = 'off' WHERE nas_id = 12")
    unsigned = login_line("user250@isp", "Access-Accept", 1, nas="127.0.2.1")[:-2] + b"0\n"
    signed = [login_line("user100@isp", "Access-Accept", 1, nas=nas) for nas in ("127.0.1.1", "127.0.1.2")]
    async with book.connection.transaction():
        await merge_logins(book.connection, unsigned + b"".join(signed), 0)
    seen = await owner.fetch("SELECT nas_id FROM aaa_nas WHERE message_authenticator_seen")
    assert [row[0] for row in seen] == [11]


async def test_the_moved_clock_makes_sessions_stale(book: Book, owner: asyncpg.Connection) -> None:
    await book.merge(start(0))
    await owner.execute("UPDATE tenant SET clock_offset = interval '1 day' WHERE id = 1")
    async with book.connection.transaction():
        assert await close_stale_sessions(book.connection, now=at(0) + timedelta(seconds=1)) == 1
