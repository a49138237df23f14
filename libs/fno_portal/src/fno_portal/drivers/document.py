"""The REST interface that the document prints (Vumatel), shared by Frogfoot.

Neither operator publishes its partner API: the paths are the document's, the rest is assumed and held by the simulator.
"""

from __future__ import annotations

from typing import Any, ClassVar, Dict  # noqa: UP035 - the documented signatures say Dict

from fno_portal.base import Capability, FNOClientBase, own_row, require_fields, require_rica, segment
from fno_portal.errors import (
    FNOAmbiguousAddressError,
    FNOCoverageError,
    FNOFaultError,
    FNONotFoundError,
    FNOOrderError,
    FNOProtocolError,
)
from fno_portal.models import Address


class DocumentClient(FNOClientBase):
    """`/coverage/check`, `/orders`, `/orders/{id}`, `/faults`, with a bearer token."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability) - {Capability.CHANGES}
    source: ClassVar[str] = "the paths of the FNO integration guide; bodies beyond it are assumed"

    async def check_coverage(self, address: str) -> Dict[str, Any]:  # noqa: UP006
        """Ask `GET /coverage/check?address=`; the answer holds `is_covered` and `packages`."""
        place = Address.of(address)
        params: dict[str, Any] = {"address": str(place)}
        if place.latitude is not None:
            params |= {"latitude": place.latitude, "longitude": place.longitude}
        answer = await self.exchange("get", "/coverage/check", params=params, failure=FNOCoverageError)
        return read_coverage(answer, self.name)

    async def create_order(self, order_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """Post to `/orders`, our reference as Idempotency-Key."""
        require_rica(order_data, self.name)
        reference = order_data.get("reference")
        headers = {"Idempotency-Key": str(reference)} if reference else {}
        answer = await self.exchange(
            "post", "/orders", json=order_data, headers=headers, failure=FNOOrderError
        )
        return read_order(answer, self.name, "POST /orders")

    async def get_order_status(self, order_id: str) -> Dict[str, Any]:  # noqa: UP006
        """Read `/orders/{id}`."""
        answer = await self.exchange("get", f"/orders/{segment(order_id)}", failure=FNOOrderError)
        return read_order(answer, self.name, "GET /orders/{id}")

    async def submit_fault(self, fault_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """Post to `/faults`."""
        answer = await self.exchange("post", "/faults", json=fault_data, failure=FNOFaultError)
        return require_fields(answer, (), fno=self.name, what="POST /faults")

    async def find_order(self, reference: str) -> dict[str, Any] | None:
        """Read `/orders?reference=`: a list with the order, which bears our reference as `id` or `reference`, or an empty one."""
        answer = await self.exchange("get", "/orders", params={"reference": reference}, failure=FNOOrderError)
        found = answer.get("orders") if isinstance(answer, dict) else answer
        mine = own_row(found, reference, "id", "reference", fno=self.name)
        return read_order(mine, self.name, "GET /orders") if mine else None

    async def cancel_order(self, order_id: str, reason: str) -> dict[str, Any]:
        """Post to `/orders/{id}/cancel`."""
        answer = await self.exchange(
            "post", f"/orders/{segment(order_id)}/cancel", json={"reason": reason}, failure=FNOOrderError
        )
        return require_fields(answer, ("cancellation",), fno=self.name, what="the cancellation")

    async def list_appointments(self, order_id: str) -> list[str]:
        """Read `/orders/{id}/appointments`."""
        answer = await self.exchange(
            "get", f"/orders/{segment(order_id)}/appointments", failure=FNOOrderError
        )
        return [str(slot) for slot in answer.get("slots", [])]

    async def book_appointment(self, order_id: str, slot: str) -> dict[str, Any]:
        """Post to `/orders/{id}/appointments`."""
        answer = await self.exchange(
            "post", f"/orders/{segment(order_id)}/appointments", json={"slot": slot}, failure=FNOOrderError
        )
        return read_order(answer, self.name, "the appointment")

    async def get_fault_status(self, fault_id: str) -> dict[str, Any]:
        """Read `/faults/{id}`."""
        answer = await self.exchange("get", f"/faults/{segment(fault_id)}", failure=FNOFaultError)
        return require_fields(answer, ("fault_id", "status"), fno=self.name, what="the fault")

    def read_webhook(self, payload: dict[str, Any]) -> dict[str, Any]:
        """`{"event_id", "order_id", "status", "occurred_at"}`."""
        event = require_fields(payload, ("event_id", "order_id", "status"), fno=self.name, what="webhook")
        return {**event, "fno_reference": event["order_id"]}


class VumatelClient(DocumentClient):
    """Vumatel API Client."""

    name = "vumatel"


class FrogfootClient(DocumentClient):
    """Frogfoot, over the document's paths: Frogfoot publishes none of its own."""

    name = "frogfoot"


def read_coverage(answer: Any, fno: str) -> dict[str, Any]:
    """The document's coverage answer. An answer that does not say `is_covered` tells nothing: unknown, not "no"."""
    if not isinstance(answer, dict):
        raise FNOProtocolError("the coverage answer is not an object", fno=fno, hint="Check base_url")
    candidates = answer.get("candidates")
    if candidates:
        raise FNOAmbiguousAddressError(
            f"{len(candidates)} places go by that address",
            fno=fno,
            hint="Choose one of the candidates and ask with its keys or its full address",
            candidates=candidates,
        )
    if not isinstance(answer.get("is_covered"), bool):
        raise FNOProtocolError("the answer does not say is_covered", fno=fno, hint="The API may have changed")
    return {"packages": [], **answer}


def read_order(answer: Any, fno: str, what: str) -> dict[str, Any]:
    """The document's order, with the operator's number as `fno_reference`."""
    order = require_fields(answer, (), fno=fno, what=what)
    number = order.get("fno_reference") or order.get("order_id") or order.get("id")
    if not number:
        raise FNOProtocolError(f"the answer to {what} has no order number", fno=fno, hint="Look the order up")
    if order.get("status") == "not_found":
        raise FNONotFoundError("the operator does not know the order", fno=fno)
    return {**order, "fno_reference": str(number)}
