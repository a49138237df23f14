"""Every write of NAS, subscribers, their projection and orders to NAS, one function per use case."""

from demarc.modules.access.service.addresses import give_address, take_address_back
from demarc.modules.access.service.forgetting import forget_log_ins
from demarc.modules.access.service.nas import create_nas, project_clock, update_nas
from demarc.modules.access.service.orders import (
    claim_order,
    disconnect_session,
    disconnect_sessions,
    enforce_access,
    give_up_order,
    order_rates,
    settle_order,
)
from demarc.modules.access.service.policies import (
    lapse_policies,
    lift_policy,
    lift_service_policy,
    place_policy,
)
from demarc.modules.access.service.projection import (
    Projected,
    forget_deleted_logins,
    project_login,
    rebuild_logins,
    refresh_login,
    refresh_service,
)
from demarc.modules.access.service.subscribers import (
    CreatedSubscriber,
    change_pool,
    create_subscriber,
    delete_subscriber,
    delete_subscribers_of_service,
    reset_password,
    resume_subscriber,
    suspend_subscriber,
    update_subscriber,
)

__all__ = [
    "CreatedSubscriber",
    "Projected",
    "change_pool",
    "claim_order",
    "create_nas",
    "create_subscriber",
    "delete_subscriber",
    "delete_subscribers_of_service",
    "disconnect_session",
    "disconnect_sessions",
    "enforce_access",
    "forget_deleted_logins",
    "forget_log_ins",
    "give_address",
    "give_up_order",
    "lapse_policies",
    "lift_policy",
    "lift_service_policy",
    "order_rates",
    "place_policy",
    "project_clock",
    "project_login",
    "rebuild_logins",
    "refresh_login",
    "refresh_service",
    "reset_password",
    "resume_subscriber",
    "settle_order",
    "suspend_subscriber",
    "take_address_back",
    "update_nas",
    "update_subscriber",
]
