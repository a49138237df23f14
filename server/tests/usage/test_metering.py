"""Metering as the ingester does it: role demarc_ingest, set based, octets exactly once."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.context import system
from demarc.kernel.paging import Window
from demarc.modules.billing.inputs import NewInvoice, NewLine
from demarc.modules.billing.service import create_invoice
from demarc.modules.subscriptions.service import change_plan
from demarc.modules.usage.inputs import Span
from demarc.modules.usage.metering import raise_usage
from demarc.modules.usage.queries import list_metered, list_usage_records
from demarc.modules.usage.rules import GB_OCTETS, octets_to_gb
from demarc.modules.usage.service import (
    bill_claimed,
    claim_pending,
    mark_billed,
    release_billed,
    set_billed_status,
)
from demarc.modules.usage.states import BilledStatus

ALPHA, BETA = 1, 2
EVER = Span(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def when(day, month=10, hour=12):
    return datetime(2025, month, day, hour, tzinfo=UTC)


async def meter(ingest, *deltas):
    """Book deltas (sold, session, at, input, output) as one block of the ingester."""
    async with ingest.transaction():
        await ingest.execute("TRUNCATE accounting_delta")
        await ingest.executemany(
            "INSERT INTO accounting_delta VALUES ($1, $2, 7, $3, $4, $5, $6)",
            [
                (sold.service.tenant_id, session, sold.service.id, at, i, o)
                for sold, session, at, i, o in deltas
            ],
        )
        await raise_usage(ingest)


async def records(database, session, tenant=ALPHA):
    async with database.begin(tenant, system("test")) as tx:
        return await list_metered(tx, [session])


async def test_a_session_is_one_record_raised_in_place(database, ingest, sold):
    session = uuid.uuid4()
    await meter(ingest, (sold, session, when(14, hour=8), GB_OCTETS, 2 * GB_OCTETS))
    await meter(ingest, (sold, session, when(14, hour=9), 1, 0), (sold, session, when(14, hour=10), 0, 5))
    [row] = await records(database, session)
    assert (row.input_octets, row.output_octets) == (GB_OCTETS + 1, 2 * GB_OCTETS + 5)
    assert (row.quantity, row.unit, row.unit_price) == (Decimal("3.000000"), "GB", Decimal("0.05"))
    assert (row.period_start, row.period_end) == (when(14, hour=8), when(14, hour=10))
    assert (row.usage_type, row.source_system) == ("bandwidth_gb", "radius")
    assert row.source_record_id == f"{session}/2025-10"
    assert (row.subscription_ref, row.customer_uid) == (sold.subscription.ref, sold.customer.uid)


async def test_a_month_has_its_own_record_by_the_tenants_clock(database, ingest, sold, scratch):
    owner = await asyncpg.connect(scratch.owner_dsn)
    await owner.execute("UPDATE tenant SET time_zone = 'Europe/Berlin' WHERE id = $1", ALPHA)
    await owner.close()
    session = uuid.uuid4()
    await meter(
        ingest,
        (sold, session, datetime(2025, 10, 31, 22, 59, 59, tzinfo=UTC), 10, 0),
        (sold, session, datetime(2025, 10, 31, 23, 0, 0, tzinfo=UTC), 20, 0),
    )
    assert [(row.source_record_id, row.input_octets) for row in await records(database, session)] == [
        (f"{session}/2025-10", 10),
        (f"{session}/2025-11", 20),
    ]


async def bill(database, sold):
    async with database.begin(ALPHA, system("test")) as tx:
        claimed = await claim_pending(tx, subscription_id=sold.subscription.id, span=EVER)
        new = NewInvoice(
            customer_id=sold.customer.id, lines=(NewLine("Usage", 1),), due_on=tx.now.date(),
            subscription_id=sold.subscription.id,
        )  # fmt: skip
        invoice = await create_invoice(tx, new)
        await bill_claimed(tx, claimed, invoice_id=invoice.id, invoice_ref=invoice.ref)
        return invoice, claimed


async def test_after_billing_the_next_octets_open_another_part(database, ingest, sold):
    session = uuid.uuid4()
    await meter(ingest, (sold, session, when(14), 100, 0))
    await bill(database, sold)
    await meter(ingest, (sold, session, when(15), 7, 0))
    await meter(ingest, (sold, session, when(16), 3, 0))
    first, second = await records(database, session)
    assert (first.billed_status, first.input_octets) == ("billed", 100)
    assert (second.billed_status, second.input_octets) == ("pending", 10)
    assert second.source_record_id == f"{session}/2025-10/2"


async def test_a_released_record_is_not_raised_again(database, ingest, sold):
    session = uuid.uuid4()
    await meter(ingest, (sold, session, when(14), 100, 0))
    invoice, _ = await bill(database, sold)
    await meter(ingest, (sold, session, when(15), 7, 0))
    async with database.begin(ALPHA, system("test")) as tx:
        assert await release_billed(tx, invoice_id=invoice.id) == 1
    await meter(ingest, (sold, session, when(16), 3, 0))
    rows = await records(database, session)
    assert [(row.billed_status, row.input_octets, row.part) for row in rows] == [
        ("pending", 100, 1),
        ("pending", 10, 2),
    ]


async def test_a_metered_record_that_was_left_out_is_not_raised_again(database, ingest, sold):
    session = uuid.uuid4()
    await meter(ingest, (sold, session, when(14), 100, 0))
    [row] = await records(database, session)
    for status in (BilledStatus.EXCLUDED, BilledStatus.PENDING):
        async with database.begin(ALPHA, system("test")) as tx:
            await set_billed_status(tx, uid=row.uid, status=status)
        await meter(ingest, (sold, session, when(15), 7, 0))
    rows = await records(database, session)
    assert [(row.billed_status, row.input_octets) for row in rows] == [("pending", 100), ("pending", 14)]


async def test_what_is_metered_while_an_invoice_is_made_is_not_lost(database, ingest, sold):
    """Billing holds the open record, metering waits for it, and opens the next part."""
    session = uuid.uuid4()
    await meter(ingest, (sold, session, when(14), 100, 0))
    async with database.begin(ALPHA, system("test")) as tx:
        claimed = await claim_pending(tx, subscription_id=sold.subscription.id, span=EVER)
        waiting = asyncio.create_task(meter(ingest, (sold, session, when(15), 5, 0)))
        async with asyncio.timeout(30):
            while not await tx.connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.02)
        assert claimed.lines[0].octets == 100
        new = NewInvoice(
            customer_id=sold.customer.id, lines=(NewLine("Usage", 1),), due_on=tx.now.date(),
            subscription_id=sold.subscription.id,
        )  # fmt: skip
        invoice = await create_invoice(tx, new)
        await bill_claimed(tx, claimed, invoice_id=invoice.id, invoice_ref=invoice.ref)
    await waiting
    rows = await records(database, session)
    assert [(row.billed_status, row.input_octets) for row in rows] == [("billed", 100), ("pending", 5)]


async def test_several_tenants_at_once(database, ingest, sold, seller):
    theirs = await seller("sub_abc123", tenant=BETA, usage_price="0.25")
    session, other = uuid.uuid4(), uuid.uuid4()
    await meter(ingest, (sold, session, when(14), 1, 2), (theirs, other, when(14), 3, 4))
    [mine] = await records(database, session)
    [beta] = await records(database, other, BETA)
    assert (mine.tenant_id, mine.octets, mine.currency) == (ALPHA, 3, "USD")
    assert (beta.tenant_id, beta.octets, beta.currency) == (BETA, 7, "EUR")
    assert await records(database, other, ALPHA) == []


async def test_a_plan_without_a_price_meters_at_zero(database, ingest, sold):
    session = uuid.uuid4()
    async with database.begin(ALPHA, system("test")) as tx:
        await tx.connection.execute("DELETE FROM plan_usage_price")
    await meter(ingest, (sold, session, when(14), GB_OCTETS, 0))
    assert [row.unit_price for row in await records(database, session)] == [0]


async def test_a_service_that_is_not_there_is_an_error_and_books_nothing(database, ingest, sold):
    session = uuid.uuid4()
    gone = replace(sold, service=replace(sold.service, id=999_999))
    with pytest.raises(asyncpg.NotNullViolationError):
        await meter(ingest, (sold, session, when(13), 1, 1), (gone, session, when(14), 1, 1))
    assert await records(database, session) == []


async def test_a_tenant_that_meters_elsewhere_is_left_out(database, ingest, sold):
    async with database.begin(ALPHA, system("test")) as tx:
        await tx.connection.execute(
            'UPDATE tenant SET settings = settings || \'{"metering": "external"}\'::jsonb'
        )
    session = uuid.uuid4()
    await meter(ingest, (sold, session, when(14), 1, 1))
    assert await records(database, session) == []


RADIUS_SESSION = """
INSERT INTO {table} (tenant_id, id, nas_id, subscriber_id, service_id, username, acct_session_id, generation,
                     started_at, updated_at, session_seconds, input_octets, output_octets{more})
