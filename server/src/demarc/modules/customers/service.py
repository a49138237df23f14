"""Every write of customers, one function per use case."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, update

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.kernel.outbox import emit
from demarc.kernel.sql import Query, mine
from demarc.kernel.states import change_status, record_status_change
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record
from demarc.modules.customers.errors import CustomerErased
from demarc.modules.customers.inputs import TAGS_MAX, NewCustomer, clean_changes, clean_note
from demarc.modules.customers.models import customer, customer_note
from demarc.modules.customers.queries import Customer, Note, get_customer, get_note
from demarc.modules.customers.states import CUSTOMER, CustomerStatus
from demarc.modules.identity.queries import get_user
from demarc.modules.identity.states import Role

ENTITY = "customer"
NOTE = "customer_note"
_ERASED_NAME = "Erased customer"
_REPOINT = Query(
    update(customer)
    .where(mine(customer), customer.c.merged_into_id == bindparam("source_id", type_=customer.c.id.type))
    .values(merged_into_id=bindparam("survivor_id", type_=customer.c.id.type))
)
_DELETE_NOTE = Query(delete(customer_note).where(mine(customer_note), customer_note.c.id == bindparam("id")))
_DELETE_NOTES = Query(
    delete(customer_note).where(mine(customer_note), customer_note.c.customer_id == bindparam("customer_id"))
)


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
        CustomerErased: nobody is left to change.
    """
    before = await get_customer(tx, uid)
    refuse_erased(before)
    cleaned = clean_changes(changes)
    if cleaned.get("reseller_id") is not None:
        cleaned["reseller_id"] = await _reseller(tx, cleaned["reseller_id"])
    if not cleaned:
        return before
    if "tags" in cleaned:
        cleaned["tags"] = list(cleaned["tags"])
    after = await tx.update(customer, Customer, {"id": before.id}, **cleaned, updated_at=tx.now)
    old, new = changed_fields(asdict(before), asdict(after))
    await record(tx, "customer.update", entity=ENTITY, entity_id=after.id, before=old, after=new)
    await emit(tx, "customer.updated", entity=ENTITY, entity_id=after.id, fields=sorted(cleaned))
    return after


async def _reseller(tx: Tx, uid: UUID) -> int:
    user = await get_user(tx, uid)
    if user.role != Role.RESELLER.value:
        raise invalid("reseller_id", f"{user.email} is not a reseller")
    return user.id


def refuse_erased(row: Customer) -> None:
    """Raises `CustomerErased`."""
    if row.erased_at is not None:
        raise CustomerErased(f"customer {row.uid} was erased at {row.erased_at:%Y-%m-%d}; take on a new one")


async def add_note(tx: Tx, customer_uid: UUID, body: str) -> Note:
    """Note something about a customer, signed by whoever acts.

    Raises:
        NotFound: no such customer.
        Invalid: empty, or too long.
        CustomerErased: nobody is left to note anything of.
    """
    owner = await get_customer(tx, customer_uid)
    refuse_erased(owner)
    made = await tx.insert(
        customer_note,
        Note,
        customer_id=owner.id,
        body=clean_note(body),
        author=tx.actor.name,
        created_at=tx.now,
        updated_at=tx.now,
    )
    await record(tx, "customer_note.create", entity=NOTE, entity_id=made.id, after={"customer_id": owner.id})
    return made


async def update_note(tx: Tx, customer_uid: UUID, uid: UUID, body: str) -> Note:
    """Change what it says; its author stays.

    Raises:
        NotFound: no such customer, or no such note on it.
        Invalid: empty, or too long.
    """
    before = await get_note(tx, (await get_customer(tx, customer_uid)).id, uid)
    after = await tx.update(customer_note, Note, {"id": before.id}, body=clean_note(body), updated_at=tx.now)
    await record(tx, "customer_note.update", entity=NOTE, entity_id=after.id)
    return after


async def delete_note(tx: Tx, customer_uid: UUID, uid: UUID) -> None:
    """Raises `NotFound`."""
    found = await get_note(tx, (await get_customer(tx, customer_uid)).id, uid)
    await tx.execute(_DELETE_NOTE, id=found.id)
    await record(tx, "customer_note.delete", entity=NOTE, entity_id=found.id)


async def mark_merged(tx: Tx, source: Customer, survivor: Customer) -> Customer:
    """The source is the survivor from now on; what the survivor lacks is taken from the source."""
    lacking = {
        name: getattr(source, name)
        for name in ("email", "phone", "address", "billing_address")
        if getattr(survivor, name) is None and getattr(source, name) is not None
    }
    tags = list(dict.fromkeys([*survivor.tags, *source.tags]))[:TAGS_MAX]
    after = await tx.update(customer, Customer, {"id": survivor.id}, **lacking, tags=tags, updated_at=tx.now)
    await tx.execute(_REPOINT, source_id=source.id, survivor_id=survivor.id)
    await _terminate(tx, source, f"merged into {survivor.uid}", merged_into_id=survivor.id)
    await record(
        tx,
        "customer.merge",
        entity=ENTITY,
        entity_id=survivor.id,
        before={"merged": str(source.uid)},
        after={"filled": sorted(lacking), "tags": tags},
    )
    await emit(
        tx,
        "customer.merged",
        entity=ENTITY,
        entity_id=survivor.id,
        customer_uid=str(survivor.uid),
        merged_uid=str(source.uid),
    )
    return after


async def erase_customer(tx: Tx, row: Customer, *, reason: str) -> Customer:
    """Forget who the customer was; the row stays, since the books name it.

    The caller has seen that nothing binds the customer any more.
    """
    await tx.execute(_DELETE_NOTES, customer_id=row.id)
    erased = await _terminate(
        tx,
        row,
        reason,
        name=_ERASED_NAME,
        erased_at=tx.now,
        tags=[],
        **dict.fromkeys(("email", "phone", "address", "billing_address", "portal_id")),
    )
    await record(tx, "customer.erase", entity=ENTITY, entity_id=row.id, after={"reason": reason})
    await emit(tx, "customer.erased", entity=ENTITY, entity_id=row.id, customer_uid=str(row.uid))
    return erased


async def _terminate(tx: Tx, row: Customer, reason: str, **values: Any) -> Customer:
    if row.status == CustomerStatus.TERMINATED.value:
        return await tx.update(customer, Customer, {"id": row.id}, **values, updated_at=tx.now)
    return await change_status(
        tx,
        CUSTOMER,
        customer,
        Customer,
        entity_id=row.id,
        current=CustomerStatus(row.status),
        target=CustomerStatus.TERMINATED,
        reason=reason,
        **values,
    )
