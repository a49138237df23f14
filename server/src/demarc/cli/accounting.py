"""`demarc accounting …`: packets that could not be booked; no octet is given up before a person says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
import typer
from rich.console import Console
from rich.table import Column, Table

from demarc.bootstrap import Connections, register_everything
from demarc.kernel.settings import load_settings
from demarc.modules.access.accounting import prepare_accounting
from demarc.modules.usage.metering import raise_usage
from demarc.workflows.metering.ingester import Connection
from demarc.workflows.metering.rejects import Reject, list_rejects, retry_reject

app = typer.Typer(no_args_is_help=True)
Tenant = Annotated[int | None, typer.Option("--tenant", help="only lines of the tenant with this number")]
_ALL = 1_000_000


@app.command("rejects")
def rejects(
    tenant: Tenant = None,
    limit: Annotated[int, typer.Option(help="at most so many", min=1, max=10_000)] = 50,
) -> None:
    """Lines kept aside, oldest first, each with its reason."""
    asyncio.run(_show(tenant, limit))


async def _show(tenant: int | None, limit: int) -> None:
    async with _as_ingester() as connection:
        found = await list_rejects(connection, tenant_id=tenant, limit=limit)
    table = Table("node", "file", "octet", "tenant", "since", Column("reason", overflow="fold"))
    for row in found.rows:
        tenant_shown = "" if row.tenant_id is None else str(row.tenant_id)
        place = (row.node, row.spool_file, str(row.spool_offset), tenant_shown)
        table.add_row(*place, f"{row.rejected_at:%Y-%m-%d %H:%M:%S}Z", row.reason)
    Console().print(table)
    typer.echo(f"{len(found.rows)} of {found.total} shown")


@app.command()
def retry(
    tenant: Tenant = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="count them, book nothing")] = False,
) -> None:
    """Book the lines kept aside again, each in its own transaction; what is refused again stays. Exit 1: some stayed."""
    if asyncio.run(_retry(tenant, dry_run=dry_run)):
        raise typer.Exit(1)


async def _retry(tenant: int | None, *, dry_run: bool) -> int:
    async with _as_ingester() as connection:
        found = await list_rejects(connection, tenant_id=tenant, limit=_ALL)
        if dry_run:
            typer.echo(f"{found.total} would be tried")
            return 0
        stayed = [row for row in found.rows if not await _booked(connection, row)]
    typer.echo(f"{len(found.rows) - len(stayed)} of {len(found.rows)} booked")
    return len(stayed)


async def _booked(connection: Connection, row: Reject) -> bool:
    reason = await retry_reject(connection, row, raise_usage)
    if reason is not None:
        typer.echo(f"{row.node} {row.spool_file} {row.spool_offset}: {reason}", err=True)
    return reason is None


@asynccontextmanager
async def _as_ingester() -> AsyncIterator[Connection]:
    register_everything()
    connection = await asyncpg.connect(Connections(load_settings()).ingest, timeout=5)
    try:
        await prepare_accounting(connection)
        yield connection
    finally:
        await connection.close()
