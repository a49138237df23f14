"""Automation Exchange (AEx): the platform behind Evotel, Net Nine Nine, Open Fibre and Ripple.

Public: bearer token; `GET /locations?address=`, `POST /locations/proximity-search`, `GET /details`, `POST /customers`,
`POST /services {customer_id, product_id, premise_id}` -> 201 + Location, `GET|PUT /services`, `GET /services/snapshot`.
Tickets are not in the public part: faults go to `POST /tickets`, which is assumed.
"""

from __future__ import annotations

from typing import Any, ClassVar, Dict  # noqa: UP035 - the documented signatures say Dict

from fno_portal.base import C, Capability, FNOClientBase, require_fields, require_rica
from fno_portal.errors import (
    FNOAmbiguousAddressError,
    FNOCoverageError,
    FNOFaultError,
    FNOOrderError,
    FNOPackageError,
    FNOProtocolError,
)
from fno_portal.models import Address

_PAGE_SIZE, _MOST_PAGES = 50, 100
STATES: dict[str, str] = {
    "new": "submitted",
    "pending": "submitted",
    "accepted": "accepted",
    "scheduled": "scheduled",
    "in progress": "in_progress",
    "installing": "in_progress",
    "on hold": "held",
    "active": "completed",
    "cancelled": "cancelled",
    "cancelling": "pending_cancellation",
    "rejected": "rejected",
    "failed": "failed",
}


