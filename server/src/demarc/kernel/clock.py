"""Two kinds of time: business time is the tenant's and can be moved in a sandbox, real time cannot (ADR 0008)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


def real_now() -> datetime:
    """The machine's time, UTC: for tokens, retries and transport, never for billing."""
    return datetime.now(UTC)


def business_now(offset: timedelta) -> datetime:
    """The tenant's time, UTC."""
    return real_now() + offset


def local_date(moment: datetime, time_zone: str) -> date:
    """The calendar day of `moment` where the tenant is."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


def month_start(moment: datetime, time_zone: str) -> datetime:
    """Midnight of the first day of the tenant's month that holds `moment`, as UTC."""
    zone = ZoneInfo(time_zone)
    local = moment.astimezone(zone)
    return datetime(local.year, local.month, 1, tzinfo=zone).astimezone(UTC)


def next_month_start(moment: datetime, time_zone: str) -> datetime:
    """Midnight of the first day of the tenant's next month, as UTC."""
    zone = ZoneInfo(time_zone)
    local = moment.astimezone(zone)
    year, month = (local.year + 1, 1) if local.month == 12 else (local.year, local.month + 1)  # noqa: PLR2004 - December
    return datetime(year, month, 1, tzinfo=zone).astimezone(UTC)


def as_utc(moment: datetime) -> datetime:
    """A naive request datetime is taken as UTC (contract of both surfaces)."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
