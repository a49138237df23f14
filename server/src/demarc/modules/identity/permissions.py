"""What each role may do. A permission is `room.verb`; every route names one.

`users.*` is about staff, roles and service tokens, `privacy.*` about all that is known of a customer at once (merge,
export, erasure), `profile.*` about oneself. A reseller sees its own customers only (the database keeps it, see
`begin_tenant`), and therefore nothing that is not a customer or public knowledge.
"""

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
        "notifications.write",
        "sandbox.write",
    }
)
PRIVATE = frozenset({"users.read", "users.write", "privacy.read", "privacy.write"})
SELF = frozenset({"profile.read", "profile.change"})
ALL = READ | WRITE | PRIVATE | SELF

BY_ROLE: dict[Role, frozenset[str]] = {
    Role.ADMIN: ALL,
    Role.SUPPORT: READ | SELF | {"customers.write", "services.write", "access.write", "notifications.write"},
    Role.BILLING: READ
    | SELF
    | {"customers.write", "usage.write", "billing.write", "dunning.write", "notifications.write"},
    Role.TECHNICIAN: (READ - {"billing.read", "dunning.read"})
    | SELF
    | {"addressing.write", "services.write", "access.write"},
    Role.RESELLER: SELF | {"customers.read", "customers.write", "catalog.read"},
    Role.READ_ONLY: READ | SELF,
}
SCOPES = ALL - SELF - {"users.write"}
"""What a service token may hold: it is nobody, so it has no profile, and it must not make itself an administrator."""
