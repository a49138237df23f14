"""Sends orders to NAS, after the transaction that wanted them has committed."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Tx
from demarc.kernel.errors import Invalid, Unavailable
from demarc.kernel.jobs import Work, defer, job
from demarc.kernel.outbox import Event, projects
from demarc.modules.access.ports import CoaOrder, CoaReply, CoaSender
from demarc.modules.access.service import claim_order, give_up_order, settle_order
from demarc.modules.access.states import CoaOutcome

UNSUPPORTED_ATTRIBUTE = 401
"""Error-Cause that is stored when our own dictionary refuses what was ordered."""


class SendOrder(msgspec.Struct, frozen=True):
    """Which order to send."""

    order_id: int


@job(
    "access.send_order",
    SendOrder,
    attempts=12,
    first_delay=timedelta(seconds=2),
    max_delay=timedelta(minutes=5),
)
async def send_order(work: Work, payload: SendOrder) -> None:
    """Send one order and keep its outcome; no transaction is open while the NAS is asked.

    Raises:
        Unavailable: the NAS did not answer; the job comes back later, until its last attempt.
    """
    order = await _claim(work, payload.order_id)
    if order is None:
        return
    reply = await _send(work.port(CoaSender), order)  # type: ignore[type-abstract]
    async with work.begin() as tx:
        outcome = await settle_order(tx, payload.order_id, reply, is_last_attempt=work.is_last_attempt)
    if outcome is CoaOutcome.PENDING:
        raise Unavailable("the NAS did not answer the order; it is sent again later")


@projects("coa_request.placed")
async def queue_order(tx: Tx, event: Event) -> None:
    """An order and its job are written together."""
    await defer(tx, send_order, SendOrder(event.entity_id), dedupe_key=f"access.send_order:{event.entity_id}")


async def _claim(work: Work, order_id: int) -> CoaOrder | None:
    try:
        async with work.begin() as tx:
            return await claim_order(tx, work.port(MasterKey), order_id)
    except Unavailable:
        if not work.is_last_attempt:
            raise
    async with work.begin() as tx:
        await give_up_order(tx, order_id)
    return None


async def _send(sender: CoaSender, order: CoaOrder) -> CoaReply:
    try:
        return await sender.send(order)
    except Invalid:
        return CoaReply(CoaOutcome.NAK, attempts=0, error_cause=UNSUPPORTED_ATTRIBUTE)
