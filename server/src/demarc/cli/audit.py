"""`demarc audit …`: what an auditor asks the log of writes."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from demarc.bootstrap import Connections
from demarc.kernel.context import system
from demarc.kernel.db import Database
from demarc.kernel.errors import Invalid, NotFound
from demarc.kernel.settings import load_settings
from demarc.modules.audit.seal import ChainBreak, verify_audit_log
from demarc.modules.tenants.queries import find_tenant

app = typer.Typer(no_args_is_help=True)


@app.command()
def verify(
    tenant: Annotated[str, typer.Option(help="the tenant's short name, as in X-Tenant-ID")],
    anchor: Annotated[
        str | None, typer.Option(help="hash of a seal, from a log kept elsewhere (`audit log sealed`)")
    ] = None,
) -> None:
    """Recompute every seal of a tenant's audit log. Exit 1: it is not as it was sealed."""
    found = asyncio.run(_verify(tenant, _hash(anchor)))
    if found is not None:
        where = "" if found.seal_id is None else f" at seal {found.seal_id}"
        typer.echo(f"The audit log of {tenant} is broken{where}: {found.reason}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"The audit log of {tenant} is as it was sealed.")


def _hash(anchor: str | None) -> bytes | None:
    try:
        return None if anchor is None else bytes.fromhex(anchor)
    except ValueError:
        raise Invalid("--anchor must be the hexadecimal hash of a seal.") from None


async def _verify(slug: str, anchor: bytes | None) -> ChainBreak | None:
    database = await Database.connect(Connections(load_settings()).app)
    try:
        known = await find_tenant(database, slug)
        if known is None:
            raise NotFound(f"There is no tenant {slug!r}.")
        async with database.begin(known.id, system("audit")) as tx:
            return await verify_audit_log(tx, anchor=anchor)
    finally:
        await database.close()
