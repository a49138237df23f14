"""From an order to a service that runs: a durable sequence of steps, undone when one fails for good."""

from demarc.workflows.provisioning.driver import (
    cancel_provisioning,
    deprovision,
    provision,
    retry_provisioning,
    roll_back,
)
from demarc.workflows.provisioning.orders import Provisioned, ServiceOrder, provision_service
from demarc.workflows.provisioning.steps import STEPS, Step

__all__ = [
    "STEPS",
    "Provisioned",
    "ServiceOrder",
    "Step",
    "cancel_provisioning",
    "deprovision",
    "provision",
    "provision_service",
    "retry_provisioning",
    "roll_back",
]
