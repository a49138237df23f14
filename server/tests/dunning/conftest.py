from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from demarc.kernel.context import system
from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Database
from demarc.kernel.jobs import Work
from demarc.kernel.paging import Window
from demarc.modules.billing.inputs import NewInvoice, NewLine, NewPayment
from demarc.modules.billing.service import create_invoice, record_payment
from demarc.modules.catalog.inputs import NewPlan, NewPrice
from demarc.modules.catalog.service import create_plan
from demarc.modules.customers.inputs import NewCustomer
from demarc.modules.customers.service import create_customer
from demarc.modules.dunning.inputs import Action, NewCampaign
from demarc.modules.dunning.queries import find_running_execution, get_execution, list_actions
from demarc.modules.dunning.service import create_campaign
from demarc.modules.dunning.states import ActionType
from demarc.modules.services.inputs import NewService
from demarc.modules.services.queries import get_service_by_id, list_open_locks
from demarc.modules.services.service import activate_service, create_service
from demarc.modules.subscriptions.service import open_subscription
from demarc.workflows.non_payment import sweep_tenant
from demarc.workflows.sandbox_clock import advance_clock

from ..notifications.post import Desk, Trap, ports_to  # noqa: TID252 - the tests' own desk

ALPHA = 1


@dataclass
class Debtor:
    """A customer with one active service and, if asked for, an invoice."""

    customer: Any
    subscription: Any
    service: Any
    invoice: Any = None


@dataclass
class World:
    """Tenant alpha with a movable clock, a desk that runs its jobs, and those who owe."""

    database: Database
    desk: Desk
    trap: Trap
    plan: Any = None
    made: int = 0
    debtors: list[Debtor] = field(default_factory=list)

    @asynccontextmanager
    async def tx(self, tenant=ALPHA):
        async with self.database.begin(tenant, system("test")) as tx:
            yield tx

    async def debtor(self, *, due_in_days=-1, amount=10_000, **customer) -> Debtor:
        """Who owes `amount` since the day before yesterday's due date, unless said otherwise; tax is 0."""
        self.made += 1
        name = customer.pop("name", f"Debtor {self.made}")
        customer.setdefault("email", f"debtor.{self.made}@example.com")
        async with self.tx() as tx:
            if self.plan is None:
                self.plan = await create_plan(tx, self._plan())
            who = await create_customer(tx, NewCustomer(name=name, phone="+15550100", **customer))
            subscription = await open_subscription(
                tx, ref=f"sub_{self.made}", customer_id=who.id, plan_id=self.plan.id
            )
            service = await create_service(tx, self._service(who, subscription))
            service = await activate_service(tx, service.id)
        made = Debtor(who, subscription, service)
        made.invoice = await self.bill(made, amount=amount, due_in_days=due_in_days)
        self.debtors.append(made)
        return made

    def _plan(self):
        return NewPlan(
            ref="plan_1",
            name="Fiber",
            service_type="fiber_internet",
            download_bps=100_000_000,
            upload_bps=50_000_000,
            price=NewPrice(0),
        )

    def _service(self, who, subscription):
        return NewService(
            customer_id=who.id,
            subscription_id=subscription.id,
            plan_id=self.plan.id,
            service_type="fiber_internet",
            name="Fiber",
            download_bps=100_000_000,
            upload_bps=50_000_000,
        )

    async def bill(self, debtor, *, amount=10_000, due_in_days=-1):
        async with self.tx() as tx:
            self.made += 1
            due_on = tx.now.date() + timedelta(days=due_in_days)
            return await create_invoice(
                tx,
                NewInvoice(
                    customer_id=debtor.customer.id,
                    subscription_id=debtor.subscription.id,
                    lines=(NewLine("Fiber", amount),),
                    due_on=due_on,
                    issued_on=min(due_on, tx.now.date()),
                    ref=f"in_{self.made}",
                ),
            )

    async def pay(self, debtor, amount=None, *, invoice=None):
        """The worker does what follows, too."""
        async with self.tx() as tx:
            self.made += 1
            invoice = invoice or debtor.invoice
            await record_payment(
                tx,
                NewPayment(
                    customer_id=debtor.customer.id,
                    amount_minor=invoice.total_minor if amount is None else amount,
                    method="card",
                    reference=f"pay-{self.made}",
                    invoice_id=invoice.id,
                ),
            )
        await self.desk.clear()

    async def campaign(self, *steps, **changes):
        """`steps`: (type, delay_days) or (type, delay_days, template)."""
        actions = tuple(
            Action(ActionType(kind), delay, *more)
            if more or kind not in ("email", "sms")
            else Action(ActionType(kind), delay, "payment_reminder_1" if kind == "email" else "payment_alert")
            for kind, delay, *more in steps
        )
        new = NewCampaign(name=changes.pop("name", "Recovery"), trigger_after_days=7, actions=actions)
        async with self.tx() as tx:
            return await create_campaign(tx, replace(new, **changes))

    async def advance(self, *, run_jobs=True, **by):
        """Move the clock; its sweep runs as the job that the move queued, and all that follows."""
        async with self.tx() as tx:
            await advance_clock(tx, timedelta(**by))
        if run_jobs:
            await self.desk.clear()

    async def sweep(self):
        """What the worker's schedule does every minute."""
        swept = await sweep_tenant(self.work())
        await self.desk.clear()
        return swept

    def work(self) -> Work:
        return Work(self.database, ALPHA, "", 0, False, system("sweep"), self.desk.ports)

    async def execution(self, debtor):
        async with self.tx() as tx:
            return await find_running_execution(tx, debtor.subscription.id)

    async def reload(self, execution):
        async with self.tx() as tx:
            return await get_execution(tx, execution.uid)

    async def log(self, execution):
        """(step, attempt, type, outcome) of every line."""
        async with self.tx() as tx:
            page = await list_actions(tx, Window(), execution_id=execution.id)
        return [(row.step, row.attempt, row.type, row.outcome) for row in page.rows]

    async def status(self, debtor):
        async with self.tx() as tx:
            return (await get_service_by_id(tx, debtor.service.id)).status

    async def locks(self, debtor):
        async with self.tx() as tx:
            return {lock.kind for lock in await list_open_locks(tx, debtor.service.id)}

    async def set(self, **settings):
        """Change the tenant's settings."""
        async with self.tx() as tx:
            await tx.connection.execute(
                "UPDATE tenant SET settings = settings || $2 WHERE id = $1", ALPHA, settings
            )


@pytest_asyncio.fixture
async def world(database, tmp_path, master_key):
    trap = Trap(tmp_path / "mail")
    await trap.open()
    yield World(database, Desk(database, {**ports_to(trap.mailer), MasterKey: master_key}), trap)
    await trap.close()


@pytest.fixture
def ids():
    """What an execution is started with on the surface."""

    def of(campaign, debtor, amount=10_000):
        return {
            "campaign_id": str(campaign["id"] if isinstance(campaign, dict) else campaign.uid),
            "subscription_id": debtor.subscription.ref,
            "customer_id": str(debtor.customer.uid),
            "invoice_id": debtor.invoice.ref,
            "outstanding_amount": amount,
        }

    return of
