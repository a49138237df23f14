"""What dunning does when a debt changes by something else than a payment."""

from __future__ import annotations

from datetime import timedelta

from demarc.kernel.paging import Window
from demarc.modules.billing.inputs import NewCreditNote
from demarc.modules.billing.queries import get_invoice, list_credits, list_payments
from demarc.modules.billing.service import credit_invoice, reverse_payment, update_invoice


async def suspended(world, **debtor):
    """A debtor whose line is off for an invoice."""
    await world.campaign(("suspend_service", 0))
    made = await world.debtor(due_in_days=-10, **debtor)
    await world.sweep()
    assert await world.status(made) == "suspended_non_payment"
    return made, await world.execution(made)


async def test_a_credit_note_over_the_whole_debt_restores_the_line(world):
    debtor, execution = await suspended(world)
    async with world.tx() as tx:
        await credit_invoice(tx, debtor.invoice.ref, NewCreditNote("the line was down", 4_000))
    await world.desk.clear()
    assert (await world.reload(execution)).status == "in_progress"
    async with world.tx() as tx:
        await credit_invoice(tx, debtor.invoice.ref, NewCreditNote("the line was down"))
    await world.desk.clear()
    done = await world.reload(execution)
    assert (done.status, done.recovered_minor, await world.status(debtor)) == ("completed", 0, "active")


async def test_more_time_to_pay_restores_the_line_until_it_is_over(world):
    debtor, execution = await suspended(world)
    async with world.tx() as tx:
        await update_invoice(tx, debtor.invoice.ref, due_on=tx.now.date() + timedelta(days=5))
    await world.desk.clear()
    assert ((await world.reload(execution)).status, await world.status(debtor)) == ("completed", "active")
    await world.sweep()
    assert await world.status(debtor) == "active"
    await world.advance(days=15)
    await world.sweep()
    second = await world.execution(debtor)
    assert (second.uid != execution.uid, await world.status(debtor)) == (True, "suspended_non_payment")


async def test_a_chargeback_is_collected_again_after_it_was_paid(world):
    debtor, execution = await suspended(world)
    await world.pay(debtor)
    assert ((await world.reload(execution)).status, await world.status(debtor)) == ("completed", "active")
    await world.sweep()
    assert await world.execution(debtor) is None
    async with world.tx() as tx:
        assert await list_credits(tx, debtor.customer.id, "USD") == []
        paid = (await list_payments(tx, Window(), customer_id=debtor.customer.id)).rows[0]
        await reverse_payment(tx, paid.uid, reason="chargeback")
    await world.desk.clear()
    async with world.tx() as tx:
        assert (await get_invoice(tx, debtor.invoice.ref)).status == "overdue"
    second = await world.execution(debtor)
    assert second is not None
    assert second.uid != execution.uid
    assert await world.status(debtor) == "suspended_non_payment"
    await world.pay(debtor)
    assert ((await world.reload(second)).status, await world.status(debtor)) == ("completed", "active")


async def test_a_chargeback_of_part_of_what_was_recovered(world):
    debtor, execution = await suspended(world)
    await world.pay(debtor, 3_000)
    assert (await world.reload(execution)).recovered_minor == 3_000
    async with world.tx() as tx:
        paid = (await list_payments(tx, Window(), customer_id=debtor.customer.id)).rows[0]
        await reverse_payment(tx, paid.uid, reason="chargeback")
    await world.desk.clear()
    still = await world.reload(execution)
    assert (still.status, still.recovered_minor) == ("in_progress", 0)
