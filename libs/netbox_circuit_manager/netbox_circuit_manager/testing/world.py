"""What a simulated carrier knows: circuits, tickets, bill lines."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal


@dataclass(slots=True)
class SimCircuit:
    """A circuit; money as text, so that a test may put nonsense there."""

    id: str
    cid: str
    customer_id: str = ""
    account: str = "ACC-1"
    mrc: object = "100.00"
    nrc: object = "500.00"
    currency: object = "USD"
    active: bool = True
    term_months: int | None = None
    order: str = ""
    started_on: date = date(2026, 1, 1)
    changed_on: date = date(2026, 1, 1)


@dataclass(slots=True)
class SimTicket:
    """A trouble ticket about a circuit's id."""

    id: str
    circuit_id: str
    subject: str = "Circuit down"
    status: str = "inProgress"
    priority: str = "high"
    opened_at: str = "2026-03-01T08:00:00Z"
    closed_at: str | None = None


@dataclass(slots=True)
class SimCharge:
    """A line of a bill."""

    id: str
    bill: str
    circuit_id: str
    amount: object = "100.00"
    currency: str = "USD"
    kind: str = "recurring"
    start_on: date = date(2026, 3, 1)
    end_on: date = date(2026, 3, 31)


@dataclass(slots=True)
class World:
    """All that the carrier would answer."""

    circuits: list[SimCircuit] = field(default_factory=list)
    tickets: list[SimTicket] = field(default_factory=list)
    charges: list[SimCharge] = field(default_factory=list)
    _index: dict[str, SimCircuit] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, count: int, prefix: str = "SIM") -> "World":
        """Some circuits with different costs; the same call makes the same world."""
        circuits = [
            SimCircuit(
                id=f"{prefix.lower()}-{number:06d}",
                cid=f"{prefix}/{number:06d}",
                customer_id=f"cust-{prefix.lower()}-{number:06d}",
                mrc=f"{Decimal(100 + number % 900)}.50",
                nrc=f"{Decimal(10 * (number % 50))}.00",
                term_months=12 * (1 + number % 3),
                order=f"PO-{number:06d}",
                changed_on=date(2026, 1, 1) + timedelta(days=number % 28),
            )
            for number in range(1, count + 1)
        ]
        return cls(circuits=circuits)

    def find(self, circuit_id: str) -> SimCircuit | None:
        """A circuit by the carrier's id; the index is made again when circuits came or went."""
        if len(self._index) != len(self.circuits):
            self._index = {circuit.id: circuit for circuit in self.circuits}
        circuit = self._index.get(circuit_id)
        return circuit if circuit is not None and circuit.id == circuit_id else None
