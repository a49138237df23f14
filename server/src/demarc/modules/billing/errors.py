"""What can go wrong with money."""

from __future__ import annotations

from demarc.kernel.errors import Conflict


def reference_used(method: str, reference: str) -> Conflict:
    return Conflict(
        f"the {method} payment {reference} was recorded before with other values; "
        "another payment needs a reference of its own",
        code="PAYMENT_DIFFERS",
    )


def nothing_to_bill(subscription_ref: str) -> Conflict:
    return Conflict(
        f"subscription {subscription_ref} has no unbilled usage in this period, and no invoice of it either",
        code="NOTHING_TO_BILL",
    )


def credit_exceeds(what: str, wanted_minor: int, left_minor: int) -> Conflict:
    return Conflict(
        f"{left_minor} minor units are left to be credited of {what}, not {wanted_minor}",
        code="CREDIT_EXCEEDS_INVOICE",
    )


def has_no_credit_left(ref: str, status: str) -> Conflict:
    return Conflict(
        f"invoice {ref} is {status}: nothing of it is left to be credited", code="CREDIT_EXCEEDS_INVOICE"
    )


def refund_exceeds(wanted_minor: int, free_minor: int) -> Conflict:
    left = f"{free_minor} minor units" if free_minor else "nothing"
    asked = f", not {wanted_minor}" if wanted_minor else ""
    return Conflict(
        f"{left} of this payment can be paid back{asked}; credit or void an invoice that used it first",
        code="REFUND_EXCEEDS_PAYMENT",
    )


def refund_reference_used(reference: str) -> Conflict:
    return Conflict(
        f"the refund {reference} of this payment was recorded before with another amount",
        code="REFUND_DIFFERS",
    )


def customer_merged() -> Conflict:
    return Conflict(
        "this customer was merged into another one meanwhile; ask for it again and use the one it names",
        code="CUSTOMER_MERGED",
    )


def ref_used(ref: str) -> Conflict:
    return Conflict(f"invoice {ref} exists already", code="DUPLICATE")
