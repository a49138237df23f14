from __future__ import annotations

from enum import StrEnum

from demarc.kernel.states import StateMachine


class InvoiceStatus(StrEnum):
    """`refunded`: credit notes took back all of it. A payment that is reversed makes a paid one open again."""

    PENDING = "pending"
    PAID = "paid"
    OVERDUE = "overdue"
    VOID = "void"
    REFUNDED = "refunded"


_SETTLED = frozenset({InvoiceStatus.PAID, InvoiceStatus.REFUNDED})

INVOICE = StateMachine[InvoiceStatus](
    "invoice",
    {
        InvoiceStatus.PENDING: _SETTLED | {InvoiceStatus.OVERDUE, InvoiceStatus.VOID},
        InvoiceStatus.OVERDUE: _SETTLED | {InvoiceStatus.PENDING, InvoiceStatus.VOID},
        InvoiceStatus.PAID: frozenset({InvoiceStatus.PENDING, InvoiceStatus.OVERDUE, InvoiceStatus.REFUNDED}),
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
    """`reversed`: the bank took it back; `refunded`: all of it was paid back to the customer."""

    RECEIVED = "received"
    REVERSED = "reversed"
    REFUNDED = "refunded"


PAYMENT = StateMachine[PaymentStatus](
    "payment",
    {
        PaymentStatus.RECEIVED: frozenset({PaymentStatus.REVERSED, PaymentStatus.REFUNDED}),
        PaymentStatus.REVERSED: frozenset(),
        PaymentStatus.REFUNDED: frozenset(),
    },
)


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
