"""Carriers to test against: simulators of their APIs on this machine, with switches for what goes wrong.

    with CarrierSimulator("sonata", World.of(20)) as carrier:
        carrier.faults.set("rate_limit", times=2)
        ...                                         # carrier.url is the endpoint

On a port of their own: `python -m netbox_circuit_manager.testing --shape sonata --port 8099`.
"""

from .faults import FAULTS, Faults
from .server import CarrierSimulator
from .shapes import SHAPES
from .world import SimCharge, SimCircuit, SimTicket, World

__all__ = ["FAULTS", "SHAPES", "CarrierSimulator", "Faults", "SimCharge", "SimCircuit", "SimTicket", "World"]
