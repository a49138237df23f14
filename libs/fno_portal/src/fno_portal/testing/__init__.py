"""Simulated operators of every style, a mailbox on a real Dovecot, and contract suites for drivers and stores.

`python -m fno_portal.testing` runs the simulators. Needs the extra `fno-portal[testing]`.
"""

from __future__ import annotations

try:
    from fno_portal.testing.contract import RULES, Subject
    from fno_portal.testing.operator import Faults, SimulatedOperator
    from fno_portal.testing.server import RunningSimulator
    from fno_portal.testing.store_contract import STORE_RULES, StoreSubject
    from fno_portal.testing.styles import STYLES, make_app
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"fno_portal.testing needs the extra fno-portal[testing] ({error.name} is not installed)",
        name=error.name,
    ) from None

__all__ = [
    "RULES", "STORE_RULES", "STYLES", "Faults", "RunningSimulator", "SimulatedOperator", "StoreSubject", "Subject",
    "make_app",
]  # fmt: skip
