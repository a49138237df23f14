"""Data caps: what a service may carry in a month, what it has carried, and what was topped up."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, and_, any_, bindparam, delete, exists, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.outbox import emit
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.audit.service import record
from demarc.modules.catalog.inputs import NewDataCap
from demarc.modules.catalog.queries import Plan
from demarc.modules.catalog.states import CapAction
from demarc.modules.services.queries import Service
from demarc.modules.usage import statements
from demarc.modules.usage.models import data_cap, data_crossing, data_period, data_top_up
from demarc.modules.usage.states import CrossingOutcome

ENTITY = "service"
THRESHOLDS = (80, 100)


@dataclass(frozen=True, slots=True)
class DataCap:
    """How much a service may carry in a month, and what follows; speeds (bit/s) are the throttled ones."""

    tenant_id: int
    id: int
    service_id: int
    subscription_id: int
    customer_id: int
    limit_octets: int
    action: str
    download_bps: int | None
    upload_bps: int | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class CapStanding(DataCap):
    """A cap with the current month: octets used (both directions) and topped up."""

    used_octets: int
    bonus_octets: int

    @property
    def allowance_octets(self) -> int:
        return self.limit_octets + self.bonus_octets

    @property
    def is_used_up(self) -> bool:
        return self.used_octets >= self.allowance_octets


@dataclass(frozen=True, slots=True)
class DataPeriod:
    """One month of a capped service."""

    tenant_id: int
    id: int
    service_id: int
    month_on: date
    limit_octets: int
    bonus_octets: int
    used_octets: int
    updated_at: datetime

    @property
    def allowance_octets(self) -> int:
        return self.limit_octets + self.bonus_octets


@dataclass(frozen=True, slots=True)
class Crossing:
    """A month's allowance was used to 80 or 100 %."""

    tenant_id: int
    id: int
    service_id: int
    month_on: date
    threshold: int
    allowance_octets: int
    used_octets: int
    crossed_at: datetime
    outcome: str
    handled_at: datetime | None


@dataclass(frozen=True, slots=True)
class TopUp:
    """Octets beyond the cap for one month; `usage_record_id` None: given, not bought."""

    tenant_id: int
    id: int
    uid: UUID
    service_id: int
    subscription_id: int
    month_on: date
    octets: int
    usage_record_id: int | None
    reason: str
    placed_by: str
    created_at: datetime


