"""What follows from a queued message."""

from __future__ import annotations

from demarc.kernel.db import Tx
from demarc.kernel.jobs import defer
from demarc.kernel.outbox import Event, projects
from demarc.modules.notifications.jobs import SendNotification, send_notification


@projects("notification.queued")
async def send_after_commit(tx: Tx, event: Event) -> None:
    """The job is a row of the transaction that queued the message."""
    await defer(tx, send_notification, SendNotification(event.entity_id))
