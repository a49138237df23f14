"""Changing what a service is, as opposed to whether it runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from demarc.kernel.db import Tx
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record
from demarc.modules.catalog.queries import get_plan_by_id
from demarc.modules.services.inputs import ServiceChanges, clean_identifiers, clean_reason, merged_config
from demarc.modules.services.models import service
from demarc.modules.services.queries import ENTITY, Service, hold_service
from demarc.modules.services.rules import check_may_modify, speeds_of
from demarc.modules.services.service.standing import tell
from demarc.modules.services.states import ServiceStatus


async def modify_service(tx: Tx, *, service_id: int, changes: ServiceChanges, reason: str = "") -> Service:
    """Change name, notes, identifiers, address or settings; new speeds reach live sessions by CoA.

    Settings and identifiers are merged by key, null takes a key out (RFC 7396). What was there already changes nothing
    and tells nobody.

    Raises:
        NotFound: no such service.
        Conflict: it is terminated.
        Invalid: a value is not acceptable.
    """
    before = await hold_service(tx, service_id)
    check_may_modify(ServiceStatus(before.status))
    columns = await _columns(tx, before, changes)
    changed = {name: value for name, value in columns.items() if getattr(before, name) != value}
    if not changed:
        return before
    return await rewrite(tx, before, changed, action="service.modify", reason=reason and clean_reason(reason))


async def rewrite(tx: Tx, before: Service, changed: dict[str, Any], *, action: str, reason: str) -> Service:
    """Write columns that say what the service is, and tell what has changed; the caller holds the row."""
    after = await tx.update(service, Service, {"id": before.id}, **changed, updated_at=tx.now)
    old, new = changed_fields(asdict(before), asdict(after))
    await record(tx, action, entity=ENTITY, entity_id=after.id, before=old, after={**new, "reason": reason})
    await tell(tx, "service.modified", after, fields=sorted(changed), reason=reason)
    return after


async def _columns(tx: Tx, before: Service, changes: ServiceChanges) -> dict[str, Any]:
    plain = ("name", "notes", "installation_address", "installation_scheduled_at")
    columns = {name: getattr(changes, name) for name in plain if getattr(changes, name) is not None}
    if changes.identifiers is not None:
        merged = {**before.identifiers, **changes.identifiers}
        columns["identifiers"] = clean_identifiers(
            {name: value for name, value in merged.items() if value is not None}
        )
    if changes.config is not None:
        config = merged_config(before.config, changes.config)
        plan = await get_plan_by_id(tx, before.plan_id)
        down, up = speeds_of(config, download_bps=plan.download_bps, upload_bps=plan.upload_bps)
        columns |= {"config": config, "download_bps": down, "upload_bps": up}
    return columns
