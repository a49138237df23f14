"""Decisions about services, without I/O."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demarc.kernel.clock import local_date
from demarc.kernel.errors import Conflict, invalid
from demarc.modules.catalog.inputs import bits_per_second
from demarc.modules.catalog.queries import Plan
from demarc.modules.services.states import (
    CARRYING,
    CONDITIONS,
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
SPEED_KEYS = ("bandwidth_down_mbps", "bandwidth_up_mbps")
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


def check_end_of_lock(kind: LockKind, lifts_at: datetime | None) -> None:
    """Raises `Invalid`: a fraud lock never lifts by itself."""
    if kind is LockKind.FRAUD and lifts_at is not None:
        raise invalid("auto_resume_at", "a fraud lock is lifted by a person only; leave it out")


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


def check_may_schedule(beneath: ServiceStatus, shown: ServiceStatus) -> None:
    """A day to go on line is for a service that has not been on line yet."""
    if shown in _FINAL or beneath not in (ServiceStatus.PENDING, ServiceStatus.PROVISIONING):
        allowed = ", ".join(sorted(target.value for target in SERVICE_STATES.moves[shown]))
        raise _illegal(shown, "be activated later", allowed or "nothing: it is final")


def moment_ahead(
    asked: datetime | None, *, field: str, now: datetime, time_zone: str, may_be_past: bool
) -> datetime | None:
    """When something is to happen; None means now.

    Raises:
        Invalid: the day has gone by (a sandbox tenant may name it: it means now).
    """
    if asked is None or asked <= now:
        gone_by = asked is not None and local_date(asked, time_zone) < local_date(now, time_zone)
        if gone_by and not may_be_past:
            raise invalid(field, "lies in the past; leave it out to have it now")
        return None
    return asked


def check_may_modify(status: ServiceStatus) -> None:
    """Settings may change in any state but the last."""
    if status is ServiceStatus.TERMINATED:
        raise _illegal(status, "be changed", "nothing: it is final")


def check_may_change_plan(status: ServiceStatus, provisioning: ProvisioningStatus) -> None:
    """Not while it is being brought up, nor when its end is near."""
    if status in _FINAL:
        allowed = "terminate" if status is ServiceStatus.TERMINATING else "nothing: it is final"
        raise _illegal(status, "change its plan", allowed)
    if provisioning is not ProvisioningStatus.COMPLETED:
        raise _illegal(
            status, f"change its plan: its provisioning is {provisioning.value}", "suspend, modify, terminate"
        )


def check_new_plan(service_type: str, plan_id: int, plan: Plan) -> None:
    """Another plan for the same type of service."""
    if plan.id == plan_id:
        raise Conflict(f"the service is of plan {plan.ref} already", code="SAME_PLAN")
    if plan.service_type != service_type:
        raise invalid("plan_id", f"plan {plan.ref} is for {plan.service_type}, the service is {service_type}")


def check_condition(current: ServiceStatus, condition: ServiceStatus) -> None:
    """Only a line that was brought up works well or badly; a lock or a notice period does not hide how it works."""
    if condition not in CONDITIONS:
        raise invalid("condition", f"has to be one of {', '.join(sorted(CONDITIONS))}")
    allowed = sorted(target for target in SERVICE_STATES.moves[current] if target in CONDITIONS)
    if condition not in allowed or current not in CONDITIONS:
        raise _illegal(
            current,
            f"become {condition.value}",
            ", ".join(allowed if current in CONDITIONS else []) or "activate or provision it first",
        )


def speeds_of(config: dict[str, Any], *, download_bps: int, upload_bps: int) -> tuple[int, int]:
    """Download and upload in bit/s: those of the settings over those of the plan."""
    return (
        _speed(config, "bandwidth_down_mbps", download_bps),
        _speed(config, "bandwidth_up_mbps", upload_bps),
    )


def _speed(config: dict[str, Any], key: str, of_plan: int) -> int:
    asked = config.get(key)
    return of_plan if asked is None else bits_per_second(asked, field=f"service_config.{key}")


def without_speeds(config: dict[str, Any]) -> dict[str, Any]:
    """The settings without the speeds that were agreed beside the plan; a new plan brings its own."""
    return {key: value for key, value in config.items() if key not in SPEED_KEYS}


def _illegal(status: ServiceStatus, what: str, allowed: str) -> Conflict:
    return Conflict(
        f"a service that is {status.value} cannot {what}; allowed from here: {allowed}",
        code="ILLEGAL_STATE_CHANGE",
    )
