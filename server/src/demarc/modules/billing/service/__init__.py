"""Every write of billing, one function per use case. Whatever allocates money locks the customer's account first."""

from demarc.modules.billing.service.credits import credit_invoice
from demarc.modules.billing.service.invoices import (
    create_invoice,
    invoice_usage,
    mark_invoice_overdue,
    mark_overdue,
    update_invoice,
    usage_line,
    void_invoice,
)
from demarc.modules.billing.service.mergers import (
    MovedBalance,
    hold_accounts,
    list_balances_to_move,
    move_balances,
)
from demarc.modules.billing.service.payments import record_payment
from demarc.modules.billing.service.returns import refund_payment, reverse_payment
from demarc.modules.billing.service.runs import advance_run, complete_run, open_run
from demarc.modules.billing.service.settlement import hold_account
from demarc.modules.billing.service.taxes import set_tax_rule

__all__ = [
    "MovedBalance",
    "advance_run",
    "complete_run",
    "create_invoice",
    "credit_invoice",
    "hold_account",
    "hold_accounts",
    "invoice_usage",
    "list_balances_to_move",
    "mark_invoice_overdue",
    "mark_overdue",
    "move_balances",
    "open_run",
    "record_payment",
    "refund_payment",
    "reverse_payment",
    "set_tax_rule",
    "update_invoice",
    "usage_line",
    "void_invoice",
]
