"""Reads of tenants. Before a tenant is bound, only the directory functions answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam, select

from demarc.kernel.db import Database, Tx
from demarc.kernel.sql import Query
from demarc.modules.tenants.models import tenant

_CLOCK_OFFSET = Query(select(tenant.c.clock_offset).where(tenant.c.id == bindparam("tenant_id")))


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """One line of the directory."""

    id: int
    slug: str
    is_sandbox: bool


async def list_tenants(database: Database) -> list[TenantEntry]:
    """Every tenant that is not closed."""
    async with database.directory() as connection:
        return [TenantEntry(**row) for row in await connection.fetch("SELECT * FROM list_tenants()")]


async def find_tenant(database: Database, slug: str) -> TenantEntry | None:
    return next((entry for entry in await list_tenants(database) if entry.slug == slug), None)


async def get_clock_offset(tx: Tx) -> timedelta:
    """How far the tenant's business time is ahead, as this transaction sees it: it may just have moved the clock."""
    offset: timedelta = await tx.value(_CLOCK_OFFSET)
    return offset
