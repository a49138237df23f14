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


def ref_used(ref: str) -> Conflict:
    return Conflict(f"invoice {ref} exists already", code="DUPLICATE")
