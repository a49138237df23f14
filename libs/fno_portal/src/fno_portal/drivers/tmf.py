"""TM Forum Open APIs: service qualification (TMF645 v4), service ordering (TMF641 v4), trouble tickets (TMF621 v4)."""

from __future__ import annotations

from typing import Any, ClassVar, Dict  # noqa: UP035 - the documented signatures say Dict

from fno_portal.base import C, Capability, FNOClientBase, own_row, require_fields, require_rica, segment
from fno_portal.errors import (
    FNOAmbiguousAddressError,
    FNOCoverageError,
    FNOFaultError,
    FNOOrderError,
    FNOProtocolError,
)
from fno_portal.models import Address
from fno_portal.transitions import FROM_TMF641

QUALIFICATION = "/serviceQualificationManagement/v4"
ORDERING = "/serviceOrderingManagement/v4"
TICKETS = "/troubleTicket/v4"

_ACTIONS = {"new": "add", "takeover": "add", "cancellation": "delete"}


class TMFClient(FNOClientBase):
    """An operator that speaks TMF645 and TMF641 (CityFibre, The Fibre Cafe); `name` says which."""

    name = "tmf"
    assumed: ClassVar[bool] = False
    source: ClassVar[str] = "TMF645, TMF641 and TMF621 v4; characteristic names are assumed"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {C.COVERAGE, C.ORDER, C.ORDER_STATUS, C.FIND_ORDER, C.CANCEL, C.FAULT, C.FAULT_STATUS, C.WEBHOOK}
    )

    async def check_coverage(self, address: str) -> Dict[str, Any]:  # noqa: UP006
        """Query a service qualification for the place."""
        place = Address.of(address)
        where: dict[str, Any] = {"@type": "GeographicAddress", "streetName": str(place)}
        if identifier := place.keys.get("placeId"):
            where["id"] = identifier
        if place.latitude is not None:
            where |= {"latitude": place.latitude, "longitude": place.longitude}
        body = {
            "instantSyncQualification": True,
            "searchCriteria": {"service": {"place": [{"role": "install", **where}]}},
        }
        answer = await self.exchange(
            "post", f"{QUALIFICATION}/queryServiceQualification", json=body, failure=FNOCoverageError
        )
        return self._coverage(answer)

    def _coverage(self, answer: Any) -> dict[str, Any]:
        fields = require_fields(answer, ("state",), fno=self.name, what="the qualification")
        if fields["state"] not in {"done", "acknowledged.done"}:
            raise FNOCoverageError(
                f"the qualification is {fields['state']!r}",
                fno=self.name,
                hint="Coverage stays unknown; ask again",
            )
        items = fields.get("serviceQualificationItem") or []
        if alternatives := [one for one in items if one.get("alternatePlace")]:
            raise FNOAmbiguousAddressError(
                f"{len(alternatives)} places go by that address",
                fno=self.name,
                hint="Choose one of the candidates and ask with its keys",
                candidates=[_alternative(one["alternatePlace"]) for one in alternatives],
            )
        verdicts = {str(one.get("qualificationResult")) for one in items}
        if not verdicts <= {"qualified", "unqualified"}:
            raise FNOCoverageError("the verdict is not final", fno=self.name, hint="Coverage stays unknown")
        good = [one for one in items if one.get("qualificationResult") == "qualified"]
        places = [place for one in good for place in one.get("service", {}).get("place", [])]
        return {
            "is_covered": bool(good),
            "packages": [_package(one["service"]) for one in good],
            "address_keys": {"placeId": str(places[0]["id"])} if places and places[0].get("id") else {},
        }

    async def create_order(self, order_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """Post a service order; our reference is its externalId."""
        require_rica(order_data, self.name)
        kind = order_data.get("type", "new")
        address = order_data.get("new_address") or order_data.get("address")
        place = {"role": "install", "streetName": address} | (
            {"id": order_data["address_keys"]["placeId"]}
            if (order_data.get("address_keys") or {}).get("placeId")
            else {}
        )
        service = {
            "id": order_data.get("service_reference"),
            "serviceSpecification": {"name": order_data["package"]},
            "place": [place],
            "serviceCharacteristic": [
                {"name": "orderType", "value": kind},
                {"name": "ricaVerified", "value": True},
                *({"name": "losingProvider", "value": one} for one in [order_data.get("losing_isp")] if one),
            ],
        }
        body = {
            "externalId": order_data["reference"],
            "relatedParty": [{"id": order_data["customer_id"], "role": "customer"}],
            "requestedStartDate": order_data.get("requested_date"),
            "requestedCompletionDate": order_data.get("effective_date"),
            "serviceOrderItem": [{"id": "1", "action": _ACTIONS.get(kind, "modify"), "service": service}],
        }
        answer = await self.exchange("post", f"{ORDERING}/serviceOrder", json=body, failure=FNOOrderError)
        return self._order(answer)

    async def get_order_status(self, order_id: str) -> Dict[str, Any]:  # noqa: UP006
        """Read a service order."""
        return self._order(
            await self.exchange("get", f"{ORDERING}/serviceOrder/{segment(order_id)}", failure=FNOOrderError)
        )

    async def find_order(self, reference: str) -> dict[str, Any] | None:
        """Filter the service orders by externalId."""
        answer = await self.exchange(
            "get", f"{ORDERING}/serviceOrder", params={"externalId": reference}, failure=FNOOrderError
        )
        mine = own_row(answer, reference, "externalId", fno=self.name)
        return self._order(mine) if mine else None

    async def cancel_order(self, order_id: str, reason: str) -> dict[str, Any]:
        """Post a cancelServiceOrder task; its states are its own."""
        body = {"cancellationReason": reason, "serviceOrder": {"id": order_id}}
        answer = await self.exchange(
            "post", f"{ORDERING}/cancelServiceOrder", json=body, failure=FNOOrderError
        )
        state = require_fields(answer, ("state",), fno=self.name, what="cancelServiceOrder")["state"]
        return {"cancellation": _CANCELLATIONS.get(state, "requested")}

    async def submit_fault(self, fault_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """Post a trouble ticket (TMF621)."""
        body = {
            "externalId": fault_data.get("reference"),
            "description": fault_data.get("description"),
            "severity": fault_data.get("severity"),
            "ticketType": "fault",
            "relatedEntity": [{"id": fault_data.get("order_id"), "role": "service"}],
        }
        answer = await self.exchange("post", f"{TICKETS}/troubleTicket", json=body, failure=FNOFaultError)
        ticket = require_fields(answer, ("id",), fno=self.name, what="the trouble ticket")
        return {"fault_id": str(ticket["id"]), "status": str(ticket.get("status", "acknowledged"))}

    async def get_fault_status(self, fault_id: str) -> dict[str, Any]:
        """Read a trouble ticket."""
        answer = await self.exchange(
            "get", f"{TICKETS}/troubleTicket/{segment(fault_id)}", failure=FNOFaultError
        )
        return {"fault_id": fault_id, "status": str(answer.get("status"))}

    def read_webhook(self, payload: dict[str, Any]) -> dict[str, Any]:
        """A ServiceOrderStateChangeEvent of TMF641's hub."""
        event = require_fields(payload, ("eventId", "event"), fno=self.name, what="webhook")
        order = self._order(event["event"].get("serviceOrder"))
        return {**order, "event_id": event["eventId"], "occurred_at": event.get("eventTime")}

    def _order(self, answer: Any) -> dict[str, Any]:
        order = require_fields(answer, ("id", "state"), fno=self.name, what="the service order")
        state = FROM_TMF641.get(order["state"])
        if state is None:
            raise FNOProtocolError(
                f"the state {order['state']!r} is not of TMF641", fno=self.name, hint="Tell the operator"
            )
        return {
            "fno_reference": str(order["id"]),
            "status": state.value,
            "scheduled_date": order.get("expectedCompletionDate"),
            "completed_date": order.get("completionDate"),
        }


_CANCELLATIONS = {
    "acknowledged": "acknowledged",
    "inProgress": "requested",
    "done": "completed",
    "terminatedWithError": "rejected",
    "rejected": "rejected",
}


def _alternative(place: dict[str, Any]) -> dict[str, Any]:
    return {"address": place.get("streetName", ""), "keys": {"placeId": str(place.get("id"))}}


def _package(service: dict[str, Any]) -> dict[str, Any]:
    values = {one["name"]: one.get("value") for one in service.get("serviceCharacteristic", [])}
    specification = service.get("serviceSpecification", {})
    return {
        "name": specification.get("name"),
        "product_id": specification.get("id"),
        "download_mbps": values.get("downloadSpeed"),
        "upload_mbps": values.get("uploadSpeed"),
        "monthly_cost": values.get("monthlyPrice"),
        "contract_months": values.get("contractMonths"),
    }
