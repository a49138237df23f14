"""Every write of services, one function per use case. Whoever changes a service holds its row until the end."""

from demarc.modules.services.service.bulk import advance_bulk, start_bulk
from demarc.modules.services.service.creation import create_service, next_identifier
from demarc.modules.services.service.lifecycle import (
    activate_service,
    activate_when_free,
    end_service_due,
    set_condition,
    start_service_due,
    terminate_due,
    terminate_service,
)
from demarc.modules.services.service.locks import lift_lock, lift_lock_due, place_lock, resume_service
from demarc.modules.services.service.modification import modify_service
from demarc.modules.services.service.plan_changes import (
    cancel_plan_change,
    carry_out_plan_change,
    change_plan,
)
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
from demarc.modules.services.service.standing import ahead

__all__ = [
    "activate_service",
    "activate_when_free",
    "advance_bulk",
    "ahead",
    "cancel_plan_change",
    "carry_out_plan_change",
    "change_plan",
    "compensate_step",
    "complete_provisioning",
    "complete_step",
    "create_service",
    "end_service_due",
    "fail_provisioning",
    "finish_rollback",
    "lift_lock",
    "lift_lock_due",
    "modify_service",
    "next_identifier",
    "note_failed_attempt",
    "place_lock",
    "restart_provisioning",
    "resume_service",
    "set_condition",
    "start_bulk",
    "start_service_due",
    "start_step",
    "terminate_due",
    "terminate_service",
]
