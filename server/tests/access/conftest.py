from __future__ import annotations

import uuid
from datetime import timedelta
from ipaddress import IPv4Address

import pytest
import pytest_asyncio

from demarc.kernel.context import system
from demarc.kernel.crypto import MasterKey
from demarc.kernel.jobs import Work
from demarc.modules.access.inputs import NewNas
from demarc.modules.access.jobs import SendOrder, send_order
from demarc.modules.access.ports import CoaReply, CoaSender
from demarc.modules.access.queries import get_subscriber
from demarc.modules.access.service import create_nas
from demarc.modules.access.states import CoaOutcome

ALPHA, BETA = 1, 2

START_SESSION = """
    INSERT INTO radius_session (tenant_id, id, nas_id, subscriber_id, service_id, username, acct_session_id,
                                started_at, updated_at, calling_station_id, framed_ip)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""


@pytest.fixture
def begin(database):
    """Open a transaction of tenant alpha, or of the tenant given."""
    return lambda tenant_id=ALPHA: database.begin(tenant_id, system("test"))


@pytest.fixture
def row(begin):
    """One row of a query, seen by tenant alpha, as a dict; None when there is none."""

    async def fetch(sql, *args, tenant_id=ALPHA):
        async with begin(tenant_id) as tx:
            found = await tx.connection.fetchrow(sql, *args)
        return None if found is None else dict(found)

    return fetch


@pytest_asyncio.fixture
async def plan(admin):
    answer = await admin.post(
        "/api/plans",
        {
            "plan_id": "plan_fiber_100",
            "name": "Fiber 100",
            "service_type": "fiber_internet",
            "bandwidth_down_mbps": 100,
            "bandwidth_up_mbps": 40,
            "monthly_fee": 4999,
            "activation_fee": 0,
        },
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest_asyncio.fixture
async def customer(admin):
    return (await admin.post("/api/customers", {"name": "Ann"})).json()


@pytest.fixture
def provision(admin, plan, customer):
    """Sell an active service."""

    async def send(**changes):
        answer = await admin.post(
            "/api/services/lifecycle/provision",
            {
                "customer_id": customer["id"],
                "service_type": "fiber_internet",
                "service_name": "Fiber",
                "plan_id": plan["id"],
                "subscription_id": f"sub_{uuid.uuid4().hex}",
                "auto_activate": True,
                **changes,
            },
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    return send


@pytest_asyncio.fixture
async def service(provision):
    return await provision()


@pytest_asyncio.fixture
async def pool(admin):
    answer = await admin.post(
        "/api/pools",
        {"name": "homes", "network": "10.100.0.0/29", "gateway": "10.100.0.1", "is_default": True},
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
def subscribe(admin, customer):
    """`await subscribe(username=…)`: the answer."""

    async def send(**changes):
        body = {
            "username": "jane@alpha.example",
            "password": "secure_pass_456",
            "customer_id": customer["id"],
            "service_type": "fiber_internet",
        }
        return await admin.post("/api/subscribers", {**body, **changes})

    return send


@pytest_asyncio.fixture
async def subscriber(subscribe, service):
    """A subscriber of the active service."""
    answer = await subscribe()
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest_asyncio.fixture
async def nas(begin, master_key):
    async with begin() as tx:
        return await create_nas(tx, master_key, NewNas("bras-1", IPv4Address("127.0.0.21"), "testing123"))


@pytest.fixture
def dial(begin, nas):
    """Put a live session of a subscriber (as answered by the API) on a NAS; its id."""

    async def start(shown, *, device="00-11", address=None, at=None, acct_session_id=None, on=None):
        async with begin() as tx:
            row = await get_subscriber(tx, uuid.UUID(shown["id"]))
            session_id = uuid.uuid4()
            started_at = tx.now + (at or timedelta(0))
            await tx.connection.execute(
                START_SESSION,
                ALPHA,
                session_id,
                (on or nas).id,
                row.id,
                row.service_id,
                row.username,
                acct_session_id or session_id.hex[:8],
                started_at,
                started_at,
                device,
                address,
            )
            return session_id

    return start


@pytest.fixture
def hang_up(begin):
    """The session's Stop was booked."""

    async def stop(session_id):
        async with begin() as tx:
            await tx.connection.execute("DELETE FROM radius_session WHERE id = $1", session_id)

    return stop


@pytest.fixture
def login(row):
    """The projection of a user name, or None."""

    async def fetch(username="jane@alpha.example"):
        return await row("SELECT * FROM aaa_login WHERE username = $1", username)

    return fetch


@pytest.fixture
def orders(begin):
    """Orders to NAS, oldest first."""

    async def fetch():
        async with begin() as tx:
            return [
                dict(found) for found in await tx.connection.fetch("SELECT * FROM coa_request ORDER BY id")
            ]

    return fetch


@pytest.fixture
def settings_of(scratch):
    """Change settings of tenant alpha."""
    import asyncpg
    import msgspec

    async def change(**settings):
        connection = await asyncpg.connect(scratch.owner_dsn)
        await connection.execute("SELECT set_config('app.tenant', '1', false)")
        await connection.execute("SET ROLE demarc_app")
        await connection.execute(
            "UPDATE tenant SET settings = settings || $1::jsonb WHERE id = 1",
            msgspec.json.encode(settings).decode(),
        )
        await connection.close()

    return change


class Recorder:
    """A sender that notes what it was given and answers as told; the real one is tried in test_orders_on_the_wire."""

    def __init__(self):
        self.sent = []
        self.replies = []

    async def send(self, order):
        self.sent.append(order)
        return self.replies.pop(0) if self.replies else CoaReply(CoaOutcome.ACK, 1)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def work(database, master_key, recorder):
    """What a job's handler gets; `work(last=True)` for the last attempt."""

    def make(*, last=False, sender=None):
        return Work(
            database=database,
            tenant_id=ALPHA,
            request_id="test",
            attempt=0,
            is_last_attempt=last,
            actor=system("access.send_order"),
            ports={MasterKey: master_key, CoaSender: sender or recorder},
        )

    return make


@pytest.fixture
def run(work):
    """Run the job of an order."""

    async def send(order_id, **options):
        await send_order.handler(work(**options), SendOrder(order_id))

    return send


@pytest.fixture
def queued(begin):
    """The order ids of the jobs that wait."""
    import msgspec

    async def fetch():
        async with begin() as tx:
            rows = await tx.connection.fetch(
                "SELECT payload FROM pgqueuer WHERE entrypoint = 'access.send_order' AND status = 'queued' ORDER BY id"
            )
        return [msgspec.json.decode(found["payload"])["body"]["order_id"] for found in rows]

    return fetch
