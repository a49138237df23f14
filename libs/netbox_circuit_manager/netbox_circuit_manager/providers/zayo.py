"""Zayo: the Service Inventory API, a POST with a filter and top/skip.

Public (developer.zayo.com): `POST /services/service-management/v1/existing-services` with `filter` and `paging`
(`top`, `skip`), OAuth client credentials or a bearer token, the answer's `data.records` with serviceName, serviceId,
billingAccountNumber, status, circuitId, customerCircuitId, and that term and total MRC are among the filters. Not
public here: the exact names of the money fields (`totalMrc`, `totalNrc`, `currencyIsoCode` are assumed; another name
is set by the parameters `mrc_field`, `nrc_field`, `currency_field`) and a total of records, so pages are read until
an empty one. The list has no disconnected services; tickets and bills are not part of this API.
"""

from collections.abc import Iterator
from datetime import date
from typing import ClassVar

from .carrier import OAuthProviderSync
from .paging import ListRequest, Offset, Row, find
from .records import (
    CircuitRecord,
    ContractRecord,
    read_currency,
    read_date,
    read_money,
    read_months,
    read_text,
)
from .registry import provider_registry


class ZayoProviderSync(OAuthProviderSync):
    """Zayo's Service Inventory."""

    provider_name = "zayo"
    label = "Zayo"
    token_path: ClassVar[str] = "/oauth/token"  # noqa: S105 - a path
    id_field: ClassVar[str] = "serviceId"
    inventory_path: ClassVar[str] = "/services/service-management/v1/existing-services"

    def list_circuits(self, since: date | None) -> Iterator[list[Row]]:
        path = str(self.parameters.get("inventory_path") or self.inventory_path)
        request = ListRequest(path, rows="data.records", method="POST", body={"filter": self._filter()})
        paging = Offset(
            offset="paging.skip",
            limit_name="paging.top",
            limit=int(self.parameters.get("page_size", 50)),
            where="body",
        )
        yield from self.rows(request, paging)

    def read_circuit(self, row: Row) -> CircuitRecord:
        mrc = read_money(find(row, str(self.parameters.get("mrc_field", "totalMrc"))), "totalMrc")
        nrc = read_money(find(row, str(self.parameters.get("nrc_field", "totalNrc"))), "totalNrc")
        currency = find(row, str(self.parameters.get("currency_field", "currencyIsoCode")))
        return CircuitRecord(
            carrier_id=read_text(row.get("serviceId"), "serviceId", 200),
            cid=read_text(row.get("circuitId"), "circuitId", 100),
            customer_id=read_text(row.get("customerCircuitId"), "customerCircuitId", 200),
            account=read_text(row.get("billingAccountNumber"), "billingAccountNumber", 100),
            state="active",
            nrc=nrc,
            mrc=mrc,
            currency=read_currency(currency, self.currencies, self.stated_currency),
            contract=_read_contract(row),
        )

    def _filter(self) -> dict[str, object]:
        chosen = self.parameters.get("filter")
        return dict(chosen) if isinstance(chosen, dict) else {}


def _read_contract(row: Row) -> ContractRecord | None:
    months = read_months(row.get("term"), "term")
    number = read_text(row.get("serviceName"), "serviceName", 100)
    if months is None or not number:
        return None
    return ContractRecord(
        number=number, start_date=read_date(row.get("termStartDate"), "termStartDate"), term_months=months
    )


provider_registry.register("zayo", ZayoProviderSync)
