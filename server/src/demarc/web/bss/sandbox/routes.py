"""`/api/sandbox`: what only a sandbox tenant may do."""

from __future__ import annotations

import asyncio
from typing import Literal

from demarc.adapters.mail.trap import list_messages
from demarc.kernel.db import Tx
from demarc.kernel.errors import Forbidden
from demarc.modules.notifications.queries import list_notifications_by_uid
from demarc.modules.notifications.rules import message_id, notification_uid
from demarc.web.bss.parameters import WindowDep
from demarc.web.bss.sandbox.schemas import AdvanceIn, ClockOut, MailList, mail_out
from demarc.web.routing import ApiRouter, PlatformDep, TxDep
from demarc.workflows.sandbox_clock import advance_clock

router = ApiRouter(prefix="/api/sandbox", tag="sandbox")


def _sandbox_only(tx: Tx) -> None:
    if not tx.tenant.is_sandbox:
        raise Forbidden("this tenant is not a sandbox", code="SANDBOX_ONLY")


@router.on("GET", "/clock", permission="platform.read")
async def clock(tx: TxDep) -> ClockOut:
    """The tenant's business time."""
    _sandbox_only(tx)
    return ClockOut(now=tx.now, offset_seconds=tx.tenant.clock_offset.total_seconds())


@router.on("POST", "/clock/advance", permission="sandbox.write")
async def advance(body: AdvanceIn, tx: TxDep) -> ClockOut:
    """Move it forward; overdue invoices, dunning and due terminations follow within seconds."""
    _sandbox_only(tx)
    span = body.span()
    now = await advance_clock(tx, span)
    return ClockOut(now=now, offset_seconds=(tx.tenant.clock_offset + span).total_seconds())


@router.on("GET", "/mail", permission="notifications.read")
async def mail(
    tx: TxDep, platform: PlatformDep, window: WindowDep, sort: Literal["sent_at", "-sent_at"] = "-sent_at"
) -> MailList:
    """E-mail that arrived in the sandbox's trap, newest first: this tenant's only, of the newest thousand of all."""
    _sandbox_only(tx)
    trapped = await asyncio.to_thread(list_messages, platform.settings.data_dir.absolute() / "mail")
    uids = {uid for one in trapped if (uid := notification_uid(one.message_id)) is not None}
    ours = {message_id(one.uid, tx.tenant.slug): one for one in await list_notifications_by_uid(tx, uids)}
    found = [mail_out(one, ours[one.message_id]) for one in trapped if one.message_id in ours]
    if sort == "sent_at":
        found.reverse()
    return MailList(
        messages=found[window.skip : window.skip + window.limit],
        total=len(found),
        skip=window.skip,
        limit=window.limit,
    )
