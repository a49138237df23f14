"""The platform on the system's PostgreSQL 15 behind `DATABASE_URL`, whose owner is no superuser, as on a managed server."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import asyncpg
import httpx
import pytest
import pytest_asyncio

from demarc.adapters.postgres.cluster import OWNER_ROLE
from demarc.adapters.postgres.external import check_server
from demarc.adapters.postgres.home import remove_home
from demarc.bootstrap import Connections, build_app
from demarc.cli.up import prepare_database
from demarc.kernel.context import system
from demarc.kernel.crypto import load_master_key
from demarc.kernel.db import Database
from demarc.kernel.errors import Forbidden
from demarc.kernel.rls import LOGIN_ROLES, ROLES
from demarc.kernel.schema import TENANT_SCOPED
from demarc.kernel.settings import Settings
from demarc.modules.identity.service import create_user
from demarc.modules.identity.states import Role
from demarc.modules.registry import complete_metadata
from demarc.modules.tenants.queries import list_tenants
from demarc.modules.tenants.service import create_tenant

from .debian_postgres import INSTALLED, MAJOR, MISSING, DebianCluster

pytestmark = pytest.mark.skipif(not INSTALLED, reason=MISSING)
PASSWORD = "an owner's own"
TESTER = system("test")


@pytest_asyncio.fixture(scope="module")
async def settings() -> AsyncIterator[Settings]:
    """Of a platform on a database that an administrator has made for a role with CREATEROLE."""
    place = Path(tempfile.mkdtemp(prefix="demarc-system-"))
    place.chmod(0o711)
    server = DebianCluster(place, durable=False)
    await server.start()
    try:
        administrator = await asyncpg.connect(server.dsn(OWNER_ROLE, "postgres"))
        await administrator.execute(f"CREATE ROLE isp LOGIN CREATEROLE PASSWORD '{quote(PASSWORD)}'")
        await administrator.execute("CREATE DATABASE isp OWNER isp")
        await administrator.close()
        url = server.dsn("isp", "isp", quote(PASSWORD))
        made = Settings(data_dir=place, DATABASE_URL=url, sandbox=True)
        await prepare_database(made)
        yield made
    finally:
        await server.stop()
        remove_home(place)
        shutil.rmtree(place)


@pytest_asyncio.fixture(scope="module")
async def database(settings: Settings) -> AsyncIterator[Database]:
    """As the app role, with the tenants 1 and 2, each with an administrator."""
    opened = await Database.connect(Connections(settings).app)
    key = load_master_key(settings.key_file, create=False)
    for tenant_id, slug in ((1, "alpha"), (2, "beta")):
        await create_tenant(
            opened,
            key,
            slug=slug,
            name=slug.title(),
            currency="USD",
            time_zone="UTC",
            is_sandbox=True,
            settings={},
            tenant_id=tenant_id,
        )
        async with opened.begin(tenant_id, TESTER) as tx:
            email = f"admin@{slug}.example.com"
            await create_user(tx, email=email, name="Admin", password="right horse", role=Role.ADMIN)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def admin(settings: Settings, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(settings, database, load_master_key(settings.key_file, create=False))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://demarc") as client:
        login = {"username": "admin@alpha.example.com", "password": "right horse"}
        token = (await client.post("/api/auth/token", json=login)).json()["access_token"]
        client.headers.update({"Authorization": f"Bearer {token}", "X-Tenant-ID": "alpha"})
        yield client


async def as_owner(settings: Settings, sql: str) -> list[asyncpg.Record]:
    owner = await asyncpg.connect(Connections(settings).owner)
    try:
        return await owner.fetch(sql)
    finally:
        await owner.close()


async def test_the_server_is_taken_for_what_it_is_and_migrations_repeat(settings: Settings):
    facts = await check_server(Connections(settings).owner, LOGIN_ROLES)
    assert (facts.version, facts.superuser, facts.missing_roles) == (int(MAJOR), False, ())
    await prepare_database(settings)


async def test_no_role_is_above_row_level_security(settings: Settings):
    roles = await as_owner(settings, "SELECT rolname, rolsuper OR rolbypassrls AS above FROM pg_roles")
    above = {row["rolname"]: row["above"] for row in roles}
    assert {role: above[role] for role in (*ROLES, "isp")} == dict.fromkeys((*ROLES, "isp"), False)


async def test_row_level_security_is_forced_on_the_owner_too(settings: Settings, database: Database):
    rows = await as_owner(
        settings, "SELECT relname, relrowsecurity AND relforcerowsecurity AS forced FROM pg_class"
    )
    forced = {row["relname"]: row["forced"] for row in rows}
    tables = [table for table in complete_metadata().tables.values() if table.info.get(TENANT_SCOPED)]
    assert [table.name for table in tables if not forced[table.name]] == []
    assert (await as_owner(settings, "SELECT count(*) FROM app_user"))[0][0] == 0


async def test_text_search_works_without_the_leakproof_mark(settings: Settings, admin: httpx.AsyncClient):
    marks = await as_owner(settings, "SELECT proleakproof FROM pg_proc WHERE proname = 'texticlike'")
    assert {row[0] for row in marks} == {False}
    made = (await admin.post("/api/customers", json={"name": "Ann Searched"})).json()
    found = (await admin.get("/api/customers", params={"search": "searched"})).json()
    assert [row["id"] for row in found["customers"]] == [made["id"]]


async def test_directory_functions_find_a_tenant_and_nothing_else_does(database: Database):
    assert [tenant.slug for tenant in await list_tenants(database)] == ["alpha", "beta"]
    async with database.directory() as stranger:
        assert await stranger.fetchval("SELECT tenant_id FROM find_login('admin@beta.example.com')") == 2
        assert await stranger.fetchval("SELECT count(*) FROM app_user") == 0
        await stranger.execute("SELECT create_session_partitions($1, 3)", datetime.now(UTC).date())
    with pytest.raises(Forbidden):
        async with database.begin(99, TESTER):
            pass


async def test_a_customer_is_billed_and_pays(admin: httpx.AsyncClient):
    customer = (await admin.post("/api/customers", json={"name": "Bob"})).json()["id"]
    bill = {
        "customer_id": customer,
        "amount": 4999,
        "due_date": (datetime.now(UTC) + timedelta(days=14)).date().isoformat(),
        "line_items": [{"description": "Fiber", "amount": 4999}],
    }
    invoice = await admin.post("/api/billing/invoices", json=bill)
    assert invoice.status_code == 201, invoice.text
    paid = await admin.post(
        "/api/billing/payments",
        json={
            "invoice_id": invoice.json()["id"],
            "amount": invoice.json()["amount"],
            "method": "card",
            "reference": "r",
        },
    )
    assert paid.status_code == 201, paid.text
    after = (await admin.get(f"/api/billing/invoices/{invoice.json()['id']}")).json()
    assert after["status"] == "paid"
