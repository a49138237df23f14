"""python -m netbox_circuit_manager.testing: a simulated carrier on a port, for trying the plugin out."""

import argparse
import sys

from .faults import FAULTS
from .server import CarrierSimulator
from .shapes import KEY, SECRET, SHAPES
from .world import SimCharge, SimTicket, World


def main() -> int:
    """Serves until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m netbox_circuit_manager.testing", description=__doc__)
    parser.add_argument(
        "--shape", choices=sorted(SHAPES), default="sonata", help="whose API (default: sonata)"
    )
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--circuits", type=int, default=10)
    parser.add_argument("--prefix", default="SIM", help="circuit IDs are PREFIX/000001 and so on")
    parser.add_argument(
        "--fault", choices=sorted(FAULTS), action="append", default=[], help="turned on from the start"
    )
    parser.add_argument(
        "--seconds", type=float, default=2, help="how long an answer takes with the fault slow"
    )
    arguments = parser.parse_args()
    world = World.of(arguments.circuits, arguments.prefix)
    if world.circuits:
        world.tickets.append(SimTicket("TT-1", world.circuits[0].id))
        world.charges.append(SimCharge("line-1", "INV-1", world.circuits[0].id, amount="150.00"))
    carrier = CarrierSimulator(arguments.shape, world, arguments.port)
    carrier.faults.seconds = arguments.seconds
    for fault in arguments.fault:
        carrier.faults.set(fault)
    carrier.start()
    sys.stdout.write(f"{arguments.shape} at {carrier.url}\nAPI key {KEY}, API secret {SECRET}\n")
    sys.stdout.write(f"Faults: POST {carrier.url}/_simulator/faults?name=NAME[&times=N], or ?clear=1\n")
    sys.stdout.flush()
    try:
        carrier.wait()
    except KeyboardInterrupt:
        carrier.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
