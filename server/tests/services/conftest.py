from __future__ import annotations

from uuid import UUID

import pytest
import pytest_asyncio

from demarc.kernel.context import system
from demarc.kernel.jobs import Work
from demarc.modules.services.queries import get_service
from demarc.modules.services.service import place_lock, terminate_service
from demarc.modules.services.states import LockKind, ServiceStatus

ALPHA = 1
LOCKED = {
    ServiceStatus.SUSPENDED: LockKind.OTHER,
    ServiceStatus.SUSPENDED_NON_PAYMENT: LockKind.NON_PAYMENT,
    ServiceStatus.SUSPENDED_FRAUD: LockKind.FRAUD,
}
PROVISIONING = {
    ServiceStatus.PROVISIONING: "in_progress",
    ServiceStatus.PROVISIONING_FAILED: "rolled_back",
}
SET_BENEATH = "UPDATE service SET status = $2, provisioning_status = $3 WHERE id = $1"


@pytest_asyncio.fixture
async def customer(admin):
    """A customer of tenant alpha."""
    return (await admin.post("/api/customers", {"name": "Ann", "email": "ann@example.com"})).json()


async def sell_plan(caller, plan_id="plan_fiber_100", **changes):
    body = {
        "plan_id": plan_id,
        "name": "Fiber 100",
        "service_type": "fiber_internet",
        "bandwidth_down_mbps": 100,
        "bandwidth_up_mbps": 40,
        "monthly_fee": 4999,
        "activation_fee": 2500,
    }
    answer = await caller.post("/api/plans", {**body, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest_asyncio.fixture
async def plan(admin):
    """The document's plan, on sale in tenant alpha."""
    return await sell_plan(admin)


@pytest.fixture
def order(admin, customer, plan):
    """Order a service as the document does."""

    async def send(**changes):
        return await admin.post(
            "/api/services/lifecycle/provision",
            {
                "customer_id": customer["id"],
                "service_type": "fiber_internet",
                "service_name": "Fiber Internet 100 Mbps",
                "plan_id": plan["id"],
                "auto_activate": True,
                **changes,
            },
        )

    return send


@pytest_asyncio.fixture
async def service(order):
    """An active service."""
    answer = await order()
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
def begin(database):
    """Open a transaction of tenant alpha."""
    return lambda: database.begin(ALPHA, system("test"))


@pytest.fixture
def act(admin, service):
    """`await act("suspend", reason="…")` on the service."""

    async def send(command, **body):
        return await admin.post(f"/api/services/lifecycle/{service['id']}/{command}", body)

    return send


@pytest.fixture
def bring(begin):
    """Put a service into any status, with what belongs to it."""

    async def to(status, service):
        async with begin() as tx:
            row = await get_service(tx, UUID(service["id"]))
            if status in LOCKED:
                await place_lock(tx, service_id=row.id, kind=LOCKED[status], reason="test")
            elif status is ServiceStatus.TERMINATING:
                ahead = tx.now.replace(year=tx.now.year + 1)
                await terminate_service(tx, service_id=row.id, reason="test", at=ahead)
            elif status is ServiceStatus.TERMINATED:
                await terminate_service(tx, service_id=row.id, reason="test")
            else:
                provisioning = PROVISIONING.get(status, "completed")
                await tx.connection.execute(SET_BENEATH, row.id, status.value, provisioning)
            after = await get_service(tx, row.uid)
            assert after.status == status
            return after

    return to


@pytest.fixture
def work(database):
    """What a job's handler gets; `work(last=True)` for the last attempt."""

    def make(*, last=False):
        return Work(
            database=database,
            tenant_id=ALPHA,
            request_id="test",
            attempt=9 if last else 0,
            is_last_attempt=last,
            actor=system("services.provision"),
            ports={},
        )

    return make
