"""Writes to the audit log: one line per change, in the change's own transaction."""

from __future__ import annotations

from typing import Any

from demarc.kernel.db import Tx
from demarc.modules.audit.models import audit_log

_COLUMNS = (
    "tenant_id, actor_kind, actor_name, actor_user_id, action, entity, entity_id, before, after, request_id"
)
_INSERT = f"INSERT INTO {audit_log.name} ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"  # noqa: S608 - constants
_SECRET = ("password", "secret", "token", "hash")


def public(values: dict[str, Any]) -> dict[str, Any]:
    """Values as the audit log may keep them: secrets by name are left out, bytes never enter."""
    return {
        name: value
        for name, value in values.items()
        if not isinstance(value, bytes) and not any(word in name.lower() for word in _SECRET)
    }


async def record(
    tx: Tx,
    action: str,
    *,
    entity: str,
    entity_id: int,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Append one line.

    Args:
        tx: the change's own transaction.
        action: `noun.verb`, e.g. `customer.update`.
        entity: what was changed, and its id.
        entity_id: the row's id.
        before: what changed, as it was; None for something new.
        after: what changed, as it is now; None for something removed.
    """
    actor = tx.actor
    await tx.connection.execute(
        _INSERT,
        tx.tenant.id,
        actor.kind.value,
        actor.name,
        actor.user_id,
        action,
        entity,
        entity_id,
        None if before is None else public(before),
        None if after is None else public(after),
        tx.request_id,
    )


def changes(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that differ, as they were and as they are."""
    differing = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in differing}, {name: after[name] for name in differing}
