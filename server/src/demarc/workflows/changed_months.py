"""What was agreed changed in a month that is billed already: the rest is billed, or what is too much is credited.

A run bills a month at any time after it has begun. A change of plan or a cancellation after that leaves an invoice that asks for
the whole month at the old fee; here it is brought to what the run would bill now.
"""

from __future__ import annotations

from datetime import datetime

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.outbox import Event, handles
from demarc.modules.billing.inputs import Credit, NewCreditNote, NewInvoice, NewLine
from demarc.modules.billing.queries import BilledFee, find_month_invoice, list_billed_fees, today
from demarc.modules.billing.rules import Month
from demarc.modules.billing.service import create_invoice, credit_invoice, hold_account
from demarc.modules.billing.states import LineKind
from demarc.modules.subscriptions.queries import Subscription, get_subscription_by_id
from demarc.workflows.monthly_billing import month_fees, payment_terms


@handles("subscription.plan_changed")
async def settle_changed_plan(tx: Tx, event: Event) -> None:
    """The days that are left of the month cost what the new plan costs."""
    changed_at = datetime.fromisoformat(event.payload["changed_at"])
    await settle_month(tx, event.entity_id, changed_at, "the plan was changed after the month was billed")


@handles("subscription.canceled")
async def settle_canceled(tx: Tx, event: Event) -> None:
    """A canceled subscription pays to its last day."""
    canceled_at = (await get_subscription_by_id(tx, event.entity_id)).canceled_at
    if canceled_at is not None:
        await settle_month(tx, event.entity_id, canceled_at, "canceled after the month was billed")


async def settle_month(tx: Tx, subscription_id: int, changed_at: datetime, reason: str) -> None:
    """Bring what is billed of the fees of that moment's month to what is agreed now; again changes nothing.

    A month that no run has billed is left to the run.
    """
    owner = await get_subscription_by_id(tx, subscription_id)
    await hold_account(tx, customer_id=owner.customer_id, currency=owner.currency)
    agreed = await get_subscription_by_id(tx, subscription_id)
    period = Month.of(local_date(changed_at, tx.tenant.time_zone))
    if await find_month_invoice(tx, subscription_id, period.first_day) is None:
        return
    starts_at = period.starts_at(tx.tenant.time_zone)
    billed = await list_billed_fees(tx, subscription_id=subscription_id, period_start=starts_at)
    owed_minor = sum(fee.amount_minor for fee in await month_fees(tx, agreed, period))
    difference = owed_minor - sum(fee.charged_minor for fee in billed)
    if difference > 0:
        await _bill_rest(tx, agreed, period, difference, reason)
    elif difference < 0:
        await _credit_excess(tx, billed, -difference, reason)


async def _bill_rest(tx: Tx, agreed: Subscription, period: Month, amount_minor: int, reason: str) -> None:
    line = NewLine(f"Rest of {period}: {reason}", amount_minor, kind=LineKind.RECURRING)
    await create_invoice(
        tx,
        NewInvoice(
            customer_id=agreed.customer_id,
            subscription_id=agreed.id,
            currency=agreed.currency,
            lines=(line,),
            due_on=today(tx) + payment_terms(tx),
            period_start=period.starts_at(tx.tenant.time_zone),
            period_end=period.ends_at(tx.tenant.time_zone),
        ),
    )


async def _credit_excess(tx: Tx, billed: list[BilledFee], excess_minor: int, reason: str) -> None:
    """Off the newest lines first; what a person has credited already is not credited again."""
    parts: dict[str, list[Credit]] = {}
    for fee in billed:
        taken = min(excess_minor, fee.left_minor)
        excess_minor -= taken
        if taken:
            parts.setdefault(fee.invoice_ref, []).append(Credit(fee.position, taken))
    for ref, lines in parts.items():
        await credit_invoice(tx, ref, NewCreditNote(reason, lines=tuple(lines), is_settlement=True))
