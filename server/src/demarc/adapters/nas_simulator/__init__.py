"""A network to try the platform with: simulated NAS that dial in, account and obey over real RADIUS packets."""

from demarc.adapters.nas_simulator.nas import Dialed, Reported, SimulatedNas, SimulatedSession
from demarc.adapters.nas_simulator.proofs import Method
from demarc.adapters.nas_simulator.simulation import (
    Credentials,
    Faults,
    NasAddress,
    Progress,
    SimulationPlan,
    SimulationReport,
    run_simulation,
)

__all__ = [
    "Credentials",
    "Dialed",
    "Faults",
    "Method",
    "NasAddress",
    "Progress",
    "Reported",
    "SimulatedNas",
    "SimulatedSession",
    "SimulationPlan",
    "SimulationReport",
    "run_simulation",
]
