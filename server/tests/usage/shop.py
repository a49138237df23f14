"""Somebody to bill: a customer with a plan, a subscription and a service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from demarc.kernel.context import system
from demarc.modules.catalog.inputs import NewPlan, NewPrice, NewUsagePrice
from demarc.modules.catalog.service import create_plan
from demarc.modules.customers.inputs import NewCustomer
from demarc.modules.customers.service import create_customer
from demarc.modules.services.inputs import NewService
from demarc.modules.services.service import create_service
from demarc.modules.subscriptions.service import open_subscription

ALPHA, BETA = 1, 2


@dataclass
class Sold:
    """A customer with a plan, a subscription and a service."""

    customer: Any
    plan: Any
    subscription: Any
    service: Any

    def usage(self, **changes: Any) -> dict[str, Any]:
        """A record as document 002 posts it."""
        return {
            "subscription_id": self.subscription.ref,
            "customer_id": str(self.customer.uid),
            "usage_type": "bandwidth_gb",
            "quantity": 6.0,
            "unit": "GB",
            "unit_price": 0.05,
            "period_start": "2025-10-14T08:00:00Z",
            "period_end": "2025-10-14T18:30:00Z",
            "source_system": "test",
            **changes,
        }


async def sell(
    database, ref="sub_abc123", tenant=ALPHA, monthly=4999, activation=0, usage_price="0.05"
) -> Sold:
    async with database.begin(tenant, system("test")) as tx:
        customer = await create_customer(tx, NewCustomer(name=f"Customer of {ref}"))
        since = datetime(2020, 1, 1, tzinfo=UTC).date() if tx.tenant.is_sandbox else None
        plan = await create_plan(
            tx,
            NewPlan(
                ref=f"plan_{uuid4().hex[:8]}",
                name="Fiber 100",
                service_type="fiber_internet",
                download_bps=100_000_000,
                upload_bps=50_000_000,
                price=NewPrice(monthly, activation, since),
                usage_prices=(NewUsagePrice("bandwidth_gb", "GB", Decimal(usage_price), since),),
            ),
        )
        subscription = await open_subscription(tx, ref=ref, customer_id=customer.id, plan_id=plan.id)
        service = await create_service(
            tx,
            NewService(
                customer_id=customer.id,
                subscription_id=subscription.id,
                plan_id=plan.id,
                service_type="fiber_internet",
                name="Fiber",
                download_bps=100_000_000,
                upload_bps=50_000_000,
            ),
        )
    return Sold(customer, plan, subscription, service)
