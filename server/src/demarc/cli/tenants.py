"""`demarc tenant …`: the operators on this installation. A production database begins with none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from demarc.bootstrap import Connections, register_everything
from demarc.kernel.context import system
from demarc.kernel.crypto import load_master_key
from demarc.kernel.db import Database, Tx
from demarc.kernel.errors import Conflict, Invalid, NotFound
from demarc.kernel.paging import Window
from demarc.kernel.settings import load_settings
from demarc.modules.identity.inputs import NewUser
from demarc.modules.identity.queries import find_login, list_users
from demarc.modules.identity.service import invite_user
from demarc.modules.identity.states import Role
from demarc.modules.tenants.inputs import NewTenant
from demarc.modules.tenants.queries import find_tenant, list_tenants
from demarc.modules.tenants.service import create_tenant
from demarc.workflows.tenant_settings import set_for_tenant

app = typer.Typer(no_args_is_help=True)
Slug = Annotated[str, typer.Argument(help="the tenant's short name, as in X-Tenant-ID")]
_ACTOR = system("demarc tenant")


@app.command()
def create(
    slug: Slug,
    admin: Annotated[str, typer.Option(help="e-mail address of its first administrator")],
    name: Annotated[str, typer.Option(help="the operator's name")],
    currency: Annotated[str, typer.Option(help="ISO 4217, for good: EUR, USD, ZAR")],
    time_zone: Annotated[str, typer.Option(help="where its days and months begin: Europe/Berlin")] = "UTC",
    sandbox: Annotated[
        bool, typer.Option("--sandbox/--no-sandbox", help="for trying out: its clock can be moved")
    ] = False,
) -> None:
    """Open a tenant with its first administrator, whose password is printed once."""
    password = asyncio.run(_create(NewTenant(slug, name, currency, time_zone, sandbox), admin))
    typer.echo(
        f"Tenant {slug} is open. {admin} logs in with this password, which is not shown again:\n{password}"
    )


@app.command("list")
def list_() -> None:
    """Every tenant."""
    table = Table("number", "tenant", "sandbox")
    for entry in asyncio.run(_list()):
        table.add_row(str(entry.id), entry.slug, "yes" if entry.is_sandbox else "")
    Console().print(table)


@app.command()
def show(slug: Slug) -> None:
    """What a tenant has chosen; docs/reference/settings.md explains each setting."""
    typer.echo(json.dumps(asyncio.run(_settings(slug)), indent=2, ensure_ascii=False))


@app.command("set")
def set_(
    slug: Slug,
    choices: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...",
            help="as in docs/reference/settings.md; the value is JSON or plain text, null gives the setting up",
        ),
    ],
) -> None:
    """Change settings of a tenant, all or none. Log-ins follow within seconds, by a job of the worker."""
    read = dict(_read(choice) for choice in choices)
    asyncio.run(_set(slug, read))
    typer.echo(f"{slug}: {', '.join(read)} set.")


def _read(choice: str) -> tuple[str, Any]:
    key, equals, value = choice.partition("=")
    if not equals:
        raise Invalid(f"write KEY=VALUE, as in suspended_policy=garden, not {choice!r}")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


@asynccontextmanager
async def _database() -> AsyncIterator[Database]:
    register_everything()
    database = await Database.connect(Connections(load_settings()).app)
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def _tenant(slug: str) -> AsyncIterator[Tx]:
    async with _database() as database:
        entry = await find_tenant(database, slug)
        if entry is None:
            raise NotFound(f"there is no tenant {slug}; `demarc tenant list` shows them")
        async with database.begin(entry.id, _ACTOR) as tx:
            yield tx


async def _create(new: NewTenant, email: str) -> str:
    admin = NewUser(email=email, name="Administrator", role=Role.ADMIN)
    master_key = load_master_key(load_settings().key_file)
    async with _database() as database:
        if await find_login(database, admin.email) is not None:
            raise Conflict(
                f"{admin.email} is on the staff of a tenant already; an address logs in to one tenant"
            )
        # A tenant that was opened, but got no administrator before a crash, gets one now.
        entry = await find_tenant(database, new.slug)
        tenant_id = entry.id if entry is not None else await _open(database, master_key, new)
        async with database.begin(tenant_id, _ACTOR) as tx:
            if (await list_users(tx, Window(0, 1))).total:
                raise Conflict(f"there is a tenant {new.slug} already", code="TENANT_TAKEN")
            _, password = await invite_user(tx, admin)
    return password or ""


async def _open(database: Database, master_key: Any, new: NewTenant) -> int:
    return await create_tenant(
        database,
        master_key,
        slug=new.slug,
        name=new.name,
        currency=new.currency,
        time_zone=new.time_zone,
        is_sandbox=new.is_sandbox,
    )


async def _list() -> list[Any]:
    async with _database() as database:
        return await list_tenants(database)


async def _settings(slug: str) -> dict[str, object]:
    async with _tenant(slug) as tx:
        return tx.tenant.settings


async def _set(slug: str, choices: dict[str, object]) -> None:
    async with _tenant(slug) as tx:
        await set_for_tenant(tx, choices)
