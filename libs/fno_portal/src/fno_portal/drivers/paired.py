"""An operator with both channels: the API first, the portal where the API cannot."""

from __future__ import annotations

from typing import Any, ClassVar, Dict  # noqa: UP035 - the documented signatures say Dict

from fno_portal.base import C, Capability, Description, DriverBase, FNOClient
from fno_portal.errors import FNOProtocolError, FNOUnavailableError, FNOUnsupportedError


class PairedClient(DriverBase):
    """Coverage falls back to the portal when the API is down or cannot search; an order never changes channels."""

    channel_kind: ClassVar[str] = "api+portal"

    def __init__(self, api: FNOClient, portal: FNOClient) -> None:
        """Join the two; they share the API's channel."""
        self.name = api.name
        self.channel = api.channel
        self.api, self.portal = api, portal

    def supports(self, capability: Capability) -> bool:
        """Whether one of the two can."""
        return self.api.supports(capability) or self.portal.supports(capability)

    def describe(self) -> Description:
        """Both, as one."""
        first, second = self.api.describe(), self.portal.describe()
        return Description(
            self.name,
            self.channel_kind,
            first.capabilities | second.capabilities,
            first.assumed or second.assumed,
            f"API: {first.source}; portal: {second.source}",
            first.order_types,
            max(first.changes_every_s, second.changes_every_s),
        )

    def _for(self, capability: Capability) -> FNOClient:
        return (
            self.api if self.api.supports(capability) or not self.portal.supports(capability) else self.portal
        )

    async def check_coverage(self, address: str) -> Dict[str, Any]:  # noqa: UP006
        """Ask the API, and the portal where the API cannot tell."""
        try:
            return await self.api.check_coverage(address)
        except (FNOUnsupportedError, FNOUnavailableError, FNOProtocolError):
            return await self.portal.check_coverage(address)

    async def create_order(self, order_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """Order over the one channel that orders go by."""
        return await self._for(C.ORDER).create_order(order_data)

    async def get_order_status(self, order_id: str) -> Dict[str, Any]:  # noqa: UP006
        """See DriverBase."""
        return await self._for(C.ORDER_STATUS).get_order_status(order_id)

    async def submit_fault(self, fault_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """See DriverBase."""
        return await self._for(C.FAULT).submit_fault(fault_data)

    async def find_order(self, reference: str) -> dict[str, Any] | None:
        """See DriverBase."""
        return await self._for(C.FIND_ORDER).find_order(reference)

    async def cancel_order(self, order_id: str, reason: str) -> dict[str, Any]:
        """See DriverBase."""
        return await self._for(C.CANCEL).cancel_order(order_id, reason)

    async def list_appointments(self, order_id: str) -> list[str]:
        """See DriverBase."""
        return await self._for(C.APPOINTMENT).list_appointments(order_id)

    async def book_appointment(self, order_id: str, slot: str) -> dict[str, Any]:
        """See DriverBase."""
        return await self._for(C.APPOINTMENT).book_appointment(order_id, slot)

    async def get_fault_status(self, fault_id: str) -> dict[str, Any]:
        """See DriverBase."""
        return await self._for(C.FAULT_STATUS).get_fault_status(fault_id)

    async def list_changes(self) -> list[dict[str, Any]]:
        """See DriverBase."""
        return await self._for(C.CHANGES).list_changes()

    def read_webhook(self, payload: dict[str, Any]) -> dict[str, Any]:
        """See DriverBase."""
        return self._for(C.WEBHOOK).read_webhook(payload)

    async def aclose(self) -> None:
        """Close both."""
        await self.api.aclose()
        await self.portal.aclose()
