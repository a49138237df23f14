"""Carriers that speak MEF LSO Sonata: AT&T, Colt, PCCW Global, Verizon and others.

Product Inventory (MEF 116, v7), Billing (MEF 154, v2) and Trouble Ticket (MEF 113, v4). The endpoint is the part
before `/mefApi`. Parameters: `inventory_path`, `billing_path`, `ticket_path` where a carrier's differ, `buyer_id`,
`seller_id`, `page_size`, `billing` and `tickets` (false where the carrier does not offer them), `bill_days`.

A list of products does not carry prices: each product is asked for by its id. MEF leaves to the carrier what it puts
into a product's configuration; a circuit ID is read from `productConfiguration.circuitId` where there is one, and
circuits are otherwise found by the carrier's product id or by `externalId`, the buyer's own name in the order.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

from .carrier import OAuthProviderSync
from .errors import BadAnswer, RowRefused
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
    "active": "active",
    "active.pendingChange": "active",
    "pendingTerminate": "active",
    "suspended": "active",
    "suspendedPendingTerminate": "active",
    "pendingActive": "",
    "cancelled": "ended",
    "terminated": "ended",
}
KINDS: dict[str, ChargeKind] = {
    "recurring": "recurring",
    "nonRecurring": "non_recurring",
    "usageBased": "usage",
}


class SonataProviderSync(OAuthProviderSync):
    """Any carrier behind MEF LSO Sonata."""

    provider_name = "sonata"
    label = "MEF LSO Sonata"
    supports_delta: ClassVar[bool] = True
    needs_details: ClassVar[bool] = True
    announces_total: ClassVar[bool] = True
    inventory_path: ClassVar[str] = "/mefApi/sonata/productInventory/v7"
    billing_path: ClassVar[str] = "/mefApi/sonata/customerBillManagement/v2"
    ticket_path: ClassVar[str] = "/mefApi/sonata/troubleTicket/v4"

    @property
    def publishes_tickets(self) -> bool:  # type: ignore[override] # a carrier may offer less than the standard
        return bool(self.parameters.get("tickets", True))

    @property
    def publishes_charges(self) -> bool:  # type: ignore[override]
        return bool(self.parameters.get("billing", True))

    # Products

    def list_circuits(self, since: date | None) -> Iterator[list[Row]]:
        changed = {"lastUpdateDate.gt": _instant(since)} if since else {}
        path = f"{self._path('inventory_path')}/product"
        yield from self.rows(ListRequest(path, query={**self._parties(), **changed}), self._paging())

    def details_of(self, row: Row) -> Row:
        product_id = read_text(row.get("id"), "id", 200)
        if not product_id:
            raise RowRefused("a product without id", "id")
        return self._product(product_id)

    def get_circuit_details(self, circuit_id: str) -> dict[str, Any]:
        return dict(self._product(circuit_id))

    def read_circuit(self, row: Row) -> CircuitRecord:
        status = text_of(row, "status")
        if status not in STATES:
            raise RowRefused(f"{status!r} is no status of MEF 81", "status")
        prices = read_prices(row.get("productPrice"), self.currencies)
        return CircuitRecord(
            carrier_id=read_text(row.get("id"), "id", 200),
            cid=read_text(find(row, "productConfiguration.circuitId"), "circuitId", 100),
            customer_id=read_text(row.get("externalId"), "externalId", 200),
            account=read_text(find(row, "billingAccount.id"), "billingAccount", 100),
            state=STATES[status],
            nrc=prices.nrc,
            mrc=prices.mrc,
            currency=prices.currency,
            contract=_read_contract(row),
        )

    # Trouble tickets

    def list_tickets(self, since: date | None) -> Iterator[list[Row]]:
        path = f"{self._path('ticket_path')}/troubleTicket"
        yield from self.rows(ListRequest(path, query=self._parties()), self._paging())

    def read_ticket(self, row: Row) -> TicketRecord:
        status = read_ticket_status(row.get("status"))
        return TicketRecord(
            number=read_text(row.get("id"), "id", 100),
            circuit=related_product(row),
            subject=clip_text(text_of(row, "description").partition("\n")[0], 200),
            status=status,
            priority=read_ticket_priority(row),
            opened_at=read_moment(row.get("creationDate"), "creationDate"),
            closed_at=read_moment(row.get("resolutionDate"), "resolutionDate")
            if status in ("resolved", "closed")
            else None,
            description=clip_text(row.get("description"), 10_000),
        )

    # Bills

    def list_charges(self, since: date | None) -> Iterator[list[Row]]:
        begin = since or datetime.now(UTC).date() - timedelta(days=int(self.parameters.get("bill_days", 62)))
        request = ListRequest(
            f"{self._path('billing_path')}/customerBill",
            query={"billingPeriod.endDateTime.gt": _instant(begin)},
        )
        for page in self.rows(request, self._paging()):
            for bill in page:
                yield self._bill_lines(bill)

    def read_charge(self, row: Row) -> ChargeRecord:
        kind = KINDS.get(text_of(row, "customerBillItemType"))
        if kind is None:
            raise RowRefused(
                f"{row.get('customerBillItemType')!r} is no type of a bill's line", "customerBillItemType"
            )
        amount, currency = read_tmf_amount(row.get("taxExcludedAmount"), self.currencies)
        return ChargeRecord(
            bill_number=read_text(row.get("billNo"), "billNo", 100),
            line=read_text(row.get("id"), "id", 200),
            circuit=read_text(find(row, "product.id"), "product", 200),
            kind="credit" if row.get("state") == "credit" else kind,
            amount=amount,
            currency=currency,
            period_start=read_date(find(row, "periodCoverage.startDateTime"), "periodCoverage"),
            period_end=read_date(find(row, "periodCoverage.endDateTime"), "periodCoverage"),
            description=clip_text(row.get("description"), 500),
        )

    # Parts

    def _product(self, product_id: str) -> Row:
        answer = self.ask(
            ListRequest(
                f"{self._path('inventory_path')}/product/{_segment(product_id)}", query=self._parties()
            )
        )
        product = first(answer.body)
        if text_of(product, "id") != product_id:
            raise BadAnswer(
                f"asked for product {product_id}, the carrier answered {text_of(product, 'id') or 'none'}"
            )
        return product

    def _bill_lines(self, bill: Row) -> list[Row]:
        base = self._path("billing_path")
        whole = first(self.ask(ListRequest(f"{base}/customerBill/{_segment(text_of(bill, 'id'))}")).body)
        references = whole.get("customerBillItem")
        if not isinstance(references, list):
            raise BadAnswer(f"bill {text_of(bill, 'id')} has no list customerBillItem")
        requests = [
            ListRequest(f"{base}/customerBillItem/{_segment(text_of(reference, 'id'))}")
            for reference in references
        ]
        return [{**first(answer.body), "billNo": whole.get("billNo")} for answer in self.ask_each(requests)]

    def _path(self, name: str) -> str:
        return str(self.parameters.get(name) or getattr(self, name))

    def _paging(self) -> Offset:
        return Offset(
            limit=int(self.parameters.get("page_size", 100)), limit_name="limit", total_header="X-Total-Count"
        )

    def _parties(self) -> dict[str, str]:
        named = {"buyerId": self.parameters.get("buyer_id"), "sellerId": self.parameters.get("seller_id")}
        return {name: str(value) for name, value in named.items() if value}


def _read_contract(row: Row) -> ContractRecord | None:
    term = first(row.get("productTerm"))
    number = text_of(first(row.get("productOrderItem")), "productOrderId")
    if not term or not number:
        return None
    action = text_of(term, "endOfTermAction")
    months = read_term_months(term.get("duration"))
    return ContractRecord(
        number=read_text(number, "productOrderId", 100),
        start_date=read_date(row.get("startDate"), "startDate"),
        end_date=read_date(row.get("terminationDate"), "terminationDate"),
        term_months=months,
        auto_renew=action in ("autoRenew", "roll") if action and months else None,
    )


def _instant(day: date) -> str:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).isoformat().replace("+00:00", "Z")


def _segment(identifier: str) -> str:
    """An identifier as one step of a path."""
    if not identifier:
        raise BadAnswer("the carrier named an object without id")
    return quote(identifier, safe="")


provider_registry.register("sonata", SonataProviderSync)
