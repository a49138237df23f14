"""Refusals of customers with codes of their own."""

from __future__ import annotations

from demarc.kernel.errors import Conflict


class CustomerErased(Conflict):
    """Nothing is known of this customer any more but what the books need."""

    code = "CUSTOMER_ERASED"


class NotErasable(Conflict):
    """Something still binds the customer."""

    code = "CUSTOMER_IN_USE"
