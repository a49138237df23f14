"""Lumen: OAuth client credentials and TM Forum shapes.

Public: Lumen's API Marketplace gives OAuth tokens for client credentials; its Customer Bill API finds bills and
applied customer billing rates, the resources of TMF 678. Not public: the exact paths and Lumen's own additions, which
need an account on the marketplace; the TM Forum shapes of inventory (TMF 637), trouble ticket (TMF 621) and bills
(TMF 678) are assumed and the paths are parameters (`inventory_path`, `ticket_path`, `billing_path`). The customer
number that Lumen asks for goes into the parameter `customer_number`.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import ClassVar

from .carrier import OAuthProviderSync
from .errors import RowRefused
from .paging import ListRequest, Offset, Row, find
from .records import (
    ChargeKind,
    ChargeRecord,
    CircuitRecord,
    CircuitState,
    ContractRecord,
    TicketRecord,
    clip_text,
    read_date,
    read_moment,
    read_text,
)
from .registry import provider_registry
from .tmf import (
    first,
    read_prices,
    read_term_months,
    read_ticket_priority,
    read_ticket_status,
    read_tmf_amount,
    related_product,
    text_of,
)

STATES: dict[str, CircuitState] = {
    "created": "",
    "pendingactive": "",
    "active": "active",
    "suspended": "active",
    "pendingterminate": "active",
    "cancelled": "ended",
    "aborted": "ended",
    "terminated": "ended",
}
KINDS: dict[str, ChargeKind] = {
    "recurringcharge": "recurring",
    "nonrecurringcharge": "non_recurring",
    "onetimecharge": "non_recurring",
    "usagecharge": "usage",
    "credit": "credit",
}


class LumenProviderSync(OAuthProviderSync):
    """Lumen's inventory, tickets and bills."""

    provider_name = "lumen"
    label = "Lumen"
    publishes_tickets: ClassVar[bool] = True
    publishes_charges: ClassVar[bool] = True
    announces_total: ClassVar[bool] = True
    token_path: ClassVar[str] = "/oauth/v2/token"  # noqa: S105 - a path
    inventory_path: ClassVar[str] = "/productInventory/v4/product"
    ticket_path: ClassVar[str] = "/troubleTicket/v4/troubleTicket"
    billing_path: ClassVar[str] = "/customerBillManagement/v4/appliedCustomerBillingRate"

    def list_circuits(self, since: date | None) -> Iterator[list[Row]]:
        yield from self._list("inventory_path", {})

    def read_circuit(self, row: Row) -> CircuitRecord:
        status = text_of(row, "status").lower()
        if status not in STATES:
            raise RowRefused(f"{row.get('status')!r} is no status of TMF 637", "status")
        prices = read_prices(row.get("productPrice"), self.currencies)
        return CircuitRecord(
            carrier_id=read_text(row.get("id"), "id", 200),
            cid=read_text(row.get("productSerialNumber"), "productSerialNumber", 100),
            customer_id=read_text(row.get("name"), "name", 200),
            account=read_text(find(row, "billingAccount.id"), "billingAccount", 100),
            state=STATES[status],
            nrc=prices.nrc,
            mrc=prices.mrc,
            currency=prices.currency,
            contract=_read_contract(row),
        )

    def list_tickets(self, since: date | None) -> Iterator[list[Row]]:
        yield from self._list("ticket_path", {})

    def read_ticket(self, row: Row) -> TicketRecord:
        status = read_ticket_status(row.get("status"))
        closed = row.get("resolutionDate") if status in ("resolved", "closed") else None
        return TicketRecord(
            number=read_text(row.get("id"), "id", 100),
            circuit=related_product(row),
            subject=clip_text(row.get("name") or row.get("description"), 200),
            status=status,
            priority=read_ticket_priority(row),
            opened_at=read_moment(row.get("creationDate"), "creationDate"),
            closed_at=read_moment(closed, "resolutionDate"),
            description=clip_text(row.get("description"), 10_000),
        )

    def list_charges(self, since: date | None) -> Iterator[list[Row]]:
        begin = since or datetime.now(UTC).date() - timedelta(days=int(self.parameters.get("bill_days", 62)))
        yield from self._list("billing_path", {"date.gte": begin.isoformat()})

    def read_charge(self, row: Row) -> ChargeRecord:
        kind = KINDS.get(text_of(row, "type").lower())
        if kind is None:
            raise RowRefused(f"{row.get('type')!r} is no known type of a charge", "type")
        amount, currency = read_tmf_amount(row.get("taxExcludedAmount"), self.currencies)
        return ChargeRecord(
            bill_number=read_text(find(row, "bill.id"), "bill", 100),
            line=read_text(row.get("id"), "id", 200),
            circuit=read_text(find(row, "product.id"), "product", 200),
            kind=kind,
            amount=amount,
            currency=currency,
            period_start=read_date(find(row, "periodCoverage.startDateTime"), "periodCoverage"),
            period_end=read_date(find(row, "periodCoverage.endDateTime"), "periodCoverage"),
            description=clip_text(row.get("description"), 500),
        )

    def _list(self, path_name: str, query: dict[str, str]) -> Iterator[list[Row]]:
        path = str(self.parameters.get(path_name) or getattr(self, path_name))
        customer = self.parameters.get("customer_number")
        request = ListRequest(
            path, query={**query, **({"customerNumber": str(customer)} if customer else {})}
        )
        limit = int(self.parameters.get("page_size", 100))
        yield from self.rows(request, Offset(limit=limit, total_header="X-Total-Count"))


def _read_contract(row: Row) -> ContractRecord | None:
    term = first(row.get("productTerm"))
    number = text_of(first(row.get("productOrderItem")), "productOrderId") or text_of(term, "name")
    if not term or not number:
        return None
    return ContractRecord(
        number=read_text(number, "productTerm", 100),
        start_date=read_date(row.get("startDate"), "startDate"),
        end_date=read_date(find(term, "validFor.endDateTime"), "productTerm"),
        term_months=read_term_months(term.get("duration")),
    )


provider_registry.register("lumen", LumenProviderSync)
