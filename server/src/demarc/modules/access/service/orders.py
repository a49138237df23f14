"""Orders to NAS: written in the transaction that wants them, sent after its commit, their outcome kept (RFC 5176)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, BindParameter, DateTime, Interval, bindparam, select, text

from demarc.kernel.clock import real_now
from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Tx
from demarc.kernel.errors import Unavailable
from demarc.kernel.outbox import emit
from demarc.kernel.sql import Query, mine
from demarc.modules.access.models import coa_request, nas
from demarc.modules.access.ports import CoaOrder, CoaReply
from demarc.modules.access.queries import (
    Login,
    Nas,
    Order,
    Session,
    find_login,
    find_pending_order,
    find_session,
    get_live_session,
    get_nas_by_id,
    list_sessions_of_subscriber,
)
from demarc.modules.access.rules import Attribute, rate_attributes
from demarc.modules.access.service.sealing import open_nas_secret
from demarc.modules.access.states import CoaKind, CoaOutcome, LoginDecision

ENTITY = "coa_request"
NAS_REST = timedelta(seconds=60)
"""How long no order is sent to a NAS that did not answer one."""

ASK_AGAIN_AFTER = timedelta(minutes=2)
"""When a session that should have ended is still heard of, the order is repeated."""

_LOCKED = Query(
    select(coa_request).where(mine(coa_request), coa_request.c.id == bindparam("id")).with_for_update()
)
# A NAS that no longer has the session needs no second order, unless the session is heard of again.
_NOT_ORDERED_LATELY = """
    NOT EXISTS (
        SELECT FROM coa_request o
         WHERE o.tenant_id = s.tenant_id AND o.session_id = s.id AND o.kind = 'disconnect'
           AND (o.outcome = 'pending' OR o.requested_at > :asked_after
                OR (o.outcome = 'gone' AND s.updated_at <= o.answered_at + :clock_offset)))
