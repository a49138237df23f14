"""Every command of the surface in every state of what it acts on: how to bring a thing into a state, and what is legal there.

A walk is driven by its state machine: a state that nobody can bring about, and a legal outcome that the machine does not
know, both fail.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from demarc.kernel.states import StateMachine
from demarc.modules.access.states import SUBSCRIBER, SubscriberStatus
from demarc.modules.billing.states import INVOICE, PAYMENT, InvoiceStatus, PaymentStatus
from demarc.modules.customers.states import CUSTOMER, CustomerStatus
from demarc.modules.dunning.states import EXECUTION, ExecutionStatus
from demarc.modules.services.states import SERVICE_STATES, ServiceStatus
from demarc.modules.subscriptions.states import SUBSCRIPTION_STATES, SubscriptionStatus
from demarc.modules.usage.states import BILLING, BilledStatus

from .inhabited import Town

SAME = object()
"""The command is legal and leaves the state as it is."""


@dataclass(frozen=True)
class Command:
    """A request on one thing, and the state it leads to from each state in which it is legal."""

    send: Callable[[Town, Any], Awaitable[Any]]
    leads: dict[StrEnum, Any]


@dataclass(frozen=True)
class Walk:
    """`bring` makes a thing in a state and answers what the commands need; `read` is its path on the surface."""

    machine: StateMachine[Any]
    key: str
    bring: Callable[[Town, Any], Awaitable[Any]]
    read: Callable[[Any], str]
    commands: dict[str, Command]


def post(action: str, /, **body: Any) -> Callable[[Town, Any], Awaitable[Any]]:
    """POST <path of the thing>/<action>."""

    async def send(town: Town, path: str) -> Any:
        return await town.admin.post(f"{path}/{action}", body)

    return send


async def delete(town: Town, path: str) -> Any:
    return await town.admin.delete(path)


def itself(path: str) -> str:
    return path


# Services. States beneath a lock are set in the table: what leads there is a carrier's doing.
S = ServiceStatus
_PROVISIONING = {S.PROVISIONING: "in_progress", S.PROVISIONING_FAILED: "rolled_back"}
_LOCKS = {S.SUSPENDED: "other", S.SUSPENDED_NON_PAYMENT: "non_payment", S.SUSPENDED_FRAUD: "fraud"}
_LIVING = [status for status in S if status not in (S.TERMINATING, S.TERMINATED)]


async def bring_service(town: Town, status: ServiceStatus) -> str:
    made = await town.sell()
    path = f"/api/services/lifecycle/{made['id']}"
    if status in _LOCKS:
        await town.post(f"{path}/suspend", reason="test", reason_code=_LOCKS[status])
    elif status in (S.TERMINATING, S.TERMINATED):
        ahead = {"termination_date": "2040-01-01T00:00:00Z"} if status is S.TERMINATING else {}
        await town.post(f"{path}/terminate", reason="test", **ahead)
    else:
        await town.execute(
            "UPDATE service SET status = $2, provisioning_status = $3 WHERE uid = $1",
            made["id"],
            status.value,
            _PROVISIONING.get(status, "completed"),
        )
    return path


def _held(shown: ServiceStatus) -> dict[StrEnum, Any]:
    """A lock shows, unless a graver one is on."""
    order = [S.SUSPENDED_FRAUD, S.SUSPENDED_NON_PAYMENT, S.SUSPENDED]
    graver = order[: order.index(shown)]
    return {status: status if status in graver else shown for status in _LIVING}


SERVICES = Walk(
    SERVICE_STATES,
    "status",
    bring_service,
    itself,
    {
        "suspend": Command(post("suspend", reason="asked for"), _held(S.SUSPENDED)),
        "suspend for non-payment": Command(
            post("suspend", reason="overdue", reason_code="non_payment"), _held(S.SUSPENDED_NON_PAYMENT)
        ),
        "suspend for fraud": Command(
            post("suspend", reason="x", fraud_suspension=True), _held(S.SUSPENDED_FRAUD)
        ),
        "resume": Command(post("resume"), dict.fromkeys((S.SUSPENDED, S.SUSPENDED_NON_PAYMENT), S.ACTIVE)),
        "resume from fraud": Command(post("resume", reason_code="fraud"), {S.SUSPENDED_FRAUD: S.ACTIVE}),
        "activate": Command(
            post("activate"), dict.fromkeys((S.PENDING, S.DEGRADED, S.MAINTENANCE, S.FAILED), S.ACTIVE)
        ),
        "terminate": Command(
            post("terminate", reason="test"),
            {status: S.TERMINATED for status in S if status is not S.TERMINATED},
        ),
    },
)

# Dunning executions.
E = ExecutionStatus


async def bring_execution(town: Town, status: ExecutionStatus) -> str:
    owed = await town.owe()
    campaign = await town.post(
        "/api/billing/dunning/campaigns",
        name="Walk",
        trigger_after_days=3000,
        actions=[{"type": "email", "delay_days": 30, "template": "payment_reminder_1"}],
    )
    made = await town.post(
        "/api/billing/dunning/executions",
        campaign_id=campaign["id"],
        subscription_id=owed["subscription_id"],
        customer_id=owed["customer_id"],
        invoice_id=owed["id"],
        outstanding_amount=owed["amount_due"],
    )
    path = f"/api/billing/dunning/executions/{made['id']}"
    if status is E.PAUSED:
        await town.post(f"{path}/pause")
    elif status is E.CANCELED:
        await town.post(f"{path}/cancel")
    elif status is not E.PENDING:
        await town.execute(
            "UPDATE dunning_execution SET status = $2::text, "
            "completed_at = CASE WHEN $2::text <> 'in_progress' THEN started_at END WHERE uid = $1",
            made["id"],
            status.value,
        )
    return path


EXECUTIONS = Walk(
    EXECUTION,
    "status",
    bring_execution,
    itself,
    {
        "pause": Command(post("pause"), {E.PENDING: E.PAUSED, E.IN_PROGRESS: E.PAUSED}),
        "resume": Command(post("resume"), {E.PAUSED: E.PENDING}),
        "cancel": Command(post("cancel"), dict.fromkeys((E.PENDING, E.IN_PROGRESS, E.PAUSED), E.CANCELED)),
    },
)

# Usage records.
B = BilledStatus


@dataclass(frozen=True)
class Used:
    """A record, the invoice it may go on, and another one of the same customer."""

    path: str
    invoice: str
    other: str


async def bring_usage(town: Town, status: BilledStatus) -> Used:
    invoice, other = await town.owe(), None
    other = await town.owe(invoice["subscription_id"])
    record = await town.post(
        "/api/billing/usage/records",
        subscription_id=invoice["subscription_id"],
        usage_type="bandwidth_gb",
        quantity=1,
        unit="GB",
        unit_price=1,
        period_start="2025-10-01T00:00:00Z",
        period_end="2025-10-01T01:00:00Z",
        source_system="walk",
    )
    path = f"/api/billing/usage/records/{record['id']}"
    if status is B.BILLED:
        await town.post(f"{path}/mark-billed", invoice_id=invoice["id"])
    elif status is not B.PENDING:
        changed = await town.admin.patch(path, {"billed_status": status.value})
        assert changed.status_code == 200, changed.text
    return Used(path, invoice["id"], other["id"])


async def mark_billed(town: Town, used: Used) -> Any:
    return await town.admin.post(f"{used.path}/mark-billed", {"invoice_id": used.invoice})


async def mark_billed_elsewhere(town: Town, used: Used) -> Any:
    return await town.admin.post(f"{used.path}/mark-billed", {"invoice_id": used.other})


def set_status(status: BilledStatus) -> Callable[[Town, Used], Awaitable[Any]]:
    async def send(town: Town, used: Used) -> Any:
        return await town.admin.patch(used.path, {"billed_status": status.value, "reason": "test"})

    return send


async def void_its_invoice(town: Town, used: Used) -> Any:
    return await town.admin.post(f"/api/billing/invoices/{used.invoice}/void", {"reason": "test"})


USAGE = Walk(
    BILLING,
    "billed_status",
    bring_usage,
    lambda used: used.path,
    {
        "mark billed": Command(mark_billed, {B.PENDING: B.BILLED, B.BILLED: SAME}),
        "mark billed on another invoice": Command(mark_billed_elsewhere, {B.PENDING: B.BILLED}),
        "exclude": Command(
            set_status(B.EXCLUDED), {B.PENDING: B.EXCLUDED, B.ERROR: B.EXCLUDED, B.EXCLUDED: SAME}
        ),
        "note an error": Command(set_status(B.ERROR), {B.PENDING: B.ERROR, B.ERROR: SAME}),
        "take in again": Command(
            set_status(B.PENDING), {B.ERROR: B.PENDING, B.EXCLUDED: B.PENDING, B.PENDING: SAME}
        ),
        "void its invoice": Command(
            void_its_invoice,
            {B.BILLED: B.PENDING, **{status: SAME for status in B if status is not B.BILLED}},
        ),
    },
)

# Invoices.
I = InvoiceStatus  # noqa: E741 - invoices


async def bring_invoice(town: Town, status: InvoiceStatus) -> dict[str, Any]:
    made = await town.owe(due="2035-01-01" if status is I.PENDING else "2025-10-15")
    path = f"/api/billing/invoices/{made['id']}"
    if status is I.PAID:
        await town.pay_off(made)
    elif status is I.VOID:
        await town.post(f"{path}/void", reason="test")
    elif status is I.REFUNDED:
        await town.post(f"{path}/credit-notes", reason="test")
    elif status is I.OVERDUE:
        await town.post("/api/sandbox/clock/advance", hours=1)
        await town.desk.clear()
    return {**made, "path": path}


def of_invoice(action: str, /, **body: Any) -> Callable[[Town, Any], Awaitable[Any]]:
    async def send(town: Town, invoice: dict[str, Any]) -> Any:
        return await town.admin.post(f"{invoice['path']}/{action}", body)

    return send


async def pay_invoice(town: Town, invoice: dict[str, Any]) -> Any:
    return await town.admin.post("/api/billing/payments", town.payment_of(invoice))


async def due_later(town: Town, invoice: dict[str, Any]) -> Any:
    return await town.admin.patch(invoice["path"], {"due_date": "2036-01-01"})


INVOICES = Walk(
    INVOICE,
    "status",
    bring_invoice,
    lambda invoice: invoice["path"],
    {
        "void": Command(of_invoice("void", reason="test"), {I.PENDING: I.VOID, I.OVERDUE: I.VOID}),
        "credit all of it": Command(
            of_invoice("credit-notes", reason="test"),
            dict.fromkeys((I.PENDING, I.OVERDUE, I.PAID), I.REFUNDED),
        ),
        # Money that came in is taken: what the invoice does not need is the customer's credit.
        "pay all of it": Command(
            pay_invoice, {I.PENDING: I.PAID, I.OVERDUE: I.PAID, I.PAID: SAME, I.REFUNDED: SAME}
        ),
        "due later": Command(due_later, {I.PENDING: SAME, I.OVERDUE: I.PENDING}),
    },
)

# Payments.
P = PaymentStatus


async def bring_payment(town: Town, status: PaymentStatus) -> str:
    made = await town.pay_off(await town.owe(), spare=500)
    path = f"/api/billing/payments/{made['id']}"
    if status is P.REVERSED:
        await town.post(f"{path}/reverse", reason="test")
    elif status is P.REFUNDED:
        credit = await town.post(
            "/api/billing/payments", customer_id=made["customer_id"], amount=7, method="cash"
        )
        path = f"/api/billing/payments/{credit['id']}"
        await town.post(f"{path}/refunds", reason="test")
    return path


PAYMENTS = Walk(
    PAYMENT,
    "status",
    bring_payment,
    itself,
    {
        "reverse": Command(post("reverse", reason="test"), {P.RECEIVED: P.REVERSED}),
        "pay a part back": Command(post("refunds", reason="test", amount=1), {P.RECEIVED: SAME}),
    },
)

# Subscriptions.
A = SubscriptionStatus


async def bring_subscription(town: Town, status: SubscriptionStatus) -> str:
    path = f"/api/subscriptions/{await town.subscribe()}"
    if status is A.CANCELED:
        await town.post(f"{path}/cancel")
    return path


SUBSCRIPTIONS = Walk(
    SUBSCRIPTION_STATES,
    "status",
    bring_subscription,
    itself,
    {"cancel": Command(post("cancel"), {A.ACTIVE: A.CANCELED})},
)

# Subscribers: one that is gone is not there any more, for any command.
U = SubscriberStatus


async def bring_subscriber(town: Town, status: SubscriberStatus) -> str:
    service = await town.sell()
    made = await town.post(
        "/api/subscribers",
        username=f"{service['id'][:8]}@alpha.example",
        customer_id=service["customer_id"],
        service_id=service["id"],
        service_type=service["service_type"],
    )
    path = f"/api/subscribers/{made['id']}"
    if status is U.SUSPENDED:
        await town.post(f"{path}/suspend")
    elif status is U.TERMINATED:
        assert (await town.admin.delete(path)).is_success
    return path


SUBSCRIBERS = Walk(
    SUBSCRIBER,
    "status",
    bring_subscriber,
    itself,
    {
        "suspend": Command(post("suspend"), {U.ACTIVE: U.SUSPENDED}),
        "resume": Command(post("resume"), {U.SUSPENDED: U.ACTIVE}),
        "delete": Command(delete, dict.fromkeys((U.ACTIVE, U.SUSPENDED), U.TERMINATED)),
    },
)

# Customers. Nobody suspends one by hand here yet.
C = CustomerStatus


async def bring_customer(town: Town, status: CustomerStatus) -> str:
    made = await town.post("/api/customers", name="Walk")
    path = f"/api/customers/{made['id']}"
    if status is C.TERMINATED:
        await town.post(f"{path}/erase", reason="asked for")
    elif status is C.SUSPENDED:
        await town.execute("UPDATE customer SET status = 'suspended' WHERE uid = $1", made["id"])
    return path


CUSTOMERS = Walk(
    CUSTOMER,
    "status",
    bring_customer,
    itself,
    {
        "erase": Command(
            post("erase", reason="asked for"), dict.fromkeys((C.ACTIVE, C.SUSPENDED), C.TERMINATED)
        )
    },
)

WALKS = {
    "services": SERVICES,
    "executions": EXECUTIONS,
    "usage records": USAGE,
    "invoices": INVOICES,
    "payments": PAYMENTS,
    "subscriptions": SUBSCRIPTIONS,
    "subscribers": SUBSCRIBERS,
    "customers": CUSTOMERS,
}

NOT_BY_HAND = {
    "billing run": "its job alone moves it: tests/billing/test_monthly.py",
    "notification": "its job alone moves it: tests/notifications/test_notifications.py",
    "provisioning": "steps move it: tests/services/test_steps.py",
    "provisioning step": "the driver moves it: tests/services/test_steps.py",
    "plan change": "canceled by hand, done by its job: tests/services/test_modify.py",
    "bulk order": "its job alone moves it: tests/services/test_bulk.py",
    "user": "PATCH either way: tests/identity",
    "plan": "PATCH either way: tests/catalog/test_plans.py",
}
"""Machines without commands of their own on the surface, by their entity, and where their moves are tried."""

OTHER_WORDS = {
    "INVOICE_VOID": "is void",
    "INVOICE_NOT_OPEN": "only an open one can",
    "REFUND_EXCEEDS_PAYMENT": "can be paid back",
    "CUSTOMER_ERASED": "take on a new one",
}
"""Refusals that tell what is possible instead without the phrase of the state machines, by their code."""
