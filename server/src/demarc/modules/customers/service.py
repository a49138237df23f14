"""Every write of customers, one function per use case."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from demarc.kernel.db import Tx
from demarc.kernel.outbox import emit
from demarc.kernel.states import record_status_change
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record
from demarc.modules.customers.inputs import NewCustomer, clean_changes
from demarc.modules.customers.models import customer
from demarc.modules.customers.queries import Customer, get_customer
from demarc.modules.customers.states import CustomerStatus

ENTITY = "customer"


async def create_customer(
    tx: Tx, new: NewCustomer, *, uid: UUID | None = None, customer_id: int | None = None
) -> Customer:
    """Take on a customer; active at once.

    Args:
        tx: the caller's transaction.
        new: the customer's data.
        uid: given by the sandbox only; otherwise the database makes one.
        customer_id: likewise.
    """
    fixed = {name: value for name, value in (("uid", uid), ("id", customer_id)) if value is not None}
    made = await tx.insert(
        customer,
        Customer,
        **{**asdict(new), "tags": list(new.tags)},
        **fixed,
        status=CustomerStatus.ACTIVE.value,
        created_at=tx.now,
        updated_at=tx.now,
    )
    await record_status_change(tx, entity=ENTITY, entity_id=made.id, from_status=None, to_status=made.status)
    await record(tx, "customer.create", entity=ENTITY, entity_id=made.id, after=asdict(made))
    await emit(tx, "customer.created", entity=ENTITY, entity_id=made.id, customer_uid=str(made.uid))
    return made


async def update_customer(tx: Tx, uid: UUID, changes: dict[str, Any]) -> Customer:
    """Change the given fields.

    Raises:
        NotFound: no such customer.
        Invalid: a value is not acceptable.
    """
    before = await get_customer(tx, uid)
    cleaned = clean_changes(changes)
    if not cleaned:
        return before
    if "tags" in cleaned:
        cleaned["tags"] = list(cleaned["tags"])
    after = await tx.update(customer, Customer, {"id": before.id}, **cleaned, updated_at=tx.now)
    old, new = changed_fields(asdict(before), asdict(after))
    await record(tx, "customer.update", entity=ENTITY, entity_id=after.id, before=old, after=new)
    await emit(tx, "customer.updated", entity=ENTITY, entity_id=after.id, fields=sorted(cleaned))
    return after