"""
_ASKED_AFTER = bindparam("asked_after", type_=DateTime(timezone=True))
_CLOCK_OFFSET = bindparam("clock_offset", type_=Interval)
_NOW = bindparam("now", type_=DateTime(timezone=True))
_IDS = bindparam("subscriber_ids", type_=ARRAY(BigInteger))


def _unwanted(asked_about: str, *parameters: BindParameter[Any]) -> Query:
    """Sessions of those who may not log on any more."""
    return Query(
        text(f"""
        SELECT s.*
          FROM radius_session s
          LEFT JOIN aaa_login l ON l.tenant_id = s.tenant_id AND l.subscriber_id = s.subscriber_id
         WHERE s.tenant_id = :tenant_id AND {asked_about}
           AND (l.subscriber_id IS NULL OR l.decision = 'reject' OR l.expires_at <= :now)
           AND {_NOT_ORDERED_LATELY}
        """).bindparams(_ASKED_AFTER, _CLOCK_OFFSET, _NOW, *parameters)  # noqa: S608 - only constants are set in
    )


def _over_limit(asked_about: str, *parameters: BindParameter[Any]) -> Query:
    """Sessions of devices beyond the limit.

    The device that was on line first stays. A device that dialled again is one device; without Calling-Station-Id each
    session counts as a device of its own, as at log-in.
    """
    return Query(
        text(f"""
        WITH device_session AS (
            SELECT s.id, s.subscriber_id, l.session_limit, d.device,
                   min(s.started_at) OVER (PARTITION BY s.subscriber_id, d.device) AS since
              FROM radius_session s
              JOIN aaa_login l ON l.tenant_id = s.tenant_id AND l.subscriber_id = s.subscriber_id
             CROSS JOIN LATERAL (SELECT coalesce(nullif(s.calling_station_id, ''), s.id::text) AS device) d
             WHERE s.tenant_id = :tenant_id AND l.session_limit > 0 AND {asked_about}
        ), ranked AS (
            SELECT id, session_limit, dense_rank() OVER (PARTITION BY subscriber_id ORDER BY since, device) AS place
              FROM device_session
        )
        SELECT s.*
          FROM ranked
          JOIN radius_session s ON s.tenant_id = :tenant_id AND s.id = ranked.id
         WHERE ranked.place > ranked.session_limit AND {_NOT_ORDERED_LATELY}
        """).bindparams(_ASKED_AFTER, _CLOCK_OFFSET, *parameters)  # noqa: S608 - only constants are set in
    )


# Two statements each: with "no ids or one of them" in one, the planner would never use the index.
_SOME = ("s.subscriber_id = ANY (:subscriber_ids)", _IDS)
_UNWANTED, _UNWANTED_OF = _unwanted("true"), _unwanted(*_SOME)
_OVER_LIMIT, _OVER_LIMIT_OF = _over_limit("true"), _over_limit(*_SOME)


async def disconnect_sessions(tx: Tx, *, subscriber_id: int, reason: str) -> int:
    """Order the NAS to end every live session of the subscriber, after the commit.

    A session whose Disconnect is still to be sent gets no second one.

    Returns:
        How many sessions are being ended.
    """
    sessions = await list_sessions_of_subscriber(tx, subscriber_id)
    for session in sessions:
        await _order_disconnect(tx, session, reason)
    return len(sessions)


async def disconnect_session(tx: Tx, session_id: UUID, *, reason: str) -> Session:
    """Order the NAS to end one live session, after the commit; one that is being ended already gets no second order.

    Raises:
        NotFound: no such session.
        Conflict: it has ended.
    """
    session = await get_live_session(tx, session_id)
    await _order_disconnect(tx, session, reason)
    return session


async def enforce_access(tx: Tx, subscriber_ids: Sequence[int] | None = None) -> int:
    """End live sessions that should not be: log-in refused by now, expired, deleted, or over the session limit.

    A log-in that was answered just before a suspension shows up as a session only after it; a NAS may answer ACK and
    go on; log-ins answered from FreeRADIUS's cache are older than the database. This sweep finds all of them.

    Args:
        tx: the caller's transaction.
        subscriber_ids: whose sessions are looked at; None: the tenant's.

    Returns:
        How many Disconnects were ordered.
    """
    values: dict[str, Any] = {
        "asked_after": real_now() - ASK_AGAIN_AFTER,
        "clock_offset": tx.tenant.clock_offset,
    }
    refused, crowded = _UNWANTED, _OVER_LIMIT
    if subscriber_ids is not None:
        refused, crowded = _UNWANTED_OF, _OVER_LIMIT_OF
        values["subscriber_ids"] = list(subscriber_ids)
    unwanted = await tx.fetch(refused, Session, **values, now=tx.now)
    for session in unwanted:
        await _order_disconnect(tx, session, "log-in is refused by now")
    over_limit = [
        session
        for session in await tx.fetch(crowded, Session, **values)
        if session.id not in {other.id for other in unwanted}
    ]
    for session in over_limit:
        await _order_disconnect(tx, session, "session limit")
    return len(unwanted) + len(over_limit)


async def order_rates(tx: Tx, login: Login, *, reason: str) -> int:
    """Order the NAS to give every live session the speeds of its subscriber's projection. How many sessions."""
    sessions = await list_sessions_of_subscriber(tx, login.subscriber_id)
    for session in sessions:
        waiting = await find_pending_order(tx, session.id, CoaKind.COA)
        # What is not on its way yet takes the speeds that hold when it is sent.
        if waiting is None or waiting.attempts:
            vendor = (await get_nas_by_id(tx, session.nas_id)).vendor
            attributes = rate_attributes(vendor, login.download_bps, login.upload_bps)
            await _place(tx, session, CoaKind.COA, attributes, reason)
    return len(sessions)