class AExClient(FNOClientBase):
    """A driver for any operator on AEx; `name` says which."""

    name = "aex"
    assumed: ClassVar[bool] = False
    source: ClassVar[str] = "AEx's public API description; tickets and the reference field are assumed"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {C.COVERAGE, C.ORDER, C.ORDER_STATUS, C.FIND_ORDER, C.CANCEL, C.FAULT, C.FAULT_STATUS}
    )

    async def check_coverage(self, address: str) -> Dict[str, Any]:  # noqa: UP006
        """Locate the premise, then read what is available there."""
        place = Address.of(address)
        if place.keys.get("premiseId") or place.keys.get("areaId"):
            location: dict[str, Any] | None = dict(place.keys)
        else:
            location = await self._locate(place)
        if location is None:
            return {"is_covered": False, "packages": []}
        params = {key: location[key] for key in ("premiseId", "areaId") if location.get(key)}
        details = await self.exchange("get", "/details", params=params, failure=FNOCoverageError)
        return self._coverage(details, location)

    async def _locate(self, place: Address) -> dict[str, Any] | None:
        if str(place):
            answer = await self.exchange(
                "get", "/locations", params={"address": str(place)}, failure=FNOCoverageError
            )
            found = self._items(answer)
            if len(found) > 1:
                raise FNOAmbiguousAddressError(
                    f"{len(found)} premises go by that address",
                    fno=self.name,
                    hint="Choose one of the candidates and ask with its keys",
                    candidates=[_candidate(one) for one in found],
                )
            if found or place.latitude is None:
                return found[0] if found else None
        answer = await self.exchange(
            "post",
            "/locations/proximity-search",
            json={"latitude": place.latitude, "longitude": place.longitude, "page": 1},
            failure=FNOCoverageError,
        )
        near = self._items(answer)
        return near[0] if near else None

    def _items(self, answer: Any) -> list[dict[str, Any]]:
        items = answer.get("items") if isinstance(answer, dict) else answer
        if not isinstance(items, list):
            raise FNOProtocolError("the answer is not a list", fno=self.name, hint="The API may have changed")
        return items

    def _coverage(self, details: Any, location: dict[str, Any]) -> dict[str, Any]:
        answer = require_fields(details, ("available",), fno=self.name, what="GET /details")
        keys = {
            key: str(value)
            for key in ("premiseId", "areaId", "locationId")
            if (value := answer.get(key) or location.get(key))
        }
        return {
            "is_covered": answer["available"] is True,
            "packages": [_package(one) for one in answer.get("products", [])],
            "latitude": location.get("latitude"),
            "longitude": location.get("longitude"),
            "address_keys": keys,
        }

    async def create_order(self, order_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """Make the customer, then the service. Our reference rides along, since AEx has no idempotency key."""
        require_rica(order_data, self.name)
        keys = dict(order_data.get("address_keys") or {})
        covered = await self.check_coverage(Address(str(order_data.get("address", "")), keys=keys))
        if not covered["is_covered"] or not covered["address_keys"].get("premiseId"):
            raise FNOOrderError(
                "there is no premise to order for at that address",
                fno=self.name,
                hint="Check coverage and order with its address_keys",
            )
        customer = await self.exchange(
            "post",
            "/customers",
            json={"reference": order_data["customer_id"], **(order_data.get("contact") or {})},
            failure=FNOOrderError,
        )
        customer_id = require_fields(customer, ("id",), fno=self.name, what="POST /customers")["id"]
        body = {
            "customer_id": customer_id,
            "product_id": _product(order_data["package"], covered["packages"], self.name),
            "premise_id": covered["address_keys"]["premiseId"],
            "reference": order_data["reference"],
            "type": order_data.get("type", "new"),
            "service_id": order_data.get("service_reference"),
        }
        answer, headers = await self.send("post", "/services", json=body, failure=FNOOrderError)
        number = str(headers.get("location") or "").rstrip("/").rpartition("/")[2]
        answer = answer if isinstance(answer, dict) else {}
        number = number or str(answer.get("id") or "")
        if not number:
            raise FNOProtocolError("the new service has no number", fno=self.name, hint="Look the order up")
        return {
            "fno_reference": number,
            "status": STATES.get(str(answer.get("status", "new")).lower(), "submitted"),
        }

    async def get_order_status(self, order_id: str) -> Dict[str, Any]:  # noqa: UP006
        """Read `/services/{id}`."""
        return self._order(await self.exchange("get", f"/services/{order_id}", failure=FNOOrderError))

    async def find_order(self, reference: str) -> dict[str, Any] | None:
        """Read `/services?reference=` page by page: a server that ignores the filter answers with everybody's services.

        Raises:
            FNOProtocolError: no end after so many pages; whether the order is there cannot be told.
        """
        for page in range(1, _MOST_PAGES + 1):
            params = {"reference": reference, "page": page, "page_size": _PAGE_SIZE}
            answer = await self.exchange("get", "/services", params=params, failure=FNOOrderError)
            items = self._items(answer)
            mine = [one for one in items if one.get("reference") == reference]
            if mine:
                return self._order(mine[0])
            if len(items) < _PAGE_SIZE:
                return None
        raise FNOProtocolError(
            f"the look-up has no end after {_MOST_PAGES} pages",
            fno=self.name,
            hint="Ask the operator for the order",
        )

    async def cancel_order(self, order_id: str, reason: str) -> dict[str, Any]:
        """`PUT /services/{id}` with the wish to cancel."""
        answer = await self.exchange(
            "put",
            f"/services/{order_id}",
            json={"status": "cancelling", "reason": reason},
            failure=FNOOrderError,
        )
        status = self._order(answer)["status"]
        return {"cancellation": "completed" if status == "cancelled" else "requested"}

    async def submit_fault(self, fault_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """Post to `/tickets` (assumed)."""
        answer = await self.exchange("post", "/tickets", json=fault_data, failure=FNOFaultError)
        ticket = require_fields(answer, ("id",), fno=self.name, what="POST /tickets")
        return {"fault_id": str(ticket["id"]), "status": ticket.get("status", "open")}

    async def get_fault_status(self, fault_id: str) -> dict[str, Any]:
        """Read `/tickets/{id}` (assumed)."""
        answer = await self.exchange("get", f"/tickets/{fault_id}", failure=FNOFaultError)
        return {"fault_id": fault_id, "status": str(answer.get("status", "open"))}

    def _order(self, service: Any) -> dict[str, Any]:
        fields = require_fields(service, ("id", "status"), fno=self.name, what="the service")
        state = STATES.get(str(fields["status"]).lower())
        if state is None:
            raise FNOProtocolError(
                f"the state {fields['status']!r} is not known",
                fno=self.name,
                hint="Add it to the driver's table",
            )
        return {
            "fno_reference": str(fields["id"]),
            "status": state,
            "scheduled_date": fields.get("scheduled_date"),
            "completed_date": fields.get("activated_date"),
        }


def _candidate(location: dict[str, Any]) -> dict[str, Any]:
    keys = {key: str(location[key]) for key in ("premiseId", "areaId", "locationId") if location.get(key)}
    return {"address": location.get("address", ""), "keys": keys}


def _package(product: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": product.get("name"),
        "download_mbps": product.get("downloadSpeed"),
        "upload_mbps": product.get("uploadSpeed"),
        "monthly_cost": product.get("price"),
        "setup_fee": product.get("installationFee"),
        "contract_months": product.get("term"),
        "product_id": str(product.get("id")),
    }


def _product(package: str, packages: list[dict[str, Any]], fno: str) -> str:
    for one in packages:
        if package in (one["name"], one["product_id"]):
            return str(one["product_id"])
    raise FNOPackageError(
        f"{package!r} is not on offer there",
        fno=fno,
        hint=f"On offer: {', '.join(str(one['name']) for one in packages) or 'nothing'}",
    )
