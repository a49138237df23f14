"""The sandbox tenants: filled once, so that every example of the API documents runs as printed against a fresh start."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Annotated
from uuid import UUID

import typer

from demarc.bootstrap import Connections, register_everything
from demarc.kernel.clock import local_date
from demarc.kernel.context import system
from demarc.kernel.crypto import MasterKey, load_master_key
from demarc.kernel.db import Database, Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.settings import Settings, load_settings
from demarc.modules.access.inputs import NewNas
from demarc.modules.access.service import create_nas
from demarc.modules.addressing.inputs import NewPool
from demarc.modules.addressing.service import create_pool
from demarc.modules.addressing.states import PoolKind
from demarc.modules.billing.inputs import NewInvoice, NewLine
from demarc.modules.billing.service import create_invoice, set_tax_rule
from demarc.modules.catalog.inputs import NewPlan, NewPrice, NewUsagePrice
from demarc.modules.catalog.queries import get_plan
from demarc.modules.catalog.service import create_plan
from demarc.modules.customers.inputs import NewCustomer
from demarc.modules.customers.queries import Customer
from demarc.modules.customers.service import create_customer
from demarc.modules.identity.queries import find_login
from demarc.modules.identity.service import create_user
from demarc.modules.identity.states import Role
from demarc.modules.subscriptions.queries import Subscription
from demarc.modules.subscriptions.service import open_subscription
from demarc.modules.tenants.queries import find_tenant
from demarc.modules.tenants.service import create_tenant
from demarc.web.platform import SandboxLogin
from demarc.workflows.sandbox_clock import advance_clock

app = typer.Typer(no_args_is_help=True)

PASSWORD = "secure_password"  # noqa: S105 - printed in the documents; a sandbox is open by design
NAS_SECRET = "testing123"  # noqa: S105 - likewise
ALPHA, BETA = 1, 2
DOCUMENT_TAG = "documents"
"""On the customers that the API documents name: the tour's campaign leaves them alone."""
MBIT = 1_000_000
_SEEDER = system("sandbox")
_CUSTOMERS = range(3, 101)


@dataclass(frozen=True, slots=True)
class SandboxTenant:
    """What tells one sandbox tenant from the other."""

    id: int
    slug: str
    name: str
    currency: str
    time_zone: str
    admin: str
    realm: str
    pool: str
    prefixes: str
    nas: tuple[tuple[str, str], ...]


TENANTS = (
    SandboxTenant(
        ALPHA,
        "demo-alpha",
        "Alpha Fibre",
        "USD",
        "America/Chicago",
        "admin@example.com",
        "alpha.com",
        "10.100.0.0/22",
        "2001:db8:8000::/40",
        (("localhost", "127.0.0.1"), ("bng-alpha-1", "127.0.0.11"), ("bng-alpha-2", "127.0.0.12")),
    ),
    SandboxTenant(
        BETA,
        "demo-beta",
        "Beta Wireless",
        "ZAR",
        "Africa/Johannesburg",
        "admin@beta.example.com",
        "beta.example",
        "10.200.0.0/24",
        "2001:db8:9000::/40",
        (("bng-beta-1", "127.0.0.21"),),
    ),
)

PLANS = (
    ("plan_fiber_100", "Fiber 100", 100, 50, 7999),
    ("plan_fiber_200", "Fiber 200", 200, 100, 9999),
    ("plan_fiber_500", "Fiber 500", 500, 250, 14999),
    ("plan_test", "Test plan", 100, 50, 4999),
)
USAGE_PRICE = Decimal("0.05")
DOCUMENT_CUSTOMERS = (
    (1, UUID("660e8400-e29b-41d4-a716-446655440000"), "Jane Smith", "jane.smith@alpha.com"),
    (2, UUID("770e8400-e29b-41d4-a716-446655440000"), "John Doe", "john.doe@alpha.com"),
    (123, None, "John Doe Senior", "john@example.com"),
)
# reference, customer id, plan
DOCUMENT_SUBSCRIPTIONS = (
    ("sub_abc123", 1, "plan_fiber_100"),
    ("sub_001", 1, "plan_fiber_100"),
    ("sub_002", 2, "plan_fiber_100"),
    ("sub_test", 1, "plan_test"),
)
# reference, subscription, amount before tax. Due yesterday: overdue at once, and no campaign starts by itself on day one.
DOCUMENT_INVOICES = (
    ("in_xyz789", "sub_abc123", 10_000),
    ("in_001", "sub_001", 10_000),
    ("in_002", "sub_002", 15_000),
)


def sandbox_logins() -> tuple[SandboxLogin, ...]:
    """Who may log in to what `seed` makes."""
    return tuple(SandboxLogin(spec.slug, spec.name, spec.admin, PASSWORD) for spec in TENANTS)


async def seed(settings: Settings) -> None:
    """Fill both tenants, unless they are filled. Each is one transaction: a kill leaves all of it or nothing."""
    register_everything()
    key = load_master_key(settings.key_file)
    database = await Database.connect(Connections(settings).app)
    try:
        for spec in TENANTS:
            await _seed_tenant(database, key, spec)
    finally:
        await database.close()


