"""What access follows, in the same transaction: FreeRADIUS is never behind."""

from __future__ import annotations

from demarc.kernel.db import Tx
from demarc.kernel.outbox import Event, projects
from demarc.modules.access.rules import garden_of
from demarc.modules.access.service import delete_subscribers_of_service, refresh_service


@projects("service.status_changed")
async def follow_service(tx: Tx, event: Event) -> None:
    """A service goes up or down: its subscribers' log-ins and live sessions follow."""
    await refresh_service(tx, event.entity_id, reason=str(event.payload.get("reason") or "service changed"))


@projects("service.modified")
async def follow_speeds(tx: Tx, event: Event) -> None:
    """New speeds of a service reach its subscribers' log-ins, and live sessions by CoA."""
    if {"download_bps", "upload_bps"} & set(event.payload["fields"]):
        await refresh_service(tx, event.entity_id, reason=str(event.payload.get("reason") or "new speeds"))


@projects("service.suspended")
@projects("service.resumed")
async def follow_locks(tx: Tx, event: Event) -> None:
    """A lock beside a graver one changes no status, but whether the garden is still open."""
    if garden_of(tx.tenant.settings) is not None:
        await follow_service(tx, event)


@projects("service.terminated")
async def follow_end(tx: Tx, event: Event) -> None:
    """A service that is over needs no log-ins and no addresses any more."""
    await delete_subscribers_of_service(tx, event.entity_id)
