"""What each role may do. A permission is `room.verb`; every route names one."""

from __future__ import annotations

from demarc.modules.identity.states import Role

READ = frozenset(
    {
        "customers.read",
        "catalog.read",
        "addressing.read",
        "services.read",
        "access.read",
        "usage.read",
        "billing.read",
        "dunning.read",
        "notifications.read",
        "platform.read",
    }
)
WRITE = frozenset(
    {
        "customers.write",
        "catalog.write",
        "addressing.write",
        "services.write",
        "access.write",
        "usage.write",
        "billing.write",
        "dunning.write",
        "sandbox.write",
    }
)
ALL = READ | WRITE

BY_ROLE: dict[Role, frozenset[str]] = {
    Role.ADMIN: ALL,
    Role.SUPPORT: READ | {"customers.write", "services.write", "access.write"},
    Role.BILLING: READ | {"customers.write", "usage.write", "billing.write", "dunning.write"},
    Role.TECHNICIAN: READ - {"billing.read", "dunning.read"}
    | {"addressing.write", "services.write", "access.write"},
    Role.READ_ONLY: READ,
}
