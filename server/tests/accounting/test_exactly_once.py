"""Whatever the order, the repeats, the losses, the batches and the crashes: octets delivered are octets counted."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demarc.modules.access.accounting import close_stale_sessions, merge_accounting, prepare_accounting

from ..bare_postgres import BarePostgres  # noqa: TID252 - the suite's own
from .booking import Packet, at, interim, record_deltas, restart, start, stop
from .conftest import reseed

GENERATION_APART = 1000
Key = tuple[str, str, str, int]


@st.composite
def generations(draw: st.DrawFn) -> list[tuple[Key, list[Packet]]]:
    """Sessions of few users over few ids, so that ids are used again; each with the packets that were delivered."""
    keys = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["127.0.1.1", "127.0.1.2"]),
                st.sampled_from(["user100@isp", "user101@isp"]),
                st.sampled_from(["s1", "s2"]),
                st.integers(0, 3),
            ),
            min_size=1,
            max_size=5,
            unique=True,
        )
    )
    return [(key, draw(packets_of(key))) for key in keys]


@st.composite
def packets_of(draw: st.DrawFn, key: Key) -> list[Packet]:
    nas, user, session, generation = key
    begins = generation * GENERATION_APART
    steps = draw(st.lists(st.tuples(st.integers(0, 1 << 33), st.integers(0, 99)), min_size=1, max_size=5))
    made = [start(begins)]
    total = (0, 0)
    for ordinal, (up, down) in enumerate(steps, 1):
        total = (total[0] + up, total[1] + down)
        made.append(interim(begins + ordinal * 100, total, ordinal * 100 + draw(st.integers(-2, 2))))
    if draw(st.booleans()):
        made.append(stop(begins + len(steps) * 100 + 50, total, len(steps) * 100 + 50))
    kept = [packet for packet in made if draw(st.integers(0, 4))] or made[-1:]
    return [replace(packet, nas=nas, user=user, session=session) for packet in kept]


def delivered(packets: list[Packet]) -> tuple[int, int]:
    return max(p.octets[0] for p in packets), max(p.octets[1] for p in packets)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), sessions=generations())
async def test_octets_delivered_are_octets_counted(
    created: BarePostgres, data: st.DataObject, sessions: list[tuple[Key, list[Packet]]]
) -> None:
    await reseed(created)
    stream = data.draw(st.permutations([packet for _, packets in sessions for packet in packets]), "order")
    stream += data.draw(st.lists(st.sampled_from(stream), max_size=5), "repeats")
    for moment in data.draw(st.lists(st.integers(0, 4000), max_size=2), "reboots"):
        place = data.draw(st.integers(0, len(stream)))
        stream.insert(place, restart(moment))
    connection = await asyncpg.connect(created.dsn("demarc_ingest"))
    try:
        await prepare_accounting(connection)
        await deliver(connection, stream, data)
        await check(connection, sessions)
    finally:
        await connection.close()


async def deliver(connection: asyncpg.Connection, stream: list[Packet], data: st.DataObject) -> None:
    """In blocks; a block may crash before its commit, and may come again after it."""
    while stream:
        size = data.draw(st.integers(1, len(stream)), "block")
        block, stream = stream[:size], stream[size:]
        for committed in data.draw(st.sampled_from([[True], [False, True], [True, True]]), "attempts"):
            transaction = connection.transaction()
            await transaction.start()
            merged = await merge_accounting(connection, b"".join(p.line() for p in block), 0)
            await record_deltas(connection)
            assert merged.rejected == ()
            await (transaction.commit() if committed else transaction.rollback())
        if data.draw(st.integers(0, 3)) == 0:
            async with connection.transaction():
                await close_stale_sessions(connection, now=at(data.draw(st.integers(0, 9000), "stale")))


async def check(connection: asyncpg.Connection, sessions: list[tuple[Key, list[Packet]]]) -> None:
    columns = "id, nas_id, username, acct_session_id, started_at, input_octets, output_octets"
    rows = await connection.fetch(
        f"SELECT {columns} FROM radius_session UNION ALL SELECT {columns} FROM radius_session_history"
    )
    stored = {}
    for row in rows:
        nas = {11: "127.0.1.1", 12: "127.0.1.2"}[row["nas_id"]]
        generation = round((row["started_at"] - at(0)).total_seconds() / GENERATION_APART)
        key = (nas, row["username"], row["acct_session_id"], generation)
        assert key not in stored, "one session became two"
        stored[key] = row
    assert {key: (row["input_octets"], row["output_octets"]) for key, row in stored.items()} == {
        key: delivered(packets) for key, packets in sessions
    }
    booked = await connection.fetch(
        "SELECT session_id, sum(input_octets)::bigint, sum(output_octets)::bigint FROM delta_book GROUP BY 1"
    )
    sums = {row[0]: (row[1], row[2]) for row in booked}
    for key, packets in sessions:
        assert sums.get(stored[key]["id"], (0, 0)) == delivered(packets)
    assert sums.keys() <= {row["id"] for row in rows}
