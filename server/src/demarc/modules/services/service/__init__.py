"""Every write of services, one function per use case. Whoever changes a service holds its row until the end."""

from demarc.modules.services.service.creation import create_service, next_identifier
from demarc.modules.services.service.lifecycle import (
    activate_service,
    activate_when_free,
    end_service_due,
    terminate_due,
    terminate_service,
)
from demarc.modules.services.service.locks import lift_lock, place_lock, resume_service
from demarc.modules.services.service.provisioning import (
    compensate_step,
    complete_provisioning,
    complete_step,
    fail_provisioning,
    finish_rollback,
    note_failed_attempt,
    restart_provisioning,
    start_step,
)

__all__ = [
    "activate_service",
    "activate_when_free",
    "compensate_step",
    "complete_provisioning",
    "complete_step",
    "create_service",
    "end_service_due",
    "fail_provisioning",
    "finish_rollback",
    "lift_lock",
    "next_identifier",
    "note_failed_attempt",
    "place_lock",
    "restart_provisioning",
    "resume_service",
    "start_step",
    "terminate_due",
    "terminate_service",
]
