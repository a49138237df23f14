"""The audit log's chain of seals: complete, in order, and broken visibly by whoever touches the log, its owner included."""

from __future__ import annotations

from itertools import pairwise

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from demarc.kernel.context import system
from demarc.modules.audit.seal import GENESIS, seal_audit_log, verify_audit_log
from demarc.modules.audit.service import changes, public, record

TESTER = system("test")


async def write(database, *actions, tenant=1):
    for action in actions:
        async with database.begin(tenant, TESTER) as tx:
            await record(tx, action, entity="thing", entity_id=1, before={"n": 1}, after={"n": 2})


async def seal(database, tenant=1):
    async with database.begin(tenant, TESTER) as tx:
        return await seal_audit_log(tx)


async def verify(database, tenant=1, anchor=None):
    async with database.begin(tenant, TESTER) as tx:
        return await verify_audit_log(tx, anchor=anchor)


@pytest_asyncio.fixture
async def owner(scratch):
    """The owner of the schema, whom row-level security does not bind: the worst tamperer there is."""
    connection = await asyncpg.connect(scratch.owner_dsn)
    try:
        yield connection
    finally:
        await connection.close()


@pytest_asyncio.fixture
async def sealed(database, owner):
    """Three seals: what the template wrote and `a`, then `b` and `c`, then `d`."""
    await write(database, "a")
    await seal(database)
    await write(database, "b", "c")
    assert await seal(database) == 2
    await write(database, "d")
    assert await seal(database) == 1
    assert await verify(database) is None
    return await owner.fetch("SELECT id, previous_hash, hash FROM audit_seal WHERE tenant_id = 1 ORDER BY id")


async def test_seals_hang_together(sealed):
    assert sealed[0]["previous_hash"] == GENESIS
    for earlier, later in pairwise(sealed):
        assert later["previous_hash"] == earlier["hash"]


async def test_nothing_new_needs_no_seal(database, sealed, owner):
    assert await seal(database) == 0
    assert await owner.fetchval("SELECT count(*) FROM audit_seal WHERE tenant_id = 1") == len(sealed)


TAMPERINGS = {
    "a value changed": "UPDATE audit_log SET after = '{\"n\": 3}' WHERE action = 'b'",
    "an actor changed": "UPDATE audit_log SET actor_name = 'someone else' WHERE action = 'c'",
    "a time changed": "UPDATE audit_log SET recorded_at = recorded_at - interval '1 day' WHERE action = 'a'",
    "a line deleted": "DELETE FROM audit_log WHERE action = 'b'",
    "the last line deleted": "DELETE FROM audit_log WHERE action = 'd'",
    "a line slipped in": """
        INSERT INTO audit_log (tenant_id, actor_kind, actor_name, action, entity, entity_id, transaction_id)
        SELECT 1, 'system', 'x', 'forged', 'thing', 1, transaction_id FROM audit_log WHERE action = 'b'
    """,
    "two lines swapped": """
        UPDATE audit_log SET id = CASE action WHEN 'b' THEN -2 ELSE -3 END WHERE action IN ('b', 'c');
        UPDATE audit_log SET action = CASE action WHEN 'b' THEN 'c' ELSE 'b' END WHERE id < 0
    """,
    "a seal deleted": "DELETE FROM audit_seal WHERE id = (SELECT id FROM audit_seal WHERE tenant_id = 1 ORDER BY id OFFSET 1 LIMIT 1)",
    "a seal changed": "UPDATE audit_seal SET hash = sha256('x') WHERE id = (SELECT max(id) FROM audit_seal WHERE tenant_id = 1)",
    "a line moved to another tenant": "UPDATE audit_log SET tenant_id = 2 WHERE action = 'b'",
}


@pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS.keys())
async def test_tampering_by_the_owner_is_found(database, owner, sealed, tampering):
    await owner.execute(tampering)
    found = await verify(database)
    assert found is not None
    assert found.seal_id in {row["id"] for row in sealed}
    assert found.reason


async def test_a_resealed_tail_does_not_hide_an_earlier_change(database, owner, sealed):
    """Whoever recomputes one seal has to recompute all that follow it."""
    await owner.execute("UPDATE audit_log SET after = '{}' WHERE action = 'a'")
    await write(database, "e")
    await seal(database)
    found = await verify(database)
    assert found is not None
    assert found.seal_id == sealed[0]["id"]


