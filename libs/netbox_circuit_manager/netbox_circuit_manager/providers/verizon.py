"""Verizon: the Digital Connect inventory, CIList.

Public (digitalconnect.verizon.com): `POST /CIList` with version, transactionID, period (1 is today, up to 7 days),
fullInventory, nextKey (an answer has at most 5000 services), and the fields ciName, serviceID, productServiceName,
ban, ciStatus (Active, Deactive, Abandoned), lastModifiedDate, installationDate, disconnectedDate. Not public here: the
name of the list in the answer (`ciList` is assumed, parameter `rows`), the token path, and anything about prices.
CIList says of itself that details are not included: prices are read from a details call whose path and field names
come with the contract (parameters `details_path`, `mrc_field`, `nrc_field`, `currency_field`); with `details` false,
the identifiers and states are synced and costs left as they are. Verizon's Sonata interface is served by the provider
type `sonata`.
"""

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any, ClassVar

from .carrier import OAuthProviderSync
from .errors import BadAnswer, RowRefused
from .paging import Answer, Cursor, ListRequest, Row, find
from .records import CircuitRecord, CircuitState, read_currency, read_money, read_text
from .registry import provider_registry
from .tmf import first, text_of

STATES: dict[str, CircuitState] = {"active": "active", "deactive": "ended", "abandoned": "ended"}


class VerizonProviderSync(OAuthProviderSync):
    """Verizon's inventory, whole or what changed in the last one to seven days."""

    provider_name = "verizon"
    label = "Verizon"
    supports_delta: ClassVar[bool] = True
    id_field: ClassVar[str] = "serviceID"
    longest_delta_days: ClassVar[int | None] = 7

    @property
    def needs_details(self) -> bool:  # type: ignore[override] # a customer may have no right to prices
        return bool(self.parameters.get("details", True))

    def list_circuits(self, since: date | None) -> Iterator[list[Row]]:
        request = ListRequest(
            str(self.parameters.get("inventory_path", "/CIList")),
            rows=str(self.parameters.get("rows", "ciList")),
            method="POST",
            body={**self._envelope(), "period": self._period(since), "fullInventory": since is None},
        )
        yield from self.rows(request, Cursor(cursor="nextKey", next="nextKey", where="body"))

    def details_of(self, row: Row) -> Row:
        service_id = read_text(row.get("serviceID"), "serviceID", 200)
        if not service_id:
            raise RowRefused("a service without id", "serviceID")
        return {**row, **self._details(service_id)}

    def get_circuit_details(self, circuit_id: str) -> dict[str, Any]:
        return dict(self._details(circuit_id))

    def read_circuit(self, row: Row) -> CircuitRecord:
        status = text_of(row, "ciStatus").lower()
        if status not in STATES:
            raise RowRefused(f"{row.get('ciStatus')!r} is no known status", "ciStatus")
        mrc = read_money(find(row, str(self.parameters.get("mrc_field", "monthlyRecurringCharge"))), "mrc")
        nrc = read_money(find(row, str(self.parameters.get("nrc_field", "nonRecurringCharge"))), "nrc")
        currency = find(row, str(self.parameters.get("currency_field", "currencyCode")))
        return CircuitRecord(
            carrier_id=read_text(row.get("serviceID"), "serviceID", 200),
            cid=read_text(row.get("ciName"), "ciName", 100),
            account=read_text(row.get("ban"), "ban", 100),
            state=STATES[status],
            nrc=nrc,
            mrc=mrc,
            currency=read_currency(currency, self.currencies, self.stated_currency),
        )

    def ask(self, request: ListRequest) -> Answer:
        """Verizon answers failures with 200 and `succeeded: false`."""
        answer = super().ask(request)
        if isinstance(answer.body, dict) and answer.body.get("succeeded") is False:
            raise BadAnswer(f"{request.path}: the carrier answered that the request did not succeed")
        return answer

    def _details(self, service_id: str) -> Row:
        path = str(self.parameters.get("details_path", "/CIDetails"))
        body = {**self._envelope(), "serviceID": service_id}
        details = first(self.ask(ListRequest(path, method="POST", body=body)).body)
        if text_of(details, "serviceID") != service_id:
            raise BadAnswer(
                f"asked for {service_id}, the carrier answered {text_of(details, 'serviceID') or 'none'}"
            )
        return details

    def _envelope(self) -> dict[str, str]:
        return {"version": str(self.parameters.get("version", "V1")), "transactionID": uuid.uuid4().hex}

    def _period(self, since: date | None) -> str:
        days = (datetime.now(UTC).date() - since).days + 1 if since else 1
        return str(min(max(days, 1), 7))


provider_registry.register("verizon", VerizonProviderSync)
