"""Taxes, from a day on."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from decimal import Decimal

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.modules.audit.service import record
from demarc.modules.billing.models import tax_rule
from demarc.modules.billing.queries import (
    TaxRule,
)


async def set_tax_rule(tx: Tx, *, name: str, rate: Decimal, effective_on: date) -> TaxRule:
    """A tax on every invoice from a day on; a later rule of the same name takes its place.

    Raises:
        Invalid: the rate is not from 0 to below 1.
    """
    if not rate.is_finite() or not 0 <= rate < 1 or rate != round(rate, 6):
        raise invalid("rate", "has to be from 0 to below 1, with at most 6 decimals (0.08 is 8 %)")
    made = await tx.insert(tax_rule, TaxRule, name=name, rate=rate, effective_on=effective_on)
    await record(tx, "tax_rule.create", entity="tax_rule", entity_id=made.id, after=asdict(made))
    return made
