"""Reads of tax rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import (
    Date,
    bindparam,
    select,
)
from sqlalchemy.dialects.postgresql import distinct_on

from demarc.kernel.db import Tx
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.billing.models import (
    tax_rule,
)


@dataclass(frozen=True, slots=True)
class TaxRule:
    tenant_id: int
    id: int
    name: str
    rate: Decimal
    effective_on: date


_RATES = Query(
    select(tax_rule)
    .where(mine(tax_rule), tax_rule.c.effective_on <= bindparam("on", type_=Date))
    .ext(distinct_on(tax_rule.c.name))
    .order_by(tax_rule.c.name, tax_rule.c.effective_on.desc())
)


TAX_RULES = Listing(
    tax_rule,
    filters={},
    sorts={"effective_on": tax_rule.c.effective_on, "name": tax_rule.c.name},
    default_sort="effective_on",
)


async def list_tax_rules(tx: Tx, window: Window, *, sort: str | None = None) -> Page[TaxRule]:
    """All rules, past and to come."""
    return await TAX_RULES.page(tx, TaxRule, window, sort=sort)


async def rules_in_force(tx: Tx, on: date) -> list[TaxRule]:
    """The rules in force on a day: of each name the latest."""
    return await tx.fetch(_RATES, TaxRule, on=on)
