from __future__ import annotations

from enum import StrEnum

from demarc.kernel.states import StateMachine


class InvoiceStatus(StrEnum):
    PENDING = "pending"
    PAID = "paid"
    OVERDUE = "overdue"
    VOID = "void"
    REFUNDED = "refunded"


INVOICE = StateMachine[InvoiceStatus](
    "invoice",
    {
        InvoiceStatus.PENDING: frozenset({InvoiceStatus.PAID, InvoiceStatus.OVERDUE, InvoiceStatus.VOID}),
        InvoiceStatus.OVERDUE: frozenset({InvoiceStatus.PAID, InvoiceStatus.VOID}),
        InvoiceStatus.PAID: frozenset({InvoiceStatus.REFUNDED}),
        InvoiceStatus.VOID: frozenset(),
        InvoiceStatus.REFUNDED: frozenset(),
    },
)
OPEN_INVOICE = (InvoiceStatus.PENDING, InvoiceStatus.OVERDUE)
"""Statuses in which something is still to be paid."""


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


class RunStatus(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"


RUN = StateMachine[RunStatus](
    "billing run",
    {RunStatus.RUNNING: frozenset({RunStatus.COMPLETED}), RunStatus.COMPLETED: frozenset()},
)
