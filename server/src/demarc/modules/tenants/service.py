"""Writes of tenants."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import asyncpg
from sqlalchemy import bindparam, update

from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Database, Tx
from demarc.kernel.errors import Conflict, Forbidden, invalid
from demarc.kernel.outbox import emit
from demarc.kernel.sql import Query
from demarc.modules.audit.service import record
from demarc.modules.tenants.inputs import NewTenant, clean_setting
from demarc.modules.tenants.models import tenant

ENTITY = "tenant"
_SET_OFFSET = Query(
    update(tenant)
    .where(tenant.c.id == bindparam("id"))
    .values(clock_offset=bindparam("clock_offset", type_=tenant.c.clock_offset.type))
)
_SET_SETTINGS = Query(
    update(tenant)
    .where(tenant.c.id == bindparam("id"))
    .values(settings=bindparam("settings", type_=tenant.c.settings.type))
)
_INSERT = """
    INSERT INTO tenant (id, slug, name, currency, time_zone, is_sandbox, settings)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


async def create_tenant(
    database: Database,
    master_key: MasterKey,
    *,
    slug: str,
    name: str,
    currency: str,
    time_zone: str,
    is_sandbox: bool = False,
    tenant_id: int | None = None,
    settings: dict[str, object] | None = None,
) -> int:
    """Open a tenant with its data key; its own transaction, since no tenant is bound yet.

    Raises:
        Invalid: a value is not acceptable, such as a currency or a time zone that is not known.
        Conflict: the slug is another tenant's (TENANT_TAKEN).
    """
    new = NewTenant(slug, name, currency, time_zone, is_sandbox)
    async with database.directory() as connection, connection.transaction():
        new_id: int = tenant_id or await connection.fetchval("SELECT nextval('tenant_id_seq')")
        await connection.execute("SELECT set_config('app.tenant', $1, true)", str(new_id))
        values = (new.slug, new.name, new.currency, new.time_zone, new.is_sandbox, settings or {})
        try:
            await connection.execute(_INSERT, new_id, *values)
        except asyncpg.UniqueViolationError:
            raise Conflict(f"there is a tenant {slug} already", code="TENANT_TAKEN") from None
        await connection.execute(
            "INSERT INTO tenant_key (tenant_id, wrapped_key) VALUES ($1, $2)",
            new_id,
            master_key.new_data_key(new_id),
        )
    return new_id


async def change_settings(tx: Tx, choices: Mapping[str, object]) -> None:
    """Set some of `SETTINGS`; None gives one up. What follows from it is the caller's to do.

    Raises:
        Invalid: there is no such setting, or it cannot have this value.
    """
    cleaned = {key: clean_setting(key, value) for key, value in choices.items()}
    before = tx.tenant.settings
    after = {key: value for key, value in {**before, **cleaned}.items() if value is not None}
    await tx.execute(_SET_SETTINGS, id=tx.tenant.id, settings=after)
    await record(
        tx,
        "tenant.change_settings",
        entity=ENTITY,
        entity_id=tx.tenant.id,
        before={key: before.get(key) for key in cleaned},
        after=cleaned,
    )
    await emit(tx, "tenant.settings_changed", entity=ENTITY, entity_id=tx.tenant.id, settings=sorted(cleaned))


async def move_clock(tx: Tx, by: timedelta) -> timedelta:
    """Move a sandbox tenant's business time forward; everything that follows it moves in the same transaction.

    Raises:
        Forbidden: the tenant is no sandbox.
        Invalid: time does not go back.
    """
    if not tx.tenant.is_sandbox:
        raise Forbidden("only a sandbox tenant's clock can be moved")
    if by < timedelta(0):
        raise invalid("advance", "the clock only goes forward")
    offset = tx.tenant.clock_offset + by
    await tx.execute(_SET_OFFSET, id=tx.tenant.id, clock_offset=offset)
    await record(
        tx,
        "tenant.move_clock",
        entity=ENTITY,
        entity_id=tx.tenant.id,
        before={"clock_offset_seconds": tx.tenant.clock_offset.total_seconds()},
        after={"clock_offset_seconds": offset.total_seconds()},
    )
    await emit(
        tx, "tenant.clock_moved", entity=ENTITY, entity_id=tx.tenant.id, offset_seconds=offset.total_seconds()
    )
    return offset
