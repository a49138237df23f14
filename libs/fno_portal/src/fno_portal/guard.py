"""A driver behind its channel: every verb runs under breaker, deadline and audit, also a third party's."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

import httpx

from fno_portal.base import Capability, Description, FNOClient
from fno_portal.channel import Channel
from fno_portal.errors import (
    FNOCoverageError,
    FNOError,
    FNOFaultError,
    FNOOrderError,
    FNOProtocolError,
    FNOTimeoutError,
    FNOUnavailableError,
    FNOWebhookError,
)

T = TypeVar("T")


class GuardedClient:
    """Wraps a driver. Whatever it raises that is not of the error tree becomes FNOProtocolError, naming the operator."""

    def __init__(self, client: FNOClient, name: str, channel: Channel) -> None:
        """Guard `client`, which acts for the operator `name`, by a channel."""
        self.client = client
        self.name = name
        self.channel = channel

    async def _run(
        self,
        action: str,
        call: Awaitable[T],
        failure: type[FNOError],
        detail: Mapping[str, Any],
        deadline_s: float | None = None,
    ) -> T:
        try:
            async with self.channel.operation(
                action, dict(detail), deadline_s or self.channel.limits.deadline_s
            ):
                return await self._typed(action, call)
        except FNOError as error:
            if type(error) is FNOError:
                raise failure(error.message, fno=self.name, hint=error.hint) from error
            if error.fno is None:
                error.fno = self.name
                error.args = (f"{self.name}: {error}",)
            raise
        finally:
            close = getattr(call, "close", None)
            if close is not None:
                close()

    async def _typed(self, action: str, call: Awaitable[T]) -> T:
        try:
            return await call
        except FNOError:
            raise
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise FNOUnavailableError(
                f"no connection ({type(error).__name__})", fno=self.name, hint="Try again later", sent=False
            ) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise FNOTimeoutError(
                f"no answer to {action} in time", fno=self.name, hint="Try again later"
            ) from error
        except httpx.TransportError as error:
            raise FNOUnavailableError(
                f"the connection broke ({type(error).__name__})", fno=self.name, hint="Try again later"
            ) from error
        except Exception as error:
            # An edge: a driver may be anybody's code, and its mistake must neither take the other operators' answers
            # along nor lose an order that may have been sent.
            raise FNOProtocolError(
                f"the answer to {action} could not be read ({type(error).__name__})",
                fno=self.name,
                hint="The operator's interface may have changed; see the audit trail",
            ) from error

    async def check_coverage(self, address: str) -> dict[str, Any]:
        """See DriverBase."""
        return await self._run(
            "check_coverage", self.client.check_coverage(address), FNOCoverageError, {"address": str(address)}
        )

    async def create_order(self, order_data: dict[str, Any]) -> dict[str, Any]:
        """See DriverBase; with the deadline of orders."""
        return await self._run(
            "create_order",
            self.client.create_order(order_data),
            FNOOrderError,
            {"reference": order_data.get("reference"), "package": order_data.get("package")},
            self.channel.limits.order_deadline_s,
        )

    async def get_order_status(self, order_id: str) -> dict[str, Any]:
        """See DriverBase."""
        return await self._run(
            "get_order_status", self.client.get_order_status(order_id), FNOOrderError, {"order": order_id}
        )

    async def find_order(self, reference: str) -> dict[str, Any] | None:
        """See DriverBase."""
        return await self._run(
            "find_order", self.client.find_order(reference), FNOOrderError, {"reference": reference}
        )

    async def cancel_order(self, order_id: str, reason: str) -> dict[str, Any]:
        """See DriverBase."""
        return await self._run(
            "cancel_order",
            self.client.cancel_order(order_id, reason),
            FNOOrderError,
            {"order": order_id},
            self.channel.limits.order_deadline_s,
        )

    async def list_appointments(self, order_id: str) -> list[str]:
        """See DriverBase."""
        return await self._run(
            "list_appointments", self.client.list_appointments(order_id), FNOOrderError, {"order": order_id}
        )

    async def book_appointment(self, order_id: str, slot: str) -> dict[str, Any]:
        """See DriverBase."""
        return await self._run(
            "book_appointment",
            self.client.book_appointment(order_id, slot),
            FNOOrderError,
            {"order": order_id, "slot": slot},
        )

    async def submit_fault(self, fault_data: dict[str, Any]) -> dict[str, Any]:
        """See DriverBase."""
        return await self._run(
            "submit_fault",
            self.client.submit_fault(fault_data),
            FNOFaultError,
            {"reference": fault_data.get("reference")},
            self.channel.limits.order_deadline_s,
        )

    async def get_fault_status(self, fault_id: str) -> dict[str, Any]:
        """See DriverBase."""
        return await self._run(
            "get_fault_status", self.client.get_fault_status(fault_id), FNOFaultError, {"fault": fault_id}
        )

    async def list_changes(self) -> list[dict[str, Any]]:
        """See DriverBase."""
        return await self._run("list_changes", self.client.list_changes(), FNOOrderError, {})

    def read_webhook(self, payload: dict[str, Any]) -> dict[str, Any]:
        """See DriverBase.

        Raises:
            FNOWebhookError: the payload is not what the operator's calls look like.
        """
        try:
            return self.client.read_webhook(payload)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, FNOError):
                raise
            raise FNOWebhookError(
                f"the call could not be read ({type(error).__name__})",
                fno=self.name,
                hint="Answer it with 400",
            ) from error

    def supports(self, capability: Capability) -> bool:
        """See DriverBase."""
        return self.client.supports(capability)

    def describe(self) -> Description:
        """See DriverBase."""
        return self.client.describe()

    async def aclose(self) -> None:
        """See DriverBase."""
        await self.client.aclose()
