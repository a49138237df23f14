"""What a campaign does to who does not pay, over a clock that is moved."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from demarc.kernel.context import system
from demarc.kernel.paging import Window
from demarc.modules.billing.inputs import NewPayment
from demarc.modules.billing.queries import get_invoice
from demarc.modules.billing.service import mark_overdue, record_payment, void_invoice
from demarc.modules.customers.service import update_customer
from demarc.modules.customers.states import CustomerTier
from demarc.modules.dunning.errors import AlreadyRunning
from demarc.modules.dunning.inputs import ExclusionRules, NewExecution
from demarc.modules.dunning.service import (
    cancel_execution,
    pause_execution,
    resume_execution,
    run_due_steps,
    start_due_executions,
    start_execution,
    update_campaign,
)
from demarc.modules.notifications.inputs import NewTemplate
from demarc.modules.notifications.queries import list_notifications
from demarc.modules.notifications.service import set_template
from demarc.modules.notifications.states import Channel
from demarc.modules.services.service import lift_lock, place_lock, terminate_service
from demarc.modules.services.states import LockKind

from ..notifications.post import Doorman, mailer_at, ports_to, smtp_server  # noqa: TID252 - the tests' own desk

DOCUMENT = (("email", 0), ("sms", 3), ("suspend_service", 7))


async def start(world, campaign, debtor, amount=10_000):
    async with world.tx() as tx:
        new = NewExecution(
            campaign.uid, debtor.subscription.ref, debtor.customer.uid, debtor.invoice.ref, amount
        )
        made = await start_execution(tx, new)
    await world.desk.clear()
    return made


async def test_the_documents_campaign_from_due_date_to_back_on_line(world):
    campaign = await world.campaign(*DOCUMENT)
    debtor = await world.debtor(due_in_days=10)

    await world.advance(days=16)  # six days late
    assert await world.execution(debtor) is None
    await world.advance(days=1)
    execution = await world.execution(debtor)
    assert (execution.status, execution.current_step, execution.campaign_id) == (
        "in_progress",
        1,
        campaign.id,
    )
    [mail] = world.trap.mails()
    assert mail.recipient == debtor.customer.email
    assert "100.00 USD" in mail.body
    assert await world.log(execution) == [(0, 0, "email", "done")]

    await world.advance(days=2)
    assert (await world.reload(execution)).current_step == 1
    await world.advance(days=1)
    assert await world.log(execution) == [(0, 0, "email", "done"), (1, 0, "sms", "done")]
    assert await world.status(debtor) == "active"

    await world.advance(days=6, hours=23)
    assert await world.status(debtor) == "active"
    await world.advance(hours=1)
    assert await world.status(debtor) == "suspended_non_payment"
    waiting = await world.reload(execution)
    assert (waiting.status, waiting.current_step, waiting.next_action_at) == ("in_progress", 3, None)

    await world.advance(days=30)  # nothing more happens until he pays
    assert len(await world.log(execution)) == 3
    await world.pay(debtor)
    done = await world.reload(execution)
    assert (done.status, done.recovered_minor) == ("completed", 10_000)
    assert done.completed_at is not None
    assert (await world.status(debtor), await world.locks(debtor)) == ("active", set())


async def test_a_clock_that_jumps_fires_one_step_at_a_time(world):
    await world.campaign(*DOCUMENT)
    debtor = await world.debtor()
    await world.advance(days=100)
    execution = await world.execution(debtor)
    assert await world.log(execution) == [(0, 0, "email", "done")]
    assert execution.next_action_at - execution.started_at >= timedelta(days=3)


async def test_steps_without_delay_follow_at_once(world):
    await world.campaign(("suspend_service", 0), ("custom", 0), ("email", 0))
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    execution = await world.execution(debtor)
    assert [line[2] for line in await world.log(execution)] == ["suspend_service", "custom", "email"]
    assert await world.status(debtor) == "suspended_non_payment"
    async with world.tx() as tx:
        names = await tx.connection.fetch(
            "SELECT name FROM outbox_event WHERE name LIKE 'dunning.%' ORDER BY id"
        )
    assert "dunning.custom_action" in [row[0] for row in names]


async def test_editing_a_campaign_does_not_change_what_runs(world):
    campaign = await world.campaign(*DOCUMENT)
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    async with world.tx() as tx:
        await update_campaign(tx, campaign.uid, {"actions": campaign.steps[:1]})
    await world.advance(days=3)
    assert [line[2] for line in await world.log(await world.execution(debtor))] == ["email", "sms"]


async def test_a_payment_before_the_next_step_stops_the_ladder_even_if_its_event_was_lost(world):
    await world.campaign(*DOCUMENT)
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    execution = await world.execution(debtor)
    async with world.tx() as tx:
        await record_payment(
            tx, NewPayment(customer_id=debtor.customer.id, amount_minor=10_000, method="card", reference="p")
        )
    await world.database.pool.execute("DELETE FROM pgqueuer")  # nobody is told
    await world.advance(days=3)
    done = await world.reload(execution)
    assert (done.status, done.recovered_minor) == ("completed", 10_000)
    assert len(await world.log(execution)) == 1


async def test_part_payments_count_and_only_the_rest_settles(world):
    await world.campaign(("suspend_service", 0))
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    execution = await world.execution(debtor)
    await world.pay(debtor, 4_000)
    part = await world.reload(execution)
    assert (part.status, part.recovered_minor) == ("in_progress", 4_000)
    assert await world.status(debtor) == "suspended_non_payment"
    await world.pay(debtor, 6_000)
    done = await world.reload(execution)
    assert (done.status, done.recovered_minor) == ("completed", 10_000)
    assert await world.status(debtor) == "active"


async def test_a_debt_within_the_tolerance_is_not_collected(world):
    await world.set(dunning_tolerance_minor=500)
    await world.campaign(("suspend_service", 0))
    small = await world.debtor(due_in_days=-8, amount=500)
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    assert await world.execution(small) is None
    execution = await world.execution(debtor)
    await world.pay(debtor, 9_500)
    done = await world.reload(execution)
    assert (done.status, done.recovered_minor) == ("completed", 9_500)
    assert await world.status(debtor) == "active"
    await world.sweep()
    assert await world.execution(debtor) is None


async def test_every_overdue_invoice_of_the_subscription_has_to_be_paid(world):
    await world.campaign(("suspend_service", 0))
    debtor = await world.debtor(due_in_days=-40)
    second = await world.bill(debtor, amount=7_000, due_in_days=-10)
    upcoming = await world.bill(debtor, amount=9_000, due_in_days=10)
    await world.sweep()
    execution = await world.execution(debtor)
    assert execution.invoice_id == debtor.invoice.id
    assert execution.outstanding_minor == 17_000
    await world.pay(debtor)
    assert (await world.reload(execution)).status == "in_progress"
    await world.pay(debtor, 7_000, invoice=second)
    assert (await world.reload(execution)).recovered_minor == 17_000
    assert (await world.reload(execution)).status == "completed"
    async with world.tx() as tx:
        assert (await get_invoice(tx, upcoming.ref)).status == "pending"


async def test_a_voided_invoice_ends_it_without_money(world):
    await world.campaign(("suspend_service", 0))
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    execution = await world.execution(debtor)
    async with world.tx() as tx:
        await void_invoice(tx, debtor.invoice.ref, reason="our mistake")
    await world.desk.clear()
    done = await world.reload(execution)
    assert (done.status, done.recovered_minor) == ("completed", 0)
    assert await world.status(debtor) == "active"


async def test_a_fraud_lock_survives_the_payment(world):
    await world.campaign(("suspend_service", 0))
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    async with world.tx() as tx:
        await place_lock(tx, service_id=debtor.service.id, kind=LockKind.FRAUD, reason="stolen card")
    assert await world.status(debtor) == "suspended_fraud"
    await world.pay(debtor)
    assert (await world.status(debtor), await world.locks(debtor)) == ("suspended_fraud", {"fraud"})


async def test_a_non_payment_lock_placed_by_hand_goes_with_the_payment_too(world):
    debtor = await world.debtor()
    async with world.tx() as tx:
        await place_lock(tx, service_id=debtor.service.id, kind=LockKind.NON_PAYMENT, reason="Non-payment")
        await place_lock(tx, service_id=debtor.service.id, kind=LockKind.OTHER, reason="works in the street")
    await world.pay(debtor)
    assert await world.locks(debtor) == {"other"}


async def test_a_lock_that_a_person_lifted_does_not_stop_the_completion(world):
    await world.campaign(("suspend_service", 0))
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    async with world.tx() as tx:
        await lift_lock(tx, service_id=debtor.service.id, kind=None, reason="he called")
    execution = await world.execution(debtor)
    await world.pay(debtor)
    assert (await world.reload(execution)).status == "completed"


async def test_terminate_ends_the_service_for_good(world):
    await world.campaign(("terminate_service", 0))
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    assert await world.status(debtor) == "terminated"
    execution = await world.execution(debtor)
    await world.pay(debtor)
    assert (await world.reload(execution)).status == "completed"
    assert await world.status(debtor) == "terminated"


async def test_a_service_that_is_gone_does_not_stop_the_ladder(world):
    await world.campaign(("suspend_service", 0), ("email", 0))
    debtor = await world.debtor(due_in_days=-8)
    async with world.tx() as tx:
        await terminate_service(tx, service_id=debtor.service.id, reason="moved away")
    await world.sweep()
    assert [line[2:] for line in await world.log(await world.execution(debtor))] == [
        ("suspend_service", "done"),
        ("email", "done"),
    ]


# -- messages that do not arrive ---------------------------------------------------------------------------------


async def test_smtp_away_holds_the_ladder_for_a_day_at_most(world):
    await world.trap.close()
    await world.campaign(("email", 0), ("suspend_service", 0))
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    execution = await world.execution(debtor)
    assert await world.log(execution) == [(0, 0, "email", "waiting")]
    await world.advance(hours=23)
    assert await world.status(debtor) == "active"
    await world.advance(hours=1)
    assert await world.status(debtor) == "suspended_non_payment"
    await world.trap.open()
    await world.desk.hurry()
    await world.desk.clear()  # the message comes late, and moves nothing
    assert await world.log(execution) == [(0, 0, "email", "done"), (1, 0, "suspend_service", "done")]
    assert (await world.reload(execution)).current_step == 2


async def test_smtp_back_within_the_day_costs_no_time(world):
    await world.trap.close()
    await world.campaign(("email", 0), ("suspend_service", 2))
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    await world.advance(hours=5)
    await world.trap.open()
    await world.desk.hurry()
    await world.desk.clear()
    execution = await world.execution(debtor)
    assert execution.current_step == 1
    await world.advance(hours=43)
    assert await world.status(debtor) == "suspended_non_payment"


async def test_a_transport_that_failed_for_good_lets_the_ladder_go_on(world):
    await world.trap.close()
    await world.campaign(("email", 0), ("suspend_service", 0))
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    await world.desk.hurry()
    while await world.desk.clear():
        await world.desk.hurry()
    execution = await world.execution(debtor)
    assert (await world.log(execution))[0] == (0, 0, "email", "failed")
    assert (execution.status, execution.current_step, execution.retries) == ("in_progress", 1, 0)


async def test_a_refused_address_is_tried_again_and_then_it_has_failed(world):
    debtor = await world.debtor(due_in_days=-8)
    doorman = Doorman({debtor.customer.email: "550 5.1.1 no such mailbox"})
    async with smtp_server(doorman) as port:
        world.desk.ports = ports_to(mailer_at(port))
        await world.campaign(("email", 0), ("suspend_service", 0), max_retries=2, retry_interval_days=3)
        await world.sweep()
        execution = await world.execution(debtor)
        assert (execution.retries, execution.current_step) == (1, 0)
        await world.advance(days=2)
        assert len(await world.log(execution)) == 1
        await world.advance(days=1)
        await world.advance(days=3)
        failed = await world.reload(execution)
    assert failed.status == "failed"
    assert await world.log(execution) == [(0, n, "email", "failed") for n in range(3)]
    assert await world.status(debtor) == "active"
    await world.advance(days=30)
    assert await world.execution(debtor) is None  # it waits for a person


async def test_an_address_that_was_corrected_goes_on(world):
    debtor = await world.debtor(due_in_days=-8)
    async with smtp_server(Doorman({debtor.customer.email: "550 no"})) as port:
        world.desk.ports = ports_to(mailer_at(port))
        await world.campaign(("email", 0), ("suspend_service", 2))
        await world.sweep()
        async with world.tx() as tx:
            await update_customer(tx, debtor.customer.uid, {"email": "right@example.com"})
        await world.advance(days=3)
    execution = await world.execution(debtor)
    assert await world.log(execution) == [(0, 0, "email", "failed"), (0, 1, "email", "done")]
    assert (execution.current_step, execution.retries) == (1, 0)


async def test_no_address_is_a_definitive_failure_and_so_is_a_template_that_broke(world):
    debtor = await world.debtor(due_in_days=-8, email=None)
    broken = await world.debtor(due_in_days=-8)
    await world.campaign(("email", 0), max_retries=0)
    await world.sweep()
    assert await world.execution(debtor) is None
    await world.set(company_name="x")
    async with world.tx() as tx:
        await set_template(tx, NewTemplate(Channel.EMAIL, "payment_reminder_1", "{{ nonsense }}", "S"))
    execution = await world.execution(broken)
    assert execution.current_step == 1  # it had gone out before
    third = await world.debtor(due_in_days=-8)
    await world.sweep()
    assert await world.execution(third) is None
    async with world.tx() as tx:
        details = await tx.connection.fetch("SELECT detail FROM dunning_action WHERE outcome = 'failed'")
    assert any("nonsense" in row[0] for row in details)
    assert any("no e-mail address" in row[0] for row in details)


# -- who is collected from, by which campaign ---------------------------------------------------------------------


async def test_the_highest_priority_that_takes_the_customer_wins(world):
    low = await world.campaign(("email", 0), name="low", priority=1, trigger_after_days=5)
    rules = ExclusionRules(customer_tags=("vip",))
    high = await world.campaign(
        ("email", 0), name="high", priority=50, trigger_after_days=5, exclusion_rules=rules
    )
    await world.campaign(("email", 0), name="later", priority=90, trigger_after_days=30)
    await world.campaign(("email", 0), name="off", priority=99, trigger_after_days=0, is_active=False)
    plain = await world.debtor(due_in_days=-8)
    tagged = await world.debtor(due_in_days=-8, tags=("vip",))
    await world.sweep()
    assert (await world.execution(plain)).campaign_id == high.id
    assert (await world.execution(tagged)).campaign_id == low.id


async def test_of_equal_priorities_the_older_goes_first(world):
    older = await world.campaign(("email", 0), name="older")
    await world.campaign(("email", 0), name="newer")
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    assert (await world.execution(debtor)).campaign_id == older.id


async def test_exclusions_by_tier_and_lifetime_value(world):

    await world.campaign(
        ("email", 0),
        exclusion_rules=ExclusionRules(min_lifetime_minor=5_000, customer_tiers=(CustomerTier.PREMIUM,)),
    )
    premium = await world.debtor(due_in_days=-8, tier=CustomerTier.PREMIUM)
    loyal = await world.debtor(due_in_days=-8)
    newer = await world.debtor(due_in_days=-8)
    old = await world.bill(loyal, amount=5_000)
    await world.pay(loyal, 5_000, invoice=old)
    old = await world.bill(newer, amount=4_999)
    await world.pay(newer, 4_999, invoice=old)
    await world.sweep()
    assert await world.execution(premium) is None
    assert await world.execution(loyal) is None
    assert await world.execution(newer) is not None


async def test_days_overdue_count_from_the_later_of_due_date_and_issue(world):
    await world.campaign(("email", 0))
    debtor = await world.debtor(due_in_days=10)
    async with world.tx() as tx:
        await tx.connection.execute(
            "UPDATE invoice SET due_on = issued_on - 30 WHERE id = $1", debtor.invoice.id
        )
    await world.advance(days=6)
    assert await world.execution(debtor) is None
    await world.advance(days=1)
    assert await world.execution(debtor) is not None


async def test_what_a_person_canceled_is_not_started_again(world):
    await world.campaign(("suspend_service", 0))
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    execution = await world.execution(debtor)
    async with world.tx() as tx:
        await cancel_execution(tx, execution.uid, reason="payment plan")
    await world.advance(days=10)
    assert await world.execution(debtor) is None
    assert await world.status(debtor) == "suspended_non_payment"
    await world.pay(debtor)
    assert await world.status(debtor) == "active"
    assert (await world.reload(execution)).status == "canceled"
    await world.bill(debtor, due_in_days=-8)
    await world.sweep()
    assert await world.execution(debtor) is not None  # another debt is another matter


# -- pause and resume ---------------------------------------------------------------------------------------------


async def test_a_pause_keeps_the_time_that_was_left(world):
    await world.campaign(("email", 0), ("suspend_service", 7))
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    execution = await world.execution(debtor)
    await world.advance(days=5)
    async with world.tx() as tx:
        await pause_execution(tx, execution.uid, reason="holiday")
    await world.advance(days=60)
    assert await world.status(debtor) == "active"
    async with world.tx() as tx:
        resumed = await resume_execution(tx, execution.uid)
    assert resumed.status == "in_progress"
    await world.advance(days=1, hours=23)
    assert await world.status(debtor) == "active"
    await world.advance(hours=1)
    assert await world.status(debtor) == "suspended_non_payment"


async def test_a_pause_before_the_first_step_resumes_to_pending(world):
    campaign = await world.campaign(("email", 2))
    debtor = await world.debtor()
    execution = await start(world, campaign, debtor)
    async with world.tx() as tx:
        await pause_execution(tx, execution.uid)
        assert (await resume_execution(tx, execution.uid)).status == "pending"


async def test_a_payment_completes_what_is_paused(world):
    await world.campaign(("suspend_service", 0))
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    execution = await world.execution(debtor)
    async with world.tx() as tx:
        await pause_execution(tx, execution.uid)
    await world.pay(debtor)
    assert (await world.reload(execution)).status == "completed"
    assert await world.status(debtor) == "active"


async def test_a_message_that_arrives_during_a_pause_moves_the_ladder_when_it_goes_on(world):
    await world.trap.close()
    await world.campaign(("email", 0), ("suspend_service", 4))
    debtor = await world.debtor(due_in_days=-8)
    await world.sweep()
    execution = await world.execution(debtor)
    async with world.tx() as tx:
        await pause_execution(tx, execution.uid)
    await world.trap.open()
    await world.advance(days=10)
    await world.desk.hurry()
    await world.desk.clear()
    paused = await world.reload(execution)
    assert (paused.status, paused.current_step) == ("paused", 1)
    async with world.tx() as tx:
        await resume_execution(tx, execution.uid)
    await world.advance(days=3, hours=23)
    assert await world.status(debtor) == "active"
    await world.advance(hours=1)
    assert await world.status(debtor) == "suspended_non_payment"


# -- several at once ----------------------------------------------------------------------------------------------


async def test_sweeps_at_once_do_each_step_once(world):
    await world.campaign(("email", 0), ("suspend_service", 1))
    debtors = [await world.debtor(due_in_days=-8) for _ in range(25)]
    async with world.tx() as tx:
        await tx.connection.execute("DELETE FROM pgqueuer")

    async def sweep(what):
        async with world.database.begin(1, system("sweep")) as tx:
            return await what(tx, batch=10) if what is run_due_steps else await what(tx)

    async with world.tx() as tx:
        await mark_overdue(tx)
    await asyncio.gather(*(sweep(start_due_executions) for _ in range(4)))
    assert len([1 for debtor in debtors if await world.execution(debtor)]) == 25
    while sum(await asyncio.gather(*(sweep(run_due_steps) for _ in range(4)))):
        pass
    await world.desk.clear()
    async with world.tx() as tx:
        lines = await tx.connection.fetch("SELECT execution_id, step FROM dunning_action")
        assert await tx.connection.fetchval("SELECT count(*) FROM dunning_execution") == 25
    assert Counter(Counter(tuple(line) for line in lines).values()) == {1: 25}
    assert len(world.trap.mails()) == 25


async def test_starts_at_once_make_one_execution(world):
    campaign = await world.campaign(("email", 5))
    debtor = await world.debtor()
    answers = await asyncio.gather(
        *(start(world, campaign, debtor) for _ in range(6)), return_exceptions=True
    )
    made = [answer for answer in answers if not isinstance(answer, Exception)]
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert len(made) == 1
    assert all(isinstance(error, AlreadyRunning) for error in refused)


async def test_a_payment_racing_the_suspension_never_leaves_a_paid_service_down(world):
    await world.campaign(("email", 30), ("suspend_service", 0))
    debtors = [await world.debtor(due_in_days=-8) for _ in range(6)]
    await world.sweep()
    async with world.tx() as tx:
        await tx.connection.execute(
            "UPDATE dunning_execution SET current_step = 1, status = 'in_progress', next_action_at = started_at"
        )

    async def sweep():
        async with world.tx() as tx:
            await run_due_steps(tx)

    async def pay(debtor):
        async with world.tx() as tx:
            await record_payment(
                tx,
                NewPayment(
                    customer_id=debtor.customer.id,
                    amount_minor=10_000,
                    method="card",
                    reference=debtor.subscription.ref,
                ),
            )

    await asyncio.gather(sweep(), *(pay(debtor) for debtor in debtors), sweep())
    await world.desk.clear()
    for debtor in debtors:
        assert await world.execution(debtor) is None
        assert await world.status(debtor) == "active"


async def test_another_tenants_debtors_are_left_alone(world):

    await world.campaign(("email", 0))
    await world.debtor(due_in_days=-8)
    async with world.tx(2) as tx:
        assert await start_due_executions(tx) == 0
        assert await run_due_steps(tx) == 0
    await world.sweep()
    async with world.tx(2) as tx:
        assert (await list_notifications(tx, Window())).total == 0


async def test_a_step_that_is_cut_off_is_made_again_whole(world):
    """The sweep's transaction dies after the step's effect: neither the lock nor the log line stays."""
    await world.campaign(("suspend_service", 0))
    debtor = await world.debtor(due_in_days=-8)
    async with world.tx() as tx:
        await mark_overdue(tx)
        await start_due_executions(tx)
    execution = await world.execution(debtor)

    async def cut_off():
        async with world.tx() as tx:
            assert await run_due_steps(tx) == 1
            raise RuntimeError("kill -9")

    with pytest.raises(RuntimeError):
        await cut_off()
    assert (await world.log(execution), await world.locks(debtor)) == ([], set())
    await world.desk.clear()
    assert await world.log(execution) == [(0, 0, "suspend_service", "done")]
    assert await world.locks(debtor) == {"non_payment"}
