"""What a subscriber holds beside the first IPv4 address: IPv6, prefixes, routed blocks, given by staff."""

from __future__ import annotations

from uuid import UUID

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict
from demarc.kernel.outbox import emit
from demarc.modules.access.models import subscriber
from demarc.modules.access.queries import Subscriber
from demarc.modules.access.service.holding import hold_present_subscriber, hold_subscriber
from demarc.modules.access.service.projection import refresh_login
from demarc.modules.addressing.inputs import Block
from demarc.modules.addressing.queries import (
    Assignment,
    Pool,
    get_assignment,
    get_open_assignment,
    list_holdings,
)
from demarc.modules.addressing.service import assign_address, release_assignment
from demarc.modules.addressing.states import PoolKind
from demarc.modules.audit.service import record

ENTITY = "subscriber"
_ONE_ONLY = frozenset({PoolKind.IPV4, PoolKind.IPV6, PoolKind.FRAMED_PREFIX, PoolKind.DELEGATED_PREFIX})
"""Of these a log-in is told one; of routed blocks as many as it has."""


async def give_address(
    tx: Tx, *, subscriber_id: int, pool: Pool, address: Block | None = None
) -> tuple[Assignment, bool]:
    """Give the subscriber what the pool hands out, and let live sessions dial in anew with it.

    Of routed blocks a subscriber may have several, each named by `address`; of everything else one. What is held already
    is answered again.

    Returns:
        The assignment, and whether it is new.

    Raises:
        NotFound: the subscriber was deleted, or the address is nothing that the pool hands out.
        Conflict: another one of that kind is held (HOLDS_ANOTHER), or the pool refuses.
    """
    row = await hold_present_subscriber(tx, subscriber_id)
    kind = PoolKind(pool.kind)
    held = [one for one in (await list_holdings(tx, [row.id])).get(row.id, []) if one.kind == kind]
    for one in held:
        if one.pool_id == pool.id and address in (None, one.address):
            return await get_open_assignment(tx, row.id, one.address), False
    if held and kind in _ONE_ONLY:
        raise Conflict(
            f"{row.username} holds {held[0].address} already; release it first", code="HOLDS_ANOTHER"
        )
    taken = await assign_address(tx, pool_id=pool.id, subscriber_id=row.id, address=address)
    if kind is PoolKind.IPV4:
        await tx.update(subscriber, Subscriber, {"id": row.id}, ip_pool_id=pool.id, updated_at=tx.now)
    await _tell(tx, row, "subscriber.give_address", taken)
    return await get_open_assignment(tx, row.id, taken), True


async def take_address_back(tx: Tx, assignment_uid: UUID) -> Assignment:
    """Release one; it rests for its pool's quarantine, and live sessions dial in anew without it.

    Raises:
        NotFound: no such assignment.
        Conflict: it is released already.
    """
    known = await get_assignment(tx, assignment_uid)
    row = await hold_subscriber(tx, known.subscriber_id)
    held = (await list_holdings(tx, [row.id])).get(row.id, [])
    ended = await release_assignment(tx, assignment_uid)
    if any(one.address == ended.address and one.kind == PoolKind.IPV4 for one in held):
        await tx.update(subscriber, Subscriber, {"id": row.id}, ip_pool_id=None, updated_at=tx.now)
    await _tell(tx, row, "subscriber.release_address", ended.address)
    return ended


async def _tell(tx: Tx, row: Subscriber, action: str, address: Block) -> None:
    await refresh_login(tx, row.id, reason="address changed")
    await record(tx, action, entity=ENTITY, entity_id=row.id, after={"address": str(address)})
    await emit(tx, "subscriber.updated", entity=ENTITY, entity_id=row.id, fields=["addresses"])