async def _seed_tenant(database: Database, key: MasterKey, spec: SandboxTenant) -> None:
    if await find_tenant(database, spec.slug) is None:
        await create_tenant(
            database,
            key,
            slug=spec.slug,
            name=spec.name,
            currency=spec.currency,
            time_zone=spec.time_zone,
            is_sandbox=True,
            tenant_id=spec.id,
            settings={
                "realm": spec.realm,
                "company_name": spec.name,
                "mail_from": f"billing@{spec.realm}",
                "chap_enabled": True,
                "suspended_policy": "reject",
                "default_plans": {"fiber_internet": "plan_fiber_100"},
            },
        )
    if await find_login(database, spec.admin) is not None:
        return
    async with database.begin(spec.id, _SEEDER) as tx:
        await create_user(tx, email=spec.admin, name="Administrator", password=PASSWORD, role=Role.ADMIN)
        await _seed_network(tx, key, spec)
        await _seed_catalog(tx)
        if spec.id == ALPHA:
            await _seed_documents(tx)
        else:
            await _seed_customers(tx, spec, range(1, 11))


async def _seed_network(tx: Tx, key: MasterKey, spec: SandboxTenant) -> None:
    await create_pool(tx, NewPool(name="residential_pool_1", network=IPv4Network(spec.pool), is_default=True))
    await create_pool(
        tx,
        NewPool(
            name="residential_prefixes_1",
            network=IPv6Network(spec.prefixes),
            kind=PoolKind.DELEGATED_PREFIX,
            is_default=True,
        ),
    )
    for name, address in spec.nas:
        await create_nas(tx, key, NewNas(name=name, source_ip=IPv4Address(address), secret=NAS_SECRET))


async def _seed_catalog(tx: Tx) -> None:
    start = _today(tx) - timedelta(days=365)
    await set_tax_rule(tx, name="Sales tax", rate=Decimal("0.08"), effective_on=start)
    for ref, name, down, up, monthly in PLANS:
        await create_plan(
            tx,
            NewPlan(
                ref=ref,
                name=name,
                service_type="fiber_internet",
                download_bps=down * MBIT,
                upload_bps=up * MBIT,
                price=NewPrice(monthly_minor=monthly, effective_on=start),
                usage_prices=(
                    NewUsagePrice(
                        usage_type="bandwidth_gb", unit="GB", unit_price=USAGE_PRICE, effective_on=start
                    ),
                ),
            ),
        )


async def _seed_documents(tx: Tx) -> None:
    """Everything that document 002 names, and customers up to 100."""
    customers: dict[int, Customer] = {}
    for customer_id, uid, name, email in DOCUMENT_CUSTOMERS:
        customers[customer_id] = await create_customer(
            tx,
            NewCustomer(name=name, email=email, phone="+13125550100", tags=(DOCUMENT_TAG,)),
            uid=uid,
            customer_id=customer_id,
        )
    await _seed_customers(tx, TENANTS[0], _CUSTOMERS)
    subscriptions: dict[str, Subscription] = {}
    for ref, customer_id, plan_ref in DOCUMENT_SUBSCRIPTIONS:
        subscriptions[ref] = await open_subscription(
            tx, ref=ref, customer_id=customers[customer_id].id, plan_id=(await get_plan(tx, plan_ref)).id
        )
    yesterday = _today(tx) - timedelta(days=1)
    for ref, subscription_ref, amount in DOCUMENT_INVOICES:
        subscription = subscriptions[subscription_ref]
        await create_invoice(
            tx,
            NewInvoice(
                ref=ref,
                customer_id=subscription.customer_id,
                subscription_id=subscription.id,
                issued_on=yesterday - timedelta(days=14),
                due_on=yesterday,
                lines=(NewLine(description="Service of last month", amount_minor=amount),),
            ),
        )


async def _seed_customers(tx: Tx, spec: SandboxTenant, numbers: range) -> None:
    for number in numbers:
        await create_customer(
            tx,
            NewCustomer(
                name=f"Customer {number:03}",
                email=f"customer.{number}@{spec.realm}",
                phone=f"+1312555{number:04}",
            ),
            customer_id=number,
        )


def _today(tx: Tx) -> date:
    return local_date(tx.now, tx.tenant.time_zone)


@app.command("fill")
def fill() -> None:
    """Fill demo-alpha and demo-beta (`demarc up --sandbox` does it by itself)."""
    asyncio.run(seed(load_settings()))
    typer.echo("demo-alpha and demo-beta are filled.")


@app.command("clock")
def clock(
    days: Annotated[int, typer.Option(min=0, help="move forward by so many days")] = 0,
    hours: Annotated[int, typer.Option(min=0, help="and so many hours")] = 0,
    tenant: Annotated[str, typer.Option(help="which sandbox tenant")] = "demo-alpha",
) -> None:
    """Move a sandbox tenant's business time forward, or show it."""
    asyncio.run(_clock(tenant, timedelta(days=days, hours=hours)))


async def _clock(slug: str, by: timedelta) -> None:
    register_everything()
    database = await Database.connect(Connections(load_settings()).app)
    try:
        entry = await find_tenant(database, slug)
        if entry is None:
            raise NotFound(f"no tenant {slug}")
        async with database.begin(entry.id, _SEEDER) as tx:
            if by:
                await advance_clock(tx, by)
            typer.echo(f"{slug}: business time {(tx.now + by).isoformat(timespec='seconds')}")
    finally:
        await database.close()
