"""Subscribers: who may log on to the network, for which service."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID, uuid4

from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, invalid
from demarc.kernel.outbox import emit
from demarc.kernel.states import change_status, record_status_change
from demarc.modules.access.inputs import NewSubscriber, clean_password, clean_subscriber_changes
from demarc.modules.access.models import subscriber
from demarc.modules.access.queries import (
    Subscriber,
    find_login,
    get_subscriber_by_id,
    list_subscribers_of_services,
)
from demarc.modules.access.rules import check_takes_subscribers, generate_password
from demarc.modules.access.service.duplicates import explained
from demarc.modules.access.service.holding import hold_present_subscriber, hold_subscriber
from demarc.modules.access.service.projection import project_login, refresh_login
from demarc.modules.access.service.sealing import open_password, seal_password
from demarc.modules.access.states import SUBSCRIBER, SubscriberStatus
from demarc.modules.addressing.queries import list_held_addresses
from demarc.modules.addressing.service import assign_address, release_address
from demarc.modules.addressing.states import PoolKind
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record
from demarc.modules.services.queries import hold_service

ENTITY = "subscriber"
_VERBS = {
    SubscriberStatus.SUSPENDED: "suspend",
    SubscriberStatus.ACTIVE: "resume",
    SubscriberStatus.TERMINATED: "delete",
}


@dataclass(frozen=True, slots=True)
class CreatedSubscriber:
    """`password` only when it was generated: it is shown once."""

    subscriber: Subscriber
    password: str | None = field(repr=False)


async def create_subscriber(
    tx: Tx,
    master_key: MasterKey,
    new: NewSubscriber,
    *,
    uid: UUID | None = None,
    subscriber_id: int | None = None,
) -> CreatedSubscriber:
    """Let somebody log on for a service, with a fixed address if a pool is given.

    Args:
        tx: the caller's transaction.
        master_key: encrypts the password at rest.
        new: the subscriber's data.
        uid: given by the sandbox only.
        subscriber_id: likewise.

    Raises:
        Invalid: the service belongs to another customer.
        Conflict: the user name is taken by any tenant (USERNAME_TAKEN), the service is suspended, ending or failed
            (SERVICE_NOT_USABLE), the pool is exhausted (POOL_EXHAUSTED).
    """
    service = await hold_service(tx, new.service_id)
    if service.customer_id != new.customer_id:
        raise invalid("service_id", "the service belongs to another customer")
    check_takes_subscribers(service)
    password = new.password or generate_password()
    async with explained():
        made = await _insert_subscriber(tx, master_key, new, password, uid or uuid4(), subscriber_id)
        if new.pool_id is not None:
            await assign_address(tx, pool_id=new.pool_id, subscriber_id=made.id, address=new.address)
        await project_login(tx, made.id, password=password)
    await record_status_change(tx, entity=ENTITY, entity_id=made.id, from_status=None, to_status=made.status)
    await record(tx, "subscriber.create", entity=ENTITY, entity_id=made.id, after=asdict(made))
    await emit(tx, "subscriber.created", entity=ENTITY, entity_id=made.id, subscriber_uid=str(made.uid))
    return CreatedSubscriber(made, None if new.password else password)


async def _insert_subscriber(
    tx: Tx, master_key: MasterKey, new: NewSubscriber, password: str, uid: UUID, subscriber_id: int | None
) -> Subscriber:
    fixed = {} if subscriber_id is None else {"id": subscriber_id}
    return await tx.insert(
        subscriber,
        Subscriber,
        uid=uid,
        customer_id=new.customer_id,
        service_id=new.service_id,
        username=new.username,
        secret_encrypted=await seal_password(tx, master_key, uid, password),
        status=new.status.value,
        mac=new.mac,
        circuit_id=new.circuit_id,
        remote_id=new.remote_id,
        download_bps=new.download_bps,
        upload_bps=new.upload_bps,
        ip_pool_id=new.pool_id,
        session_limit=new.session_limit,
        clear_text_enabled=new.clear_text_enabled,
        expires_at=new.expires_at,
        created_at=tx.now,
        updated_at=tx.now,
        **fixed,
    )


async def suspend_subscriber(tx: Tx, *, subscriber_id: int, reason: str) -> Subscriber:
    """Refuse this log-in from the commit on and end its sessions; the service stays as it is.

    Raises:
        Conflict: not from this state.
    """
    changed = await _move(tx, subscriber_id, SubscriberStatus.SUSPENDED, reason)
    await refresh_login(tx, subscriber_id, reason=reason)
    await emit(tx, "subscriber.suspended", entity=ENTITY, entity_id=subscriber_id, reason=reason)
    return changed


async def resume_subscriber(tx: Tx, *, subscriber_id: int, reason: str) -> Subscriber:
    """Let the subscriber log on again, if the service is up.

    Raises:
        Conflict: not from this state, or it is the service that is suspended (SERVICE_SUSPENDED).
    """
    await _check_not_held(tx, subscriber_id)
    changed = await _move(tx, subscriber_id, SubscriberStatus.ACTIVE, reason)
    await refresh_login(tx, subscriber_id, reason=reason)
    await emit(tx, "subscriber.resumed", entity=ENTITY, entity_id=subscriber_id, reason=reason)
    return changed


async def _check_not_held(tx: Tx, subscriber_id: int) -> None:
    row = await get_subscriber_by_id(tx, subscriber_id)
    login = await find_login(tx, subscriber_id)
    if row.status == SubscriberStatus.ACTIVE and login is not None and login.is_held_by_service:
        raise Conflict(
            f"not the subscriber but its service is suspended ({login.decision_reason}); resume the service",
            code="SERVICE_SUSPENDED",
        )


async def delete_subscriber(tx: Tx, *, subscriber_id: int, reason: str = "subscriber deleted") -> Subscriber:
    """Give up the log-in: its sessions are ended, its address rests, its name can be taken again.

    While a session is still ending, the projection stays (and refuses log-ins), so that the Stop is still booked.

    Raises:
        Conflict: it was deleted already.
    """
    changed = await _move(tx, subscriber_id, SubscriberStatus.TERMINATED, reason)
    await refresh_login(tx, subscriber_id, reason=reason)
    await release_address(tx, subscriber_id=subscriber_id)
    await emit(tx, "subscriber.deleted", entity=ENTITY, entity_id=subscriber_id, reason=reason)
    return changed


async def delete_subscribers_of_service(tx: Tx, service_id: int) -> int:
    """The service is over: give up its log-ins and addresses. How many there were."""
    rows = await list_subscribers_of_services(tx, [service_id])
    for row in rows:
        await delete_subscriber(tx, subscriber_id=row.id, reason="service terminated")
    return len(rows)


async def _move(tx: Tx, subscriber_id: int, target: SubscriberStatus, reason: str) -> Subscriber:
    before = await hold_subscriber(tx, subscriber_id)
    changed = await change_status(
        tx,
        SUBSCRIBER,
        subscriber,
        Subscriber,
        entity_id=subscriber_id,
        current=SubscriberStatus(before.status),
        target=target,
        reason=reason,
    )
    await record(
        tx,
        f"subscriber.{_VERBS[target]}",
        entity=ENTITY,
        entity_id=subscriber_id,
        before={"status": before.status},
        after={"status": changed.status, "reason": reason},
    )
    return changed


async def update_subscriber(
    tx: Tx, master_key: MasterKey, *, subscriber_id: int, changes: dict[str, Any]
) -> Subscriber:
    """Change speeds, limits, MAC, circuit id, expiry, or whether CHAP is possible.

    New speeds are sent to live sessions at once.

    Args:
        tx: the caller's transaction.
        master_key: opens the password when `clear_text_enabled` changes.
        subscriber_id: whose.
        changes: columns of the subscriber with their new values.

    Raises:
        NotFound: the subscriber was deleted.
        Invalid: a value is not acceptable.
        Conflict: the MAC address or circuit id is another subscriber's.
    """
    before = await hold_present_subscriber(tx, subscriber_id)
    cleaned = clean_subscriber_changes(changes)
    if not cleaned:
        return before
    after = await tx.update(subscriber, Subscriber, {"id": subscriber_id}, **cleaned, updated_at=tx.now)
    password = await open_password(tx, master_key, after) if "clear_text_enabled" in cleaned else None
    async with explained():
        await refresh_login(tx, subscriber_id, reason="subscriber changed", password=password)
    old, new = changed_fields(asdict(before), asdict(after))
    await record(tx, "subscriber.update", entity=ENTITY, entity_id=subscriber_id, before=old, after=new)
    await emit(tx, "subscriber.updated", entity=ENTITY, entity_id=subscriber_id, fields=sorted(cleaned))
    return after


async def change_pool(tx: Tx, *, subscriber_id: int, pool_id: int | None) -> Subscriber:
    """Give the subscriber a fixed address of this pool instead of the one held; None: no fixed address any more.

    A live session is ended so that the subscriber dials in with the new address.

    Raises:
        NotFound: the subscriber was deleted.
        Conflict: the pool has no address left.
    """
    before = await hold_present_subscriber(tx, subscriber_id)
    held = await list_held_addresses(tx, [subscriber_id])
    if before.ip_pool_id == pool_id and (pool_id is None or held):
        return before
    await release_address(tx, subscriber_id=subscriber_id, kinds=(PoolKind.IPV4,))
    if pool_id is not None:
        await assign_address(tx, pool_id=pool_id, subscriber_id=subscriber_id)
    after = await tx.update(
        subscriber, Subscriber, {"id": subscriber_id}, ip_pool_id=pool_id, updated_at=tx.now
    )
    await refresh_login(tx, subscriber_id, reason="address changed")
    await record(
        tx,
        "subscriber.change_pool",
        entity=ENTITY,
        entity_id=subscriber_id,
        before={"ip_pool_id": before.ip_pool_id},
        after={"ip_pool_id": after.ip_pool_id},
    )
    await emit(tx, "subscriber.updated", entity=ENTITY, entity_id=subscriber_id, fields=["ip_pool_id"])
    return after


async def reset_password(
    tx: Tx, master_key: MasterKey, *, subscriber_id: int, password: str | None = None
) -> str:
    """Set a new network password, generated unless given; what is on line stays on line. Returns the password."""
    row = await hold_present_subscriber(tx, subscriber_id)
    chosen = generate_password() if password is None else clean_password(password)
    sealed = await seal_password(tx, master_key, row.uid, chosen)
    await tx.update(subscriber, Subscriber, {"id": row.id}, secret_encrypted=sealed, updated_at=tx.now)
    await refresh_login(tx, row.id, reason="password reset", password=chosen)
    await record(
        tx,
        "subscriber.reset_password",
        entity=ENTITY,
        entity_id=row.id,
        after={"generated": password is None},
    )
    await emit(tx, "subscriber.password_reset", entity=ENTITY, entity_id=row.id)
    return chosen
