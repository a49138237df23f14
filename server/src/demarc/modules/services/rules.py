"""Decisions about services, without I/O."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from demarc.kernel.clock import local_date
from demarc.kernel.errors import Conflict, invalid
from demarc.modules.services.states import (
    CARRYING,
    HELD_STATUS,
    SERVICE_STATES,
    LockKind,
    ProvisioningStatus,
    ServiceStatus,
)

_NON_PAYMENT = re.compile(
    r"non[\s_-]?pay|not\s+paid|unpaid|overdue|past\s+due|arrears|late\s+payment|missed\s+payment",
    re.IGNORECASE,
)
_FINAL = (ServiceStatus.TERMINATING, ServiceStatus.TERMINATED)


def gravest(kinds: Collection[LockKind]) -> LockKind | None:
    """Fraud over non-payment over anything else."""
    return next((kind for kind in HELD_STATUS if kind in kinds), None)


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides the status shown: a notice period over a lock, a lock over what is beneath."""

    beneath: ServiceStatus
    held_by: LockKind | None = None
    terminates_at: datetime | None = None

    @property
    def shown(self) -> ServiceStatus:
        if self.terminates_at is not None:
            return ServiceStatus.TERMINATING
        return HELD_STATUS[self.held_by] if self.held_by is not None else self.beneath

    @property
    def hidden(self) -> ServiceStatus | None:
        """What to show again later, if that is not what is shown."""
        return None if self.shown is self.beneath else self.beneath

    @property
    def is_up(self) -> bool:
        return self.held_by is None and self.beneath in CARRYING


def lock_kind(*, reason_code: LockKind | None, fraud: bool, reason: str) -> LockKind:
    """Which lock a request to suspend means: its code, else the fraud flag, else what the reason says."""
    if reason_code is not None:
        return reason_code
    if fraud:
        return LockKind.FRAUD
    return LockKind.NON_PAYMENT if _NON_PAYMENT.search(reason) else LockKind.OTHER


def kinds_to_lift(open_kinds: Collection[LockKind], asked: LockKind | None) -> frozenset[LockKind]:
    """The lock that was named, if it is on; without a name all but fraud."""
    if asked is not None:
        return frozenset({asked} & set(open_kinds))
    return frozenset(open_kinds) - {LockKind.FRAUD}


def check_may_suspend(status: ServiceStatus) -> None:
    """Legal in any state but the last two."""
    if status in _FINAL:
        allowed = "terminate" if status is ServiceStatus.TERMINATING else "nothing: it is final"
        raise _illegal(status, "be suspended", allowed)


def check_may_resume(status: ServiceStatus, open_kinds: Collection[LockKind], asked: LockKind | None) -> None:
    """There has to be a lock that this request may lift."""
    if status is ServiceStatus.TERMINATED or not open_kinds:
        allowed = sorted(target.value for target in SERVICE_STATES.moves[status])
        raise _illegal(status, "be resumed: no lock is on", ", ".join(allowed) or "nothing: it is final")
    if not kinds_to_lift(open_kinds, asked):
        locks = ", ".join(sorted(open_kinds))
        raise _illegal(
            status, f"be resumed that way: the lock on it is {locks}", f"resume with reason_code {locks}"
        )


def check_may_activate(
    status: ServiceStatus, provisioning: ProvisioningStatus, held_by: LockKind | None
) -> None:
    """Activation follows provisioning, and waits while a lock is on."""
    if held_by is not None and status not in _FINAL:
        raise _illegal(status, f"be activated: the lock {held_by.value} is on", "resume, terminate")
    SERVICE_STATES.check(status, ServiceStatus.ACTIVE)
    if provisioning is not ProvisioningStatus.COMPLETED:
        raise _illegal(
            status,
            f"be activated: its provisioning is {provisioning.value}",
            "wait for it, suspend, terminate",
        )


def end_of_notice(
    asked: datetime | None, *, now: datetime, time_zone: str, may_be_past: bool
) -> datetime | None:
    """When a service ends; None means now.

    Raises:
        Invalid: the day has gone by (a sandbox tenant may name it: it means now).
    """
    if asked is None or asked <= now:
        gone_by = asked is not None and local_date(asked, time_zone) < local_date(now, time_zone)
        if gone_by and not may_be_past:
            raise invalid("termination_date", "lies in the past; leave it out to terminate now")
        return None
    return asked


def _illegal(status: ServiceStatus, what: str, allowed: str) -> Conflict:
    return Conflict(
        f"a service that is {status.value} cannot {what}; allowed from here: {allowed}",
        code="ILLEGAL_STATE_CHANGE",
    )
