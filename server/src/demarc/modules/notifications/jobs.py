"""Sending: after the commit that queued the message, with no transaction open while the other side is asked."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from demarc.kernel.db import Tx
from demarc.kernel.errors import Misconfigured, Unavailable
from demarc.kernel.jobs import Work, job
from demarc.modules.notifications.errors import Refused
from demarc.modules.notifications.ports import Mailer, MailMessage, SmsMessage, SmsSender
from demarc.modules.notifications.queries import Notification
from demarc.modules.notifications.rules import message_id
from demarc.modules.notifications.service import mark_failed, mark_sent, note_attempt, note_error
from demarc.modules.notifications.states import Channel

ATTEMPTS = 30
"""With the delays below: 30 attempts within 23 hours, then it has failed."""


class SendNotification(msgspec.Struct, frozen=True):
    """Which message."""

    notification_id: int


@job(
    "notifications.send",
    SendNotification,
    attempts=ATTEMPTS,
    first_delay=timedelta(seconds=30),
    max_delay=timedelta(hours=1),
)
async def send_notification(work: Work, payload: SendNotification) -> None:
    """Send one message that is still pending.

    A crash between the sending and the noting of it sends again, with the same Message-ID.
    """
    async with work.begin() as tx:
        pending = await note_attempt(tx, payload.notification_id)
        message = None if pending is None else _message(tx, pending)
    if message is None:
        return
    try:
        await _deliver(work, message)
    except Refused as refusal:
        await _fail(work, payload.notification_id, refusal.message, transport=False)
    except (Unavailable, Misconfigured) as trouble:
        await _wait_or_fail(work, payload.notification_id, trouble)
    else:
        async with work.begin() as tx:
            await mark_sent(tx, payload.notification_id)


def _message(tx: Tx, pending: Notification) -> MailMessage | SmsMessage:
    if pending.channel == Channel.SMS:
        return SmsMessage(str(pending.uid), pending.recipient, pending.body, tx.tenant.is_sandbox)
    sender = tx.tenant.settings.get("mail_from")
    return MailMessage(
        message_id=message_id(pending.uid, tx.tenant.slug),
        sender=str(sender) if sender else None,
        sender_name=str(tx.tenant.settings.get("company_name") or ""),
        recipient=pending.recipient,
        subject=pending.subject,
        body=pending.body,
    )


async def _deliver(work: Work, message: MailMessage | SmsMessage) -> None:
    if isinstance(message, MailMessage):
        await work.port(Mailer).send(message)  # type: ignore[type-abstract]
    else:
        await work.port(SmsSender).send(message)  # type: ignore[type-abstract]


async def _wait_or_fail(work: Work, notification_id: int, trouble: Unavailable | Misconfigured) -> None:
    if work.is_last_attempt:
        await _fail(work, notification_id, trouble.message, transport=True)
        return
    async with work.begin() as tx:
        await note_error(tx, notification_id, trouble.message)
    # A mail server that is set up wrongly gets set up right, so it is waited for as one that is away.
    raise Unavailable(trouble.message) from trouble


async def _fail(work: Work, notification_id: int, reason: str, *, transport: bool) -> None:
    async with work.begin() as tx:
        await mark_failed(tx, notification_id, reason=reason, transport=transport)
