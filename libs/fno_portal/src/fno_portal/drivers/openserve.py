"""Openserve's fulfilment interface, near TMF622: asynchronous acknowledgements in prose, and headers of its own.

Known of it: `POST /{tag}/productorder`, `GET /{tag}/getproductorder/{id}`, `POST /{tag}/cancelproductorder`,
`GET /{tag}/productqualification?AMID=|LAT=&LON=`; headers api_key, MessageID, SenderID, FromLocation, ReplyToAddress; the
acknowledgement is 200 with `Order Id = N. State = Validated`; a business error may be 200 with code "1"; a 403 may be
HTML. The bodies beyond that are assumed. Faults have no known path: `POST /{tag}/troubleticket` is assumed.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Dict  # noqa: UP035 - the documented signatures say Dict
from uuid import uuid4

import httpx

from fno_portal.base import (
    C,
    Capability,
    FNOClientBase,
    checked_key,
    own_row,
    require_fields,
    require_rica,
    segment,
)
from fno_portal.channel import Channel
from fno_portal.errors import (
    FNOCoverageError,
    FNOFaultError,
    FNOOrderError,
    FNOProtocolError,
    FNOUnsupportedError,
)
from fno_portal.models import Address

_ACKNOWLEDGED = re.compile(r"Order\s+Id\s*=\s*([\w-]+)\s*\.\s*State\s*=\s*(\w+)", re.IGNORECASE)
STATES: dict[str, str] = {
    "validated": "submitted",
    "acknowledged": "submitted",
    "accepted": "accepted",
    "scheduled": "scheduled",
    "inprogress": "in_progress",
    "held": "held",
    "pending": "held",
    "partial": "partial",
    "completed": "completed",
    "cancelled": "cancelled",
    "pendingcancellation": "pending_cancellation",
    "rejected": "rejected",
    "failed": "failed",
}


class OpenserveClient(FNOClientBase):
    """Openserve by API. It knows places by AMID or coordinates, not by text: for text, configure the portal too."""

    name = "openserve"
    source: ClassVar[str] = (
        "paths, headers and acknowledgement as publicly known; bodies and faults are assumed"
    )
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {C.COVERAGE, C.ORDER, C.ORDER_STATUS, C.FIND_ORDER, C.CANCEL, C.FAULT, C.FAULT_STATUS}
    )

    def __init__(
        self,
        base_url: str,
        api_key: str,
        timeout: int = 30,
        *,
        tag: str = "isp",
        sender_id: str = "ISP",
        from_location: str = "ZA",
        reply_to: str = "",
        name: str | None = None,
        channel: Channel | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Make the client. `tag` is the first part of every path, given by Openserve to each partner."""
        fixed = {
            "api_key": checked_key(api_key, fno=name or type(self).name),
            "SenderID": sender_id,
            "FromLocation": from_location,
            "ReplyToAddress": reply_to,
        }
        super().__init__(
            base_url, api_key, timeout, name=name, channel=channel, transport=transport, headers=fixed
        )
        del self.client.headers["Authorization"]
        self.tag = tag

    async def _call(self, method: str, path: str, **arguments: Any) -> Any:
        message = {"MessageID": str(uuid4())}
        return await self.exchange(method, f"/{self.tag}/{path}", headers=message, **arguments)

    def business_error(self, payload: Any) -> Any:
        """Code "1" in an answer of 200 is a failure."""
        if isinstance(payload, dict) and str(payload.get("code", "0")) == "1":
            reason = payload.get("reason") or payload.get("message") or "no reason given"
            return {"code": payload.get("reasonCode") or "", "message": reason}
        return super().business_error(payload)

    async def check_coverage(self, address: str) -> Dict[str, Any]:  # noqa: UP006
        """Qualify an AMID or coordinates."""
        place = Address.of(address)
        if amid := place.keys.get("AMID"):
            params: dict[str, Any] = {"AMID": amid}
        elif place.latitude is not None:
            params = {"LAT": place.latitude, "LON": place.longitude}
        else:
            raise FNOUnsupportedError(
                "the API does not search by text",
                fno=self.name,
                hint="Give coordinates or the AMID, or configure Openserve's portal beside the API",
            )
        answer = await self._call("get", "productqualification", params=params, failure=FNOCoverageError)
        return self._coverage(answer)

    def _coverage(self, answer: Any) -> dict[str, Any]:
        fields = require_fields(answer, ("qualificationResult",), fno=self.name, what="productqualification")
        verdict = str(fields["qualificationResult"]).lower()
        if verdict not in {"qualified", "unqualified"}:
            raise FNOCoverageError(
                f"the verdict {verdict!r} is not known", fno=self.name, hint="Coverage stays unknown"
            )
        keys = {"AMID": str(fields["AMID"])} if fields.get("AMID") else {}
        return {
            "is_covered": verdict == "qualified",
            "packages": [_package(one) for one in fields.get("productOffering", [])],
            "latitude": fields.get("LAT"),
            "longitude": fields.get("LON"),
            "estimated_install_time": fields.get("leadTime"),
            "address_keys": keys,
        }

    async def create_order(self, order_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """Post the product order and read its number out of the acknowledgement's prose."""
        require_rica(order_data, self.name)
        body = {
            "externalId": order_data["reference"],
            "action": order_data.get("type", "new"),
            "AMID": (order_data.get("address_keys") or {}).get("AMID"),
            "address": order_data.get("address"),
            "productOffering": order_data["package"],
            "customer": order_data["customer_id"],
            "serviceId": order_data.get("service_reference"),
            "newAddress": order_data.get("new_address"),
            "losingProvider": order_data.get("losing_isp"),
            "requestedCompletionDate": order_data.get("requested_date") or order_data.get("effective_date"),
            "ricaVerified": True,
        }
        answer = await self._call("post", "productorder", json=body, failure=FNOOrderError)
        return self._acknowledgement(answer)

    def _acknowledgement(self, answer: Any) -> dict[str, Any]:
        text = str(answer.get("message", "")) if isinstance(answer, dict) else str(answer)
        found = _ACKNOWLEDGED.search(text)
        if not found:
            raise FNOProtocolError(
                "the acknowledgement names no order", fno=self.name, hint="Look the order up by our reference"
            )
        return {"fno_reference": found[1], "status": self._state(found[2])}

    async def get_order_status(self, order_id: str) -> Dict[str, Any]:  # noqa: UP006
        """Read `getproductorder/{id}`."""
        return self._order(
            await self._call("get", f"getproductorder/{segment(order_id)}", failure=FNOOrderError)
        )

    async def find_order(self, reference: str) -> dict[str, Any] | None:
        """Read `getproductorder?externalId=` (assumed)."""
        answer = await self._call(
            "get", "getproductorder", params={"externalId": reference}, failure=FNOOrderError
        )
        mine = own_row(answer, reference, "externalId", fno=self.name)
        return self._order(mine) if mine else None

    async def cancel_order(self, order_id: str, reason: str) -> dict[str, Any]:
        """Post `cancelproductorder`; Openserve assesses it and tells later."""
        body = {"productOrder": {"id": order_id}, "cancellationReason": reason}
        await self._call("post", "cancelproductorder", json=body, failure=FNOOrderError)
        return {"cancellation": "requested"}

    async def submit_fault(self, fault_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """Post a trouble ticket (assumed)."""
        answer = await self._call("post", "troubleticket", json=fault_data, failure=FNOFaultError)
        ticket = require_fields(answer, ("id",), fno=self.name, what="troubleticket")
        return {"fault_id": str(ticket["id"]), "status": str(ticket.get("status", "open"))}

    async def get_fault_status(self, fault_id: str) -> dict[str, Any]:
        """Read a trouble ticket (assumed)."""
        answer = await self._call("get", f"troubleticket/{segment(fault_id)}", failure=FNOFaultError)
        return {"fault_id": fault_id, "status": str(answer.get("status", "open"))}

    def _order(self, answer: Any) -> dict[str, Any]:
        order = require_fields(answer, ("id", "state"), fno=self.name, what="the product order")
        return {
            "fno_reference": str(order["id"]),
            "status": self._state(order["state"]),
            "scheduled_date": order.get("appointmentDate"),
            "completed_date": order.get("completionDate"),
        }

    def _state(self, word: str) -> str:
        state = STATES.get(word.lower())
        if state is None:
            raise FNOProtocolError(
                f"the state {word!r} is not known", fno=self.name, hint="Add it to the driver's table"
            )
        return state


def _package(offering: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": offering.get("name"),
        "speed": offering.get("speed"),
        "monthly_cost": offering.get("price"),
        "product_id": offering.get("id"),
    }
