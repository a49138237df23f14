"""Automation Exchange (AEx): the platform behind Evotel, Net Nine Nine, Open Fibre and Ripple.

Public: bearer token; `GET /locations?address=`, `POST /locations/proximity-search`, `GET /details`, `POST /customers`,
`POST /services {customer_id, product_id, premise_id}` -> 201 + Location, `GET|PUT /services`, `GET /services/snapshot`
(what changed since it was last asked for; one call in ten minutes).
Tickets are not in the public part: faults go to `POST /tickets`, which is assumed.
"""

from __future__ import annotations

import time
from math import asin, cos, radians, sin, sqrt
from typing import Any, ClassVar, Dict  # noqa: UP035 - the documented signatures say Dict

from fno_portal.base import C, Capability, FNOClientBase, require_fields, require_rica, segment
from fno_portal.errors import (
    FNOAmbiguousAddressError,
    FNOCoverageError,
    FNOFaultError,
    FNOOrderError,
    FNOPackageError,
    FNOProtocolError,
    FNORateLimitError,
)
from fno_portal.models import Address

_PAGE_SIZE, _MOST_PAGES = 50, 100
_NEAR_PAGE_SIZE, _SAME_PLACE_M = 10, 100
SNAPSHOT_EVERY_S = 600
_FIELDS = {
    "type": "type",
    "service_id": "service_reference",
    "requested_date": "requested_date",
    "losing_isp": "losing_isp",
    "effective_date": "effective_date",
    "notes": "notes",
}
_EARTH_M = 6_371_000
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
    source: ClassVar[str] = (
        "AEx's public API description; tickets and the fields of a service beyond its ids are assumed"
    )
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {C.COVERAGE, C.ORDER, C.ORDER_STATUS, C.FIND_ORDER, C.CANCEL, C.FAULT, C.FAULT_STATUS, C.CHANGES}
    )
    changes_every_s: ClassVar[float] = SNAPSHOT_EVERY_S
    _next_snapshot: float = 0

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
        return self._nearest(place, await self._within_500_m(place))

    async def _within_500_m(self, place: Address) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in range(1, _MOST_PAGES + 1):
            answer = await self.exchange(
                "post",
                "/locations/proximity-search",
                json={"latitude": place.latitude, "longitude": place.longitude, "page": page},
                failure=FNOCoverageError,
            )
            items = self._items(answer)
            found += items
            if len(items) < _NEAR_PAGE_SIZE:
                return found
        raise FNOProtocolError(
            f"the search by coordinates has no end after {_MOST_PAGES} pages",
            fno=self.name,
            hint="Ask by address",
        )

    def _nearest(self, place: Address, near: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The premise at the point. A neighbour is not it: its coverage would be taken for the customer's."""
        known = [(_distance_m(place, one), one) for one in near if one.get("latitude") is not None]
        if not known:
            return None
        distance, closest = min(known, key=lambda one: one[0])
        if distance > _SAME_PLACE_M:
            raise FNOAmbiguousAddressError(
                f"no premise is at that point, the nearest is {distance:.0f} m away",
                fno=self.name,
                hint="Choose one of the candidates and ask with its keys",
                candidates=[_candidate(one) for _, one in sorted(known, key=lambda one: one[0])],
            )
        return closest

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
        place = str(order_data.get("new_address") or order_data.get("address") or "")
        covered = await self.check_coverage(Address(place, keys=keys))
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
            "product_id": _product(order_data.get("package") or "", covered["packages"], self.name),
            "premise_id": covered["address_keys"]["premiseId"],
            "reference": order_data["reference"],
            **{theirs: order_data[ours] for theirs, ours in _FIELDS.items() if order_data.get(ours)},
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
        return self._order(
            await self.exchange("get", f"/services/{segment(order_id)}", failure=FNOOrderError)
        )

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

    async def list_changes(self) -> list[dict[str, Any]]:
        """Read `/services/snapshot`. States that are not known are left out and noted; polling the order tells them.

        Raises:
            FNORateLimitError: ten minutes have not passed; nothing was sent.
        """
        wait_s = self._next_snapshot - time.monotonic()
        if wait_s > 0:
            raise FNORateLimitError(
                "the feed of changes may be read once in ten minutes",
                fno=self.name,
                hint=f"Read it again in {wait_s:.0f} s",
                sent=False,
            )
        items = self._items(await self.exchange("get", "/services/snapshot", failure=FNOOrderError))
        self._next_snapshot = time.monotonic() + SNAPSHOT_EVERY_S
        changes = []
        for one in items:
            try:
                changes.append({**self._order(one), "occurred_at": one.get("changed_at")})
            except FNOProtocolError as error:
                self.channel.note("GET /services/snapshot", error.code, 0, {"problem": error.message})
        return changes

    async def cancel_order(self, order_id: str, reason: str) -> dict[str, Any]:
        """`PUT /services/{id}` with the wish to cancel."""
        answer = await self.exchange(
            "put",
            f"/services/{segment(order_id)}",
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
        answer = await self.exchange("get", f"/tickets/{segment(fault_id)}", failure=FNOFaultError)
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


def _distance_m(place: Address, location: dict[str, Any]) -> float:
    """Metres on the sphere, good to 0.5 % (haversine)."""
    assert place.latitude is not None
    assert place.longitude is not None
    here, there = radians(place.latitude), radians(float(location["latitude"]))
    east = radians(float(location["longitude"]) - place.longitude)
    half = sin((there - here) / 2) ** 2 + cos(here) * cos(there) * sin(east / 2) ** 2
    return 2 * _EARTH_M * asin(sqrt(half))


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


def _product(package: str, packages: list[dict[str, Any]], fno: str) -> str | None:
    if not package:
        return None
    for one in packages:
        if package in (one["name"], one["product_id"]):
            return str(one["product_id"])
    raise FNOPackageError(
        f"{package!r} is not on offer there",
        fno=fno,
        hint=f"On offer: {', '.join(str(one['name']) for one in packages) or 'nothing'}",
    )
