from __future__ import annotations

from enum import StrEnum


class InvoiceStatus(StrEnum):
    PENDING = "pending"
    PAID = "paid"
    OVERDUE = "overdue"
    VOID = "void"
    REFUNDED = "refunded"


class LineKind(StrEnum):
    RECURRING = "recurring"
    USAGE = "usage"
    ONE_OFF = "one_off"


class PaymentStatus(StrEnum):
    RECEIVED = "received"
    REVERSED = "reversed"


class AccountKind(StrEnum):
    ASSET = "asset"
    LIABILITY = "liability"
    INCOME = "income"