_MONTH = bindparam("month_on", type_=data_period.c.month_on.type)
_OF_SERVICE = bindparam("service_id", type_=BigInteger)
_CURRENT = data_cap.outerjoin(
    data_period,
    and_(
        data_period.c.tenant_id == data_cap.c.tenant_id,
        data_period.c.service_id == data_cap.c.service_id,
        data_period.c.month_on == _MONTH,
    ),
)
_FIND = Query(
    select(
        data_cap,
        func.coalesce(data_period.c.used_octets, 0).label("used_octets"),
        func.coalesce(data_period.c.bonus_octets, 0).label("bonus_octets"),
    )
    .select_from(_CURRENT)
    .where(mine(data_cap), data_cap.c.service_id == _OF_SERVICE)
)
_DROP = Query(delete(data_cap).where(mine(data_cap), data_cap.c.service_id == _OF_SERVICE))
_WAITING = (
    select(data_crossing)
    .where(mine(data_crossing), data_crossing.c.outcome == CrossingOutcome.PENDING.value)
    .order_by(data_crossing.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_TAKE_OF_SERVICE = Query(_WAITING.where(data_crossing.c.service_id == _OF_SERVICE))
_TAKE = Query(_WAITING.where(data_crossing.c.id == bindparam("id", type_=BigInteger)))
_WAITING_IDS = Query(
    select(data_crossing.c.id)
    .where(mine(data_crossing), data_crossing.c.outcome == CrossingOutcome.PENDING.value)
    .order_by(data_crossing.c.id)
    .limit(500)
)
_PERIODS_OF = Query(
    select(data_period).where(
        mine(data_period),
        data_period.c.service_id == any_(bindparam("service_ids", type_=ARRAY(BigInteger))),
        data_period.c.month_on == _MONTH,
    )
)
_USED_UP = exists().where(
    data_period.c.tenant_id == data_cap.c.tenant_id,
    data_period.c.service_id == data_cap.c.service_id,
    data_period.c.month_on == _MONTH,
    data_period.c.used_octets >= data_period.c.limit_octets + data_period.c.bonus_octets,
)

CAPS = Listing(
    data_cap,
    filters={
        "service_id": data_cap.c.service_id == bindparam("service_id"),
        "customer_id": data_cap.c.customer_id == bindparam("customer_id"),
        "action": data_cap.c.action == bindparam("action"),
        "month_on": _MONTH.is_not(None),  # the month that is current, for the next one
        "is_used_up": bindparam("is_used_up", type_=Boolean) == _USED_UP,
    },
    sorts={"created_at": data_cap.c.created_at, "limit_gb": data_cap.c.limit_octets},
    default_sort="created_at",
)
PERIODS = Listing(
    data_period,
    filters={"service_id": data_period.c.service_id == bindparam("service_id")},
    sorts={"period": data_period.c.month_on, "used_gb": data_period.c.used_octets},
    default_sort="-period",
)
CROSSINGS = Listing(
    data_crossing,
    filters={
        "service_id": data_crossing.c.service_id == bindparam("service_id"),
        "threshold": data_crossing.c.threshold == bindparam("threshold"),
        "outcome": data_crossing.c.outcome == bindparam("outcome"),
    },
    sorts={"crossed_at": data_crossing.c.crossed_at},
    default_sort="-crossed_at",
)
TOP_UPS = Listing(
    data_top_up,
    filters={
        "service_id": data_top_up.c.service_id == bindparam("service_id"),
        "month_on": data_top_up.c.month_on == bindparam("month_on"),
        "is_bought": data_top_up.c.usage_record_id.is_not(None) == bindparam("is_bought", type_=Boolean),
    },
    sorts={"created_at": data_top_up.c.created_at},
    default_sort="-created_at",
)


def current_month(tx: Tx) -> date:
    """The first day of the tenant's month: data caps begin anew on it."""
    return local_date(tx.now, tx.tenant.time_zone).replace(day=1)


async def find_cap(tx: Tx, service_id: int) -> CapStanding | None:
    """The service's cap with what it has used this month; None: it has none."""
    return await tx.find(_FIND, CapStanding, service_id=service_id, month_on=current_month(tx))


async def get_cap(tx: Tx, service_id: int) -> CapStanding:
    """Raises `NotFound`: the service has no cap."""
    found = await find_cap(tx, service_id)
    if found is None:
        raise NotFound("the service has no data cap; set one first (PUT)", code="NO_DATA_CAP")
    return found


async def list_caps(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[CapStanding]:
    """Filters: service_id, customer_id, action, is_used_up (this month)."""
    month_on = current_month(tx)
    if filters.get("is_used_up") is not None:
        filters["month_on"] = month_on
    page = await CAPS.page(tx, DataCap, window, sort=sort, **filters)
    ids = [row.service_id for row in page.rows]
    months = {
        row.service_id: row
        for row in await tx.fetch(_PERIODS_OF, DataPeriod, service_ids=ids, month_on=month_on)
    }
    return Page([_standing(row, months.get(row.service_id)) for row in page.rows], page.total, page.window)


def _standing(row: DataCap, month: DataPeriod | None) -> CapStanding:
    used, bonus = (0, 0) if month is None else (month.used_octets, month.bonus_octets)
    return CapStanding(**asdict(row), used_octets=used, bonus_octets=bonus)


async def list_periods(
    tx: Tx, service_id: int, window: Window, *, sort: str | None = None
) -> Page[DataPeriod]:
    """What the service carried month by month, the latest first."""
    return await PERIODS.page(tx, DataPeriod, window, sort=sort, service_id=service_id)


async def list_crossings(
    tx: Tx, service_id: int, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[Crossing]:
    """Thresholds that were reached, the latest first. Filters: threshold, outcome."""
    return await CROSSINGS.page(tx, Crossing, window, sort=sort, service_id=service_id, **filters)


async def list_top_ups(
    tx: Tx, service_id: int, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[TopUp]:
    """What was bought or given, the latest first. Filters: month_on (first day), is_bought."""
    return await TOP_UPS.page(tx, TopUp, window, sort=sort, service_id=service_id, **filters)


async def follow_plan(tx: Tx, service: Service, plan: Plan) -> None:
    """The service was sold with this plan: its cap is the plan's as it is now."""
    if plan.cap_octets is None or plan.cap_action is None:
        await remove_cap(tx, service)
        return
    new = NewDataCap(plan.cap_octets, CapAction(plan.cap_action), plan.cap_download_bps, plan.cap_upload_bps)
    await set_cap(tx, service, new)


async def set_cap(tx: Tx, service: Service, new: NewDataCap) -> CapStanding:
    """Cap a service from now on; what it has carried since the month began counts.

    Thresholds that this reaches are noted; `workflows.data_caps` acts on them.
    """
    before = await find_cap(tx, service.id)
    columns = {
        "limit_octets": new.limit_octets,
        "action": new.action.value,
        "download_bps": new.download_bps,
        "upload_bps": new.upload_bps,
        "updated_at": tx.now,
    }
    if before is None:
        keys = {
            "service_id": service.id,
            "subscription_id": service.subscription_id,
            "customer_id": service.customer_id,
        }
        await tx.insert(data_cap, DataCap, created_at=tx.now, **keys, **columns)
    else:
        await tx.update(data_cap, DataCap, {"service_id": service.id}, **columns)
    month_on = current_month(tx)
    await tx.connection.execute(
        statements.OPEN_PERIOD, tx.tenant.id, service.id, service.subscription_id, month_on, new.limit_octets
    )
    await _note_reached(tx, service.id, month_on)
    after = await get_cap(tx, service.id)
    await record(
        tx,
        "data_cap.set",
        entity=ENTITY,
        entity_id=service.id,
        before=None if before is None else asdict(before),
        after=asdict(after),
    )
    return after


async def remove_cap(tx: Tx, service: Service) -> bool:
    """Whether there was one; its months stay."""
    before = await find_cap(tx, service.id)
    if before is None:
        return False
    await tx.execute(_DROP, service_id=service.id)
    await record(tx, "data_cap.remove", entity=ENTITY, entity_id=service.id, before=asdict(before))
    return True


async def add_top_up(
    tx: Tx, cap: CapStanding, *, uid: UUID, octets: int, usage_record_id: int | None, reason: str
) -> TopUp:
    """Let the service carry so much more this month. `usage_record_id`: what bills it."""
    month_on = current_month(tx)
    made = await tx.insert(
        data_top_up,
        TopUp,
        uid=uid,
        service_id=cap.service_id,
        subscription_id=cap.subscription_id,
        month_on=month_on,
        octets=octets,
        usage_record_id=usage_record_id,
        reason=reason,
        placed_by=tx.actor.name,
        created_at=tx.now,
    )
    await tx.connection.execute(
        statements.RAISE_ALLOWANCE, tx.tenant.id, cap.service_id, month_on, cap.limit_octets, octets
    )
    await _note_reached(tx, cap.service_id, month_on)
    await record(tx, "data_cap.top_up", entity=ENTITY, entity_id=cap.service_id, after=asdict(made))
    await emit(
        tx,
        "data_cap.topped_up",
        entity=ENTITY,
        entity_id=cap.service_id,
        octets=octets,
        is_bought=usage_record_id is not None,
    )
    return made


async def _note_reached(tx: Tx, service_id: int, month_on: date) -> None:
    await tx.connection.execute(statements.NOTE_REACHED, tx.tenant.id, service_id, month_on, tx.now)


async def list_waiting_crossings(tx: Tx) -> list[int]:
    """Ids of reached thresholds that nobody has acted on, up to 500, the oldest first."""
    rows = await tx.connection.fetch(_WAITING_IDS.sql, *_WAITING_IDS.arguments({"tenant_id": tx.tenant.id}))
    return [row["id"] for row in rows]


async def take_crossing(tx: Tx, crossing_id: int) -> Crossing | None:
    """A reached threshold, locked; None: somebody has acted on it, or is doing so."""
    return await tx.find(_TAKE, Crossing, id=crossing_id)


async def take_crossing_of(tx: Tx, service_id: int) -> Crossing | None:
    """The service's oldest that nobody has acted on, locked."""
    return await tx.find(_TAKE_OF_SERVICE, Crossing, service_id=service_id)


async def settle_crossing(tx: Tx, crossing: Crossing, outcome: CrossingOutcome) -> None:
    """Keep what came of it, and tell."""
    await tx.update(data_crossing, Crossing, {"id": crossing.id}, outcome=outcome.value, handled_at=tx.now)
    await emit(
        tx,
        "data_cap.reached",
        entity=ENTITY,
        entity_id=crossing.service_id,
        threshold=crossing.threshold,
        used_octets=crossing.used_octets,
        allowance_octets=crossing.allowance_octets,
        outcome=outcome.value,
    )