async def claim_order(tx: Tx, master_key: MasterKey, order_id: int) -> CoaOrder | None:
    """What to send for an order, with the attempt noted; None when nothing is to be sent any more.

    An order whose session has ended meanwhile is settled as `gone`: after a crash between sending and storing, this is
    how its outcome is looked up. A Disconnect may be sent twice; the second one finds no session.

    Raises:
        Unavailable: the NAS did not answer lately and is left alone for a while.
    """
    order = await tx.find(_LOCKED, Order, id=order_id)
    if order is None or order.outcome != CoaOutcome.PENDING:
        return None
    if await find_session(tx, order.session_id) is None:
        await _settle(tx, order, CoaOutcome.GONE)
        return None
    target = await get_nas_by_id(tx, order.nas_id)
    if target.unanswered_until is not None and target.unanswered_until > real_now():
        raise Unavailable(f"the NAS {target.name} does not answer; the order is sent later")
    attributes = await _current_attributes(tx, order, target)
    await tx.update(coa_request, Order, {"id": order.id}, attempts=order.attempts + 1, attributes=attributes)
    return CoaOrder(
        nas_ip=str(target.source_ip),
        coa_port=target.coa_port,
        secret=(await open_nas_secret(tx, master_key, target)).encode(),
        kind=CoaKind(order.kind),
        username=order.username,
        acct_session_id=order.acct_session_id,
        framed_ip=None if order.framed_ip is None else str(order.framed_ip),
        attributes=attributes,
    )


async def settle_order(tx: Tx, order_id: int, reply: CoaReply, *, is_last_attempt: bool) -> CoaOutcome:
    """Keep what became of a sent order, and whether its NAS answers at all.

    Returns:
        The outcome stored: still `pending` after a time-out that is not the last attempt.
    """
    order = await tx.find(_LOCKED, Order, id=order_id)
    if order is None or order.outcome != CoaOutcome.PENDING:
        return reply.outcome
    silent = reply.outcome is CoaOutcome.TIMEOUT
    target = await get_nas_by_id(tx, order.nas_id)
    if silent or target.unanswered_until is not None:
        until = real_now() + NAS_REST if silent else None
        await tx.update(nas, Nas, {"id": order.nas_id}, unanswered_until=until)
    if silent and not is_last_attempt:
        return CoaOutcome.PENDING
    await _settle(tx, order, reply.outcome, error_cause=reply.error_cause)
    return reply.outcome


async def give_up_order(tx: Tx, order_id: int) -> None:
    """The last attempt is over and the NAS is not even asked any more: `timeout`."""
    order = await tx.find(_LOCKED, Order, id=order_id)
    if order is not None and order.outcome == CoaOutcome.PENDING:
        await _settle(tx, order, CoaOutcome.TIMEOUT)


async def _order_disconnect(tx: Tx, session: Session, reason: str) -> None:
    if await find_pending_order(tx, session.id, CoaKind.DISCONNECT) is None:
        await _place(tx, session, CoaKind.DISCONNECT, {}, reason)


async def _place(
    tx: Tx, session: Session, kind: CoaKind, attributes: dict[str, Attribute], reason: str
) -> None:
    order = await tx.insert(
        coa_request,
        Order,
        kind=kind.value,
        nas_id=session.nas_id,
        subscriber_id=session.subscriber_id,
        session_id=session.id,
        acct_session_id=session.acct_session_id,
        username=session.username,
        framed_ip=session.framed_ip,
        attributes=attributes,
        reason=reason,
        requested_at=real_now(),
    )
    await emit(
        tx,
        "coa_request.placed",
        entity=ENTITY,
        entity_id=order.id,
        kind=kind.value,
        subscriber_id=session.subscriber_id,
    )


async def _current_attributes(tx: Tx, order: Order, target: Nas) -> dict[str, Any]:
    """Speeds as they are when the order is sent, so that a retried old order does not undo a newer one."""
    if order.kind != CoaKind.COA:
        return order.attributes
    login = await find_login(tx, order.subscriber_id)
    if login is None or login.decision == LoginDecision.REJECT:
        return order.attributes
    return {
        **order.attributes,
        **rate_attributes(target.vendor, login.download_bps, login.upload_bps),
    }


async def _settle(tx: Tx, order: Order, outcome: CoaOutcome, *, error_cause: int | None = None) -> None:
    await tx.update(
        coa_request,
        Order,
        {"id": order.id},
        outcome=outcome.value,
        error_cause=error_cause,
        answered_at=real_now(),
    )
