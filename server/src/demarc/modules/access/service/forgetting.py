"""What stays of log-ins when a customer is forgotten: nothing."""

from __future__ import annotations

from sqlalchemy import BigInteger, bindparam, delete, select

from demarc.kernel.db import Tx
from demarc.kernel.sql import Query, mine
from demarc.modules.access.models import login_attempt, subscriber

_FORGET = Query(
    delete(login_attempt).where(
        mine(login_attempt),
        login_attempt.c.username.in_(
            select(subscriber.c.username).where(
                mine(subscriber), subscriber.c.customer_id == bindparam("customer_id", type_=BigInteger)
            )
        ),
    )
)


async def forget_log_ins(tx: Tx, customer_id: int) -> int:
    """Delete the last answers that a customer's user names got; how many. The names have to be there still."""
    return await tx.execute(_FORGET, customer_id=customer_id)
