"""Reads of tenants. Before a tenant is bound, only the directory functions answer."""

from __future__ import annotations

from dataclasses import dataclass

from demarc.kernel.db import Database


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
