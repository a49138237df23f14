"""The state behind a simulated operator, whatever its style: places, packages, orders, tickets, and what is broken."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import count
from typing import Any

API_KEY = "sim-key"
USERNAME, PASSWORD = "partner", "correct horse"
TOTP_SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@dataclass(slots=True)
class Faults:
    """Switches. `hang` answers nothing until it is off; `take_then_hang` does so after an order was taken."""

    hang: bool = False
    take_then_hang: bool = False
    take_then_html: bool = False
    html: bool = False
    error_in_200: bool = False
    server_error: bool = False
    layout_changed: bool = False
    captcha: bool = False
    expire_on_submit: bool = False
    filter_ignored: bool = False
    delay_s: float = 0


@dataclass(frozen=True, slots=True)
class Premise:
    """One place that the operator knows."""

    address: str
    covered: bool
    latitude: float
    longitude: float
    keys: dict[str, str]


@dataclass(frozen=True, slots=True)
class Package:
    """One package on offer everywhere."""

    identifier: str
    name: str
    download: int
    upload: int
    price: str


PACKAGES = (
    Package("P50", "50/50 Mbps", 50, 50, "799.00"),
    Package("P100", "100/100 Mbps", 100, 100, "999.00"),
    Package("P1G", "1000/500 Mbps", 1000, 500, "1499.50"),
)


def _premise(number: int, address: str, *, covered: bool) -> Premise:
    keys = {"AMID": f"AM{number}", "premiseId": f"PR{number}", "areaId": "AR1", "placeId": f"PL{number}"}
    return Premise(address, covered, -33.96 - number / 1000, 18.46 + number / 1000, keys)


PREMISES = (
    _premise(1, "12 Main Road, Rondebosch", covered=True),
    _premise(2, "99 Lonely Road, Sutherland", covered=False),
    _premise(3, "1 High Street, Durban", covered=True),
    _premise(4, "1 High Street, Knysna", covered=True),
)


@dataclass(slots=True)
class SimulatedOperator:
    """One operator. Reads and writes go through its lock, since the simulator's server runs in a thread."""

    name: str
    faults: Faults = field(default_factory=Faults)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    tickets: dict[str, dict[str, Any]] = field(default_factory=dict)
    sessions: dict[str, bool] = field(default_factory=dict)
    requests: int = 0
    running: int = 0
    logins: int = 0
    totp: bool = False
    idempotent: bool = True
    premises: tuple[Premise, ...] = PREMISES
    changed: list[str] = field(default_factory=list)
    snapshot_at: float | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)
    _numbers: Any = field(default_factory=lambda: count(1001))

    @property
    def prefix(self) -> str:
        """The first letters of its numbers."""
        return self.name[:3].upper()

    def places(self, text: str) -> list[Premise]:
        """Premises whose address begins as the text, as operators' searches do."""
        wanted = " ".join(text.casefold().split())
        return [one for one in self.premises if wanted and one.address.casefold().startswith(wanted)]

    def by_key(self, key: str, value: str) -> Premise | None:
        """The premise with an operator's key."""
        return next((one for one in self.premises if one.keys.get(key) == value), None)

    def near(self, latitude: float, longitude: float) -> Premise | None:
        """The premise within some 100 m."""
        return next(
            (
                one
                for one in self.premises
                if abs(one.latitude - latitude) < 0.0009 and abs(one.longitude - longitude) < 0.0009  # noqa: PLR2004
            ),
            None,
        )

    def package(self, wanted: Any) -> Package | None:
        """The package of that name or identifier."""
        return next((one for one in PACKAGES if wanted in (one.name, one.identifier)), None)

    def take_order(self, reference: str, **fields: Any) -> dict[str, Any]:
        """Make an order; with `idempotent`, the same reference gives the same order."""
        with self.lock:
            if self.idempotent and (known := self.find_order(reference)):
                return known
            number = f"{self.prefix}-{next(self._numbers)}"
            self.orders[number] = {
                "number": number,
                "reference": reference,
                "status": "submitted",
                "scheduled_date": None,
                "completed_date": None,
                **fields,
            }
            self.changed.append(number)
            return self.orders[number]

    def find_order(self, reference: str) -> dict[str, Any] | None:
        """The order with the partner's reference."""
        with self.lock:
            return next((one for one in self.orders.values() if one["reference"] == reference), None)

    def look_up(self, reference: str) -> list[dict[str, Any]]:
        """What a search for the reference answers; with `filter_ignored` everybody's orders."""
        with self.lock:
            return [
                one
                for one in self.orders.values()
                if self.faults.filter_ignored or one["reference"] == reference
            ]

    def cancel(self, number: str) -> str:
        """Cancel what is not at work; answers the cancellation's state."""
        with self.lock:
            order = self.orders[number]
            if order["status"] in {"completed", "failed", "cancelled", "in_progress"}:
                return "rejected"
            order["status"] = "cancelled"
            self.changed.append(number)
            return "completed"

    def take_ticket(self, **fields: Any) -> dict[str, Any]:
        """Open a ticket."""
        with self.lock:
            number = f"{self.prefix}-T{next(self._numbers)}"
            self.tickets[number] = {"number": number, "status": "open", **fields}
            return self.tickets[number]

    def set_status(self, number: str, status: str, **fields: Any) -> None:
        """Move an order, as the operator's staff would."""
        with self.lock:
            self.orders[number] |= {"status": status, **fields}
            self.changed.append(number)

    def take_changes(self) -> list[dict[str, Any]]:
        """The orders that changed since the last time, each once."""
        with self.lock:
            numbers, self.changed = dict.fromkeys(self.changed), []
            return [self.orders[one] for one in numbers if one in self.orders]

    def expire_sessions(self) -> None:
        """End every portal session."""
        with self.lock:
            self.sessions.clear()
