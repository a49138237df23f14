"""The projection that FreeRADIUS answers from: written by the very transaction that changes what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, select

from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Tx
from demarc.kernel.sql import Query, mine
from demarc.modules.access.models import aaa_login, radius_session, subscriber
from demarc.modules.access.queries import (
    Login,
    Policy,
    Subscriber,
    find_login,
    get_subscriber_by_id,
    list_all_subscribers,
    list_open_policies,
    list_subscribers_of_services,
)
from demarc.modules.access.rules import (
    Verdict,
    address_replies,
    clear_text_for_chap,
    decide,
    framed_ip,
    garden_of,
    must_redial,
    nt_hash,
)
from demarc.modules.access.service.orders import disconnect_sessions, order_rates
from demarc.modules.access.service.sealing import open_password
from demarc.modules.access.states import LoginDecision, PolicyKind, SubscriberStatus
from demarc.modules.addressing.queries import list_holdings
from demarc.modules.services.queries import Service, hold_service, list_open_locks
from demarc.modules.services.states import LockKind

_FORGET_LOGIN = Query(
    delete(aaa_login).where(mine(aaa_login), aaa_login.c.subscriber_id == bindparam("subscriber_id"))
)
_LIVE_SESSION = select(radius_session.c.id).where(
    mine(radius_session), radius_session.c.subscriber_id == aaa_login.c.subscriber_id
)
_IS_ON_LINE = Query(
    select(func.count())
    .select_from(radius_session)
    .where(mine(radius_session), radius_session.c.subscriber_id == bindparam("subscriber_id"))
)
_FORGET_DELETED = Query(
    delete(aaa_login).where(
        mine(aaa_login),
        aaa_login.c.subscriber_id.in_(
            select(subscriber.c.id).where(
                mine(subscriber), subscriber.c.status == SubscriberStatus.TERMINATED.value
            )
        ),
        ~_LIVE_SESSION.exists(),
    )
)


@dataclass(frozen=True, slots=True)
class Projected:
    """A subscriber's projection before and after; None: there was or is none."""

    before: Login | None
    after: Login | None


async def project_login(tx: Tx, subscriber_id: int, *, password: str | None = None) -> Projected:
    """Write what FreeRADIUS answers this subscriber from the commit on.

    The service is locked first, so that a suspension and a change of the subscriber come one after the other and the
    later one sees both.

    Args:
        tx: the transaction of whatever changed.
        subscriber_id: whose.
        password: a new one; without it the stored hash stays.
    """
    row = await get_subscriber_by_id(tx, subscriber_id)
    service = await hold_service(tx, row.service_id)
    row = await get_subscriber_by_id(tx, subscriber_id)
    return await _project(tx, row, service, password)


async def refresh_login(tx: Tx, subscriber_id: int, *, reason: str, password: str | None = None) -> Projected:
    """`project_login`, and tell the NAS of live sessions what has changed for them."""
    projected = await project_login(tx, subscriber_id, password=password)
    await _tell_nas(tx, subscriber_id, projected, reason)
    return projected


async def refresh_service(tx: Tx, service_id: int, *, reason: str) -> int:
    """`refresh_login` for every subscriber of a service. How many there are."""
    service = await hold_service(tx, service_id)
    rows = await list_subscribers_of_services(tx, [service_id])
    for row in rows:
        await _tell_nas(tx, row.id, await _project(tx, row, service, None), reason)
    return len(rows)


async def rebuild_logins(tx: Tx, master_key: MasterKey) -> int:
    """Write every projection of the tenant anew, secrets included: after its settings changed, or after a repair."""
    rows = await list_all_subscribers(tx)
    for row in rows:
        password = await open_password(tx, master_key, row)
        await refresh_login(tx, row.id, reason="settings changed", password=password)
    return len(rows)


async def forget_deleted_logins(tx: Tx) -> int:
    """Remove the projections of deleted subscribers whose sessions have ended."""
    return await tx.execute(_FORGET_DELETED)


