"""Who changes a subscriber holds the service first, as whoever ends or suspends it does: two never wait for each other."""

from __future__ import annotations

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.modules.access.queries import Subscriber, get_subscriber_by_id, lock_subscriber
from demarc.modules.access.states import SubscriberStatus
from demarc.modules.services.queries import hold_service


async def hold_subscriber(tx: Tx, subscriber_id: int) -> Subscriber:
    """The row, locked with its service's until the transaction ends.

    Raises:
        NotFound: no such subscriber.
    """
    await hold_service(tx, (await get_subscriber_by_id(tx, subscriber_id)).service_id)
    return await lock_subscriber(tx, subscriber_id)


async def hold_present_subscriber(tx: Tx, subscriber_id: int) -> Subscriber:
    """The same, of one that was not deleted, maybe while this waited.

    Raises:
        NotFound: no such subscriber any more.
    """
    row = await hold_subscriber(tx, subscriber_id)
    if row.status == SubscriberStatus.TERMINATED:
        raise NotFound(f"no subscriber {row.uid}")
    return row