async def test_the_app_role_may_neither_change_nor_delete(database, sealed):
    for statement in (
        "UPDATE audit_log SET action = 'x'",
        "DELETE FROM audit_log",
        "UPDATE audit_seal SET hash = ''",
        "DELETE FROM audit_seal",
        "TRUNCATE audit_log",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.begin(1, TESTER) as tx:
                await tx.connection.execute(statement)


async def test_a_late_commit_is_sealed_later_and_not_lost(database):
    """A transaction that began before the seal and ends after it: ids alone would skip its line."""
    await write(database, "early")
    await seal(database)
    async with database.begin(1, TESTER) as slow:
        await record(slow, "slow", entity="thing", entity_id=1)
        await write(database, "fast")
        assert await seal(database) == 0, "a seal above an open transaction would not be final"
    assert await seal(database) == 2
    assert await verify(database) is None


ANOTHER_CLUSTER = """
    UPDATE audit_log SET transaction_id = transaction_id + {ahead} WHERE action <> 'new';
    UPDATE audit_seal SET up_to_transaction = up_to_transaction + {ahead} WHERE up_to_transaction > 0;
    UPDATE audit_seal SET cluster = cluster - 1
"""
"""What a dump carries from a cluster whose transaction ids are higher: the numbers, and the row ids' sequence."""


async def restore(owner, ahead=1_000_000):
    await owner.execute(ANOTHER_CLUSTER.format(ahead=ahead))


async def test_lines_after_a_restore_into_a_younger_cluster_are_sealed(database, owner, sealed):
    await write(database, "tail")
    await restore(owner)
    await write(database, "f", "g")
    assert await seal(database) == 1, "the restored tail is closed first"
    assert await seal(database) == 2
    await write(database, "h")
    assert await seal(database) == 1
    assert await seal(database) == 0
    assert await verify(database) is None


async def test_a_restore_can_happen_again_and_again(database, owner, sealed):
    for _ in range(3):
        await restore(owner)
        assert await seal(database) == 0
        await write(database, "x", "y")
        assert await seal(database) == 2
        assert await verify(database) is None
    await owner.execute("DELETE FROM audit_log WHERE id = (SELECT max(id) FROM audit_log WHERE action = 'x')")
    assert (await verify(database)).reason == "2 rows were sealed, 1 are there"


async def test_a_line_of_before_a_restore_is_still_guarded(database, owner, sealed):
    await write(database, "tail")
    await restore(owner)
    await write(database, "f")
    await seal(database)
    await seal(database)
    await owner.execute("UPDATE audit_log SET actor_name = 'x' WHERE action = 'tail'")
    assert await verify(database) is not None
    await owner.execute("UPDATE audit_log SET actor_name = 'test' WHERE action = 'tail'")
    assert await verify(database) is None
    await owner.execute(
        """INSERT INTO audit_log (tenant_id, actor_kind, actor_name, action, entity, entity_id, transaction_id, id)
           OVERRIDING SYSTEM VALUE
           SELECT 1, 'system', 'x', 'forged', 'thing', 1, transaction_id + 2000000, -1 * id
           FROM audit_log WHERE action = 'b'"""
    )
    await owner.execute("UPDATE audit_log SET id = 1 WHERE action = 'forged'")
    assert await verify(database) is not None


async def test_a_cluster_that_has_overtaken_the_last_seal_before_it_ran(database, owner, sealed):
    """Lines that count below the last seal, in a cluster that already counts above it, are found by their ids."""
    await restore(owner, ahead=0)
    await write(database, "f")
    await owner.execute("UPDATE audit_log SET transaction_id = 5 WHERE action = 'f'")
    await write(database, "g")
    assert await seal(database) == 2
    await write(database, "h")
    assert await seal(database) == 1
    assert await verify(database) is None


async def test_a_line_slipped_in_is_not_sealed_afterwards(database, owner, sealed):
    await owner.execute(TAMPERINGS["a line slipped in"])
    await write(database, "e")
    assert await seal(database) == 1
    assert (await verify(database)).reason == "a row was slipped in below the last seal"


async def test_a_cut_off_end_is_seen_by_whoever_kept_the_last_seal(database, owner, sealed):
    anchor = sealed[-1]["hash"]
    assert await verify(database, anchor=anchor) is None
    await owner.execute("DELETE FROM audit_log WHERE action = 'd'")
    await owner.execute("DELETE FROM audit_seal WHERE id = $1", sealed[-1]["id"])
    assert await verify(database) is None, "the chain alone cannot know"
    found = await verify(database, anchor=anchor)
    assert found is not None
    assert found.seal_id is None


async def test_each_seal_is_logged_with_its_hash(database, owner):
    await write(database, "a")
    with capture_logs() as lines:
        await seal(database)
    logged = next(line for line in lines if line["event"] == "audit log sealed")
    stored = await owner.fetchval("SELECT hash FROM audit_seal WHERE tenant_id = 1 ORDER BY id DESC LIMIT 1")
    assert (logged["tenant_id"], logged["seal"]) == (1, stored.hex())


async def test_tenants_have_chains_of_their_own(database, owner, sealed):
    await write(database, "theirs", tenant=2)
    await seal(database, tenant=2)
    await owner.execute("UPDATE audit_log SET action = 'x' WHERE tenant_id = 2 AND action = 'theirs'")
    assert await verify(database) is None
    assert await verify(database, tenant=2) is not None


async def test_a_line_says_who_what_and_on_whose_request(admin, owner):
    made = (await admin.post("/api/customers", {"name": "Ann"}, X_Request_ID="req-77")).json()
    await admin.patch(f"/api/customers/{made['id']}", {"tier": "vip"})
    lines = await owner.fetch(
        "SELECT action, actor_kind, actor_name, before, after, request_id FROM audit_log WHERE entity = 'customer' ORDER BY id"
    )
    assert [line["action"] for line in lines] == ["customer.create", "customer.update"]
    assert lines[0]["request_id"] == "req-77"
    assert (lines[0]["actor_kind"], lines[0]["actor_name"]) == ("user", "admin@alpha.example.com")
    assert '"basic"' in lines[1]["before"]
    assert '"vip"' in lines[1]["after"]
    assert "Ann" not in lines[1]["after"], "only what changed"


def test_secrets_by_name_and_bytes_never_enter():
    kept = public(
        {"name": "x", "password": "x", "nas_secret": "x", "Token": "x", "nt_hash": "x", "raw": b"x"}
    )
    assert kept == {"name": "x"}


def test_changes_are_the_fields_that_differ():
    assert changes({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": None}) == ({"b": 2}, {"b": 3})
    assert changes({}, {"c": 1}) == ({"c": None}, {"c": 1})