async def _project(tx: Tx, row: Subscriber, service: Service, password: str | None) -> Projected:
    before = await find_login(tx, row.id)
    if row.status == SubscriberStatus.TERMINATED and not await tx.value(_IS_ON_LINE, subscriber_id=row.id):
        await tx.execute(_FORGET_LOGIN, subscriber_id=row.id)
        return Projected(before, None)
    columns = await _login_columns(tx, row, service)
    if password is not None:
        wants_chap = row.clear_text_enabled or tx.tenant.settings.get("chap_enabled") is True
        columns["nt_hash"] = nt_hash(password)
        columns["clear_text"] = clear_text_for_chap(password) if wants_chap else None
    if before is not None:
        return Projected(before, await _rewrite(tx, before, columns))
    if password is None:
        return Projected(None, None)
    columns |= {"subscriber_id": row.id, "service_id": row.service_id, "username": row.username}
    return Projected(None, await tx.insert(aaa_login, Login, **columns))


async def _rewrite(tx: Tx, before: Login, columns: dict[str, Any]) -> Login:
    """Touch the row, which every log-in reads, only when it says something new."""
    if all(getattr(before, name) == value for name, value in columns.items()):
        return before
    return await tx.update(aaa_login, Login, {"subscriber_id": before.subscriber_id}, **columns)


async def _login_columns(tx: Tx, row: Subscriber, service: Service) -> dict[str, Any]:
    garden = garden_of(tx.tenant.settings)
    locks = await _open_locks(tx, service)
    verdict = decide(SubscriberStatus(row.status), service, locks, has_garden=garden is not None)
    policy = await _governing_policy(tx, row)
    if policy is not None and policy.blocks and verdict.decision is LoginDecision.ACCEPT:
        verdict = Verdict(LoginDecision.REJECT, policy.reason or "blocked")
    download_bps, upload_bps = _speeds(row, service, policy)
    columns: dict[str, Any] = {
        "decision": verdict.decision.value,
        "decision_reason": verdict.reason,
        "mac": row.mac,
        "circuit_id": row.circuit_id,
        "remote_id": row.remote_id,
        "session_limit": row.session_limit,
        "expires_at": row.expires_at,
        "framed_pool": None,
        "replies": [],
        "download_bps": download_bps,
        "upload_bps": upload_bps,
    }
    if verdict.decision is LoginDecision.GARDEN and garden is not None:
        return columns | {
            "framed_ip": None,
            "framed_pool": garden.pool,
            "download_bps": garden.download_bps or columns["download_bps"],
            "upload_bps": garden.upload_bps or columns["upload_bps"],
        }
    held = (await list_holdings(tx, [row.id])).get(row.id, [])
    return columns | {"framed_ip": framed_ip(held), "replies": address_replies(held)}


async def _governing_policy(tx: Tx, row: Subscriber) -> Policy | None:
    """The policy that holds for a subscriber: what staff set before a data cap, his own before his service's."""
    held = [
        policy
        for policy in await list_open_policies(tx, row.service_id)
        if policy.subscriber_id in (None, row.id)
        and (policy.expires_at is None or policy.expires_at > tx.now)
    ]
    held.sort(key=lambda policy: (policy.kind != PolicyKind.OVERRIDE, policy.subscriber_id is None))
    return held[0] if held else None


def _speeds(row: Subscriber, service: Service, policy: Policy | None) -> tuple[int, int]:
    """(download, upload) in bit/s: policy over the subscriber's own over the service's; fair use never makes faster."""
    down, up = row.download_bps or service.download_bps, row.upload_bps or service.upload_bps
    if policy is None or policy.download_bps is None or policy.upload_bps is None:
        return down, up
    if policy.kind == PolicyKind.FAIR_USE:
        return min(down, policy.download_bps), min(up, policy.upload_bps)
    return policy.download_bps, policy.upload_bps


async def _open_locks(tx: Tx, service: Service) -> frozenset[LockKind]:
    if service.held_by is None:
        return frozenset()
    return frozenset(LockKind(lock.kind) for lock in await list_open_locks(tx, service.id))


async def _tell_nas(tx: Tx, subscriber_id: int, projected: Projected, reason: str) -> None:
    before, after = projected.before, projected.after
    if before is None or after is None:
        return
    decisions = LoginDecision(before.decision), LoginDecision(after.decision)
    told = (before.framed_ip, before.replies) != (after.framed_ip, after.replies)
    if must_redial(*decisions) or (after.decision == LoginDecision.ACCEPT and told):
        await disconnect_sessions(tx, subscriber_id=subscriber_id, reason=reason)
    elif (before.download_bps, before.upload_bps) != (after.download_bps, after.upload_bps):
        await order_rates(tx, after, reason=reason)
