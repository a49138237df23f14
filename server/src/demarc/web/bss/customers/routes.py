"""`/api/customers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query

from demarc.kernel.db import Tx
from demarc.modules.billing.queries import lifetime_values
from demarc.modules.customers.queries import Customer, get_customer, get_note, list_customers, list_notes
from demarc.modules.customers.service import (
    add_note,
    create_customer,
    delete_note,
    update_customer,
    update_note,
)
from demarc.modules.customers.states import CustomerStatus, CustomerTier
from demarc.modules.identity.queries import user_uids_of
from demarc.web.bss.customers.schemas import (
    CustomerIn,
    CustomerList,
    CustomerOut,
    CustomerPatch,
    ErasureIn,
    ExportOut,
    MergeIn,
    MergeOut,
    NoteIn,
    NoteList,
    NoteOut,
    balance_of,
    customer_out,
    note_out,
)
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.bss.references import user_key
from demarc.web.routing import ApiRouter, TxDep
from demarc.workflows.customers.merging import merge_customers, preview_merge
from demarc.workflows.customers.privacy import export_customer, forget_customer

router = ApiRouter(prefix="/api/customers", tag="customers")


@router.on("POST", "", permission="customers.write", status=201, problem=(409,))
async def create(body: CustomerIn, tx: TxDep) -> CustomerOut:
    """Take on a customer."""
    return await _one(tx, await create_customer(tx, body.to_input()))


@router.on("GET", "", permission="customers.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    status: CustomerStatus | None = None,
    tier: CustomerTier | None = None,
    tag: Annotated[str | None, Query(max_length=50)] = None,
    email: Annotated[str | None, Query(max_length=254)] = None,
    search: Annotated[str | None, Query(max_length=100, description="part of name, e-mail or phone")] = None,
    reseller_id: UUID | None = None,
    sort: SortParam = None,
) -> CustomerList:
    """Customers in the order they came, unless `sort` says otherwise (created_at, name)."""
    page = await list_customers(
        tx,
        window,
        sort=sort,
        status=status,
        tier=tier,
        tag=tag,
        email=email,
        search=search,
        reseller_id=await user_key(tx, reseller_id),
    )
    return CustomerList(customers=await _many(tx, page.rows), **counts(page))


@router.on("GET", "/{customer_id}", permission="customers.read", problem=(404,))
async def get(customer_id: UUID, tx: TxDep) -> CustomerOut:
    """One customer."""
    return await _one(tx, await get_customer(tx, customer_id))


@router.on("PATCH", "/{customer_id}", permission="customers.write", problem=(404, 409))
async def patch(customer_id: UUID, body: CustomerPatch, tx: TxDep) -> CustomerOut:
    """Change the fields given."""
    return await _one(tx, await update_customer(tx, customer_id, body.changes()))


@router.on("POST", "/{customer_id}/notes", permission="customers.write", status=201, problem=(404, 409))
async def create_note(customer_id: UUID, body: NoteIn, tx: TxDep) -> NoteOut:
    """Note something about a customer, signed by you."""
    return note_out(await add_note(tx, customer_id, body.body))


@router.on("GET", "/{customer_id}/notes", permission="customers.read", problem=(404,))
async def list_of_notes(
    customer_id: UUID,
    tx: TxDep,
    window: WindowDep,
    search: Annotated[str | None, Query(max_length=100, description="part of the text")] = None,
    author: Annotated[str | None, Query(max_length=254)] = None,
    sort: SortParam = None,
) -> NoteList:
    """Notes, newest first, unless `sort` says otherwise (created_at, updated_at)."""
    owner = await get_customer(tx, customer_id)
    page = await list_notes(tx, window, sort=sort, customer_id=owner.id, search=search, author=author)
    return NoteList(notes=[note_out(row) for row in page.rows], **counts(page))


@router.on("GET", "/{customer_id}/notes/{note_id}", permission="customers.read", problem=(404,))
async def get_one_note(customer_id: UUID, note_id: UUID, tx: TxDep) -> NoteOut:
    """One note."""
    return note_out(await get_note(tx, (await get_customer(tx, customer_id)).id, note_id))


@router.on("PATCH", "/{customer_id}/notes/{note_id}", permission="customers.write", problem=(404,))
async def patch_note(customer_id: UUID, note_id: UUID, body: NoteIn, tx: TxDep) -> NoteOut:
    """Change what a note says."""
    return note_out(await update_note(tx, customer_id, note_id, body.body))


@router.on(
    "DELETE",
    "/{customer_id}/notes/{note_id}",
    permission="customers.write",
    status=204,
    problem=(404,),
    response_model=None,
)
async def remove_note(customer_id: UUID, note_id: UUID, tx: TxDep) -> None:
    """Take a note away."""
    await delete_note(tx, customer_id, note_id)


@router.on("POST", "/{customer_id}/merge", permission="privacy.write", problem=(404, 409))
async def merge(customer_id: UUID, body: MergeIn, tx: TxDep) -> MergeOut:
    """Two records of one customer become this one: everything moves, the ledger stays, balances add up."""
    act = preview_merge if body.dry_run else merge_customers
    done = await act(tx, customer_id, body.duplicate_id)
    return MergeOut(
        customer=await _one(tx, done.survivor),
        duplicate_id=body.duplicate_id,
        dry_run=body.dry_run,
        moved=done.moved,
        balances=[balance_of(one) for one in done.balances],
    )


@router.on("GET", "/{customer_id}/export", permission="privacy.read", problem=(404,))
async def export(customer_id: UUID, tx: TxDep) -> ExportOut:
    """Everything that is known of a customer, as one JSON document; that it was asked for is audited."""
    told = await export_customer(tx, customer_id)
    return ExportOut(
        exported_at=told.exported_at, customer=told.customer, data=told.data, truncated=told.truncated
    )


@router.on("POST", "/{customer_id}/erase", permission="privacy.write", problem=(404, 409))
async def erase(customer_id: UUID, body: ErasureIn, tx: TxDep) -> CustomerOut:
    """Forget who a customer was; invoices and the ledger stay. Refused while something is open or owed."""
    return await _one(tx, await forget_customer(tx, customer_id, reason=body.reason))


async def _one(tx: Tx, row: Customer) -> CustomerOut:
    return (await _many(tx, [row]))[0]


async def _many(tx: Tx, rows: Sequence[Customer]) -> list[CustomerOut]:
    paid = await lifetime_values(tx, [row.id for row in rows])
    resellers = {row.reseller_id for row in rows if row.reseller_id is not None}
    known = await user_uids_of(tx, resellers) if resellers else {}
    return [
        customer_out(row, paid_minor=paid[row.id], reseller=known.get(row.reseller_id or 0)) for row in rows
    ]