VALUES ($1, $2, 1, $3, $4, 'u@isp', $5, 0, $6, $6, 60, 1, 1{values})
"""


async def put_session(owner, sold, session, acct, at, *, ended):
    subscriber = await owner.fetchval(
        "INSERT INTO subscriber (tenant_id, customer_id, service_id, username, secret_encrypted, status) "
        "VALUES ($1, $2, $3, $4, '', 'active') RETURNING id",
        ALPHA, sold.customer.id, sold.service.id, f"u{uuid.uuid4().hex[:8]}@isp",
    )  # fmt: skip
    table, more, values = ("radius_session", "", "")
    if ended:
        table, more, values = ("radius_session_history", ", stopped_at", ", $6")
    await owner.execute(
        RADIUS_SESSION.format(table=table, more=more, values=values),
        ALPHA, session, subscriber, sold.service.id, acct, at,
    )  # fmt: skip


@pytest.mark.parametrize("ended", [True, False])
async def test_a_posted_record_of_a_metered_session_answers_with_the_platforms(
    admin, ingest, sold, scratch, database, ended
):
    session = uuid.uuid4()
    await meter(ingest, (sold, session, when(14), GB_OCTETS, 0))
    owner = await asyncpg.connect(scratch.owner_dsn)
    await put_session(owner, sold, session, "SESSION-1", when(14), ended=ended)
    posted = sold.usage(source_system="radius", source_record_id="SESSION-1", quantity=77)
    one = await admin.post("/api/billing/usage/records", posted)
    assert (one.status_code, one.json()["quantity"], one.json()["input_octets"]) == (200, 1.0, GB_OCTETS)
    bulk = await admin.post(
        "/api/billing/usage/records/bulk", {"records": [sold.usage(), posted, sold.usage()]}
    )
    assert (bulk.json()["created"], bulk.json()["duplicates"]) == (2, 1)
    assert bulk.json()["ids"][1] == one.json()["id"]
    unknown = await admin.post("/api/billing/usage/records", {**posted, "source_record_id": "SESSION-2"})
    assert unknown.status_code == 201
    wrong = await admin.post("/api/billing/usage/records", {**posted, "customer_id": str(uuid.uuid4())})
    assert wrong.status_code == 422
    await owner.execute('UPDATE tenant SET settings = settings || \'{"metering": "external"}\'::jsonb')
    await owner.close()
    assert (await admin.post("/api/billing/usage/records", posted)).status_code == 201


async def test_the_platforms_own_key_answers_with_its_record(admin, ingest, sold):
    session = uuid.uuid4()
    await meter(ingest, (sold, session, when(14), GB_OCTETS, 0))
    posted = sold.usage(source_system="radius", source_record_id=f"{session}/2025-10")
    answer = await admin.post("/api/billing/usage/records", posted)
    assert (answer.status_code, answer.json()["input_octets"]) == (200, GB_OCTETS)


async def test_marking_a_metered_record_closes_it(database, ingest, sold):
    session = uuid.uuid4()
    await meter(ingest, (sold, session, when(14), 1, 0))
    async with database.begin(ALPHA, system("test")) as tx:
        [row] = (await list_usage_records(tx, Window())).rows
        new = NewInvoice(customer_id=sold.customer.id, lines=(NewLine("x", 1),), due_on=tx.now.date())
        invoice = await create_invoice(tx, new)
        billed = await mark_billed(tx, uid=row.uid, invoice_id=invoice.id, invoice_ref=invoice.ref)
    assert (billed.is_open, billed.billed_status) == (False, "billed")


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_octets_in_gb_are_exact(octets):
    assert octets_to_gb(octets) * GB_OCTETS == octets or _exact(octets)


def _exact(octets):
    from decimal import Context

    return Context(prec=100).multiply(octets_to_gb(octets), GB_OCTETS) == octets


async def test_a_change_of_plan_parts_what_a_session_uses(database, ingest, sold, seller):
    """What was used before the change costs what it cost then, also when it is booked afterwards; the session goes on."""
    dear = await seller("sub_dear", usage_price="2")
    session, late = uuid.uuid4(), uuid.uuid4()
    now = datetime(2040, 6, 15, 12, tzinfo=UTC)
    before, after = now - timedelta(minutes=5), now + timedelta(minutes=5)
    await meter(ingest, (sold, session, before, 100, 0))
    async with database.begin(ALPHA, system("test")) as tx:
        tx.now = now
        await change_plan(tx, subscription_id=sold.subscription.id, plan_id=dear.plan.id)
    await meter(ingest, (sold, session, before, 20, 0), (sold, late, before, 3, 0))
    await meter(ingest, (sold, session, after, 4, 0), (sold, late, after, 5, 0))
    await meter(ingest, (sold, session, after, 1, 0))
    for which, expected in (
        (session, [("0.05", 100), ("0.05", 20), ("2", 5)]),
        (late, [("0.05", 3), ("2", 5)]),
    ):
        rows = sorted(await records(database, which), key=lambda row: row.part)
        assert [(row.unit_price, row.octets) for row in rows] == [(Decimal(p), o) for p, o in expected]
