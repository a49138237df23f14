"""Invoices, payments and the ledger that decides what is owed."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from demarc.kernel.schema import at, one_of, personal, tenant_fk, tenant_table, tenant_unique
from demarc.modules.billing.states import AccountKind, InvoiceStatus, LineKind, PaymentStatus, RunStatus

invoice = tenant_table(
    "invoice",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("ref", String(50), nullable=False),
    Column("number", String(20), nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("subscription_id", BigInteger),
    Column("status", String(20), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("subtotal_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("paid_minor", BigInteger, nullable=False, server_default="0"),  # the sum of its allocations
    Column("credited_minor", BigInteger, nullable=False, server_default="0"),  # the sum of its credit notes
    Column("issued_on", Date, nullable=False),
    Column("due_on", Date, nullable=False),
    at("period_start", nullable=True),
    at("period_end", nullable=True),
    Column("month_on", Date),  # first day of the month that the monthly run billed with it
    Column("notes", Text, nullable=False, server_default="", info=personal("''")),
    at("created_at"),
    at("updated_at"),
    one_of("status", InvoiceStatus),
    CheckConstraint("total_minor = subtotal_minor + tax_minor", name="total_adds_up"),
    CheckConstraint("subtotal_minor >= 0 AND tax_minor >= 0", name="not_negative"),
    CheckConstraint(
        "paid_minor >= 0 AND credited_minor >= 0 AND paid_minor + credited_minor <= total_minor",
        name="not_overpaid",
    ),
    tenant_fk("customer_id", "customer"),
    tenant_fk("subscription_id", "subscription"),
    tenant_unique("ref"),
    tenant_unique("number"),
    tenant_unique("uid"),
)
Index("ix_invoice_customer", invoice.c.tenant_id, invoice.c.customer_id, invoice.c.id)
Index("ix_invoice_subscription", invoice.c.tenant_id, invoice.c.subscription_id, invoice.c.id)
Index(
    "ix_invoice_due",
    invoice.c.tenant_id,
    invoice.c.due_on,
    postgresql_where=text("status IN ('pending', 'overdue')"),
)

Index(
    "uq_invoice_month",
    invoice.c.tenant_id,
    invoice.c.subscription_id,
    invoice.c.month_on,
    unique=True,
    postgresql_where=text("month_on IS NOT NULL AND status <> 'void'"),
)

invoice_line = tenant_table(
    "invoice_line",
    Column("invoice_id", BigInteger, nullable=False),
    Column("position", SmallInteger, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("description", Text, nullable=False),
    Column("usage_type", String(40)),
    Column("quantity", Numeric(18, 6), nullable=False, server_default="1"),
    Column("unit", String(20), nullable=False, server_default=""),
    Column("unit_price", Numeric(18, 6)),
    Column("octets", BigInteger),
    Column("amount_minor", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "invoice_id", "position"),
    one_of("kind", LineKind),
    tenant_fk("invoice_id", "invoice"),
    key="none",
)

document_number = tenant_table(
    "document_number",
    Column("series", String(3), nullable=False),  # INV, CN
    Column("year", SmallInteger, nullable=False),
    Column("last", Integer, nullable=False),
    PrimaryKeyConstraint("tenant_id", "series", "year"),
    key="none",
)
"""Gapless per tenant, series and year: the counter row is locked by the transaction that uses the number."""

credit_note = tenant_table(
    "credit_note",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("number", String(20), nullable=False),
    Column("invoice_id", BigInteger, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("subtotal_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("is_settlement", Boolean, nullable=False, server_default="false"),  # of a month that changed
    Column("issued_on", Date, nullable=False),
    at("created_at"),
    CheckConstraint("total_minor = subtotal_minor + tax_minor", name="total_adds_up"),
    CheckConstraint("subtotal_minor > 0 AND tax_minor >= 0", name="positive"),
    tenant_fk("invoice_id", "invoice"),
    tenant_fk("customer_id", "customer"),
    tenant_unique("uid"),
    tenant_unique("number"),
)
"""Takes back a part of an invoice or all of it; never changed, never taken back itself."""
Index("ix_credit_note_invoice", credit_note.c.tenant_id, credit_note.c.invoice_id, credit_note.c.id)
Index("ix_credit_note_customer", credit_note.c.tenant_id, credit_note.c.customer_id, credit_note.c.id)

credit_note_line = tenant_table(
    "credit_note_line",
    Column("credit_note_id", BigInteger, nullable=False),
    Column("position", SmallInteger, nullable=False),  # of the invoice's line
    Column("description", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    CheckConstraint("amount_minor > 0", name="positive"),
    PrimaryKeyConstraint("tenant_id", "credit_note_id", "position"),
    tenant_fk("credit_note_id", "credit_note"),
    key="none",
)

tax_rule = tenant_table(
    "tax_rule",
    Column("name", String(60), nullable=False),
    Column("rate", Numeric(7, 6), nullable=False),
    Column("effective_on", Date, nullable=False),
    CheckConstraint("rate >= 0 AND rate < 1", name="rate_known"),
    tenant_unique("name", "effective_on"),
)

payment = tenant_table(
    "payment",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("customer_id", BigInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column(
        "allocated_minor", BigInteger, nullable=False, server_default="0"
    ),  # the rest is the customer's credit
    Column("refunded_minor", BigInteger, nullable=False, server_default="0"),  # paid back to the customer
    Column("currency", String(3), nullable=False),
    Column("method", String(40), nullable=False),
    Column("reference", String(100)),
    Column("invoice_id", BigInteger),  # the invoice that the payer named
    Column("status", String(20), nullable=False),
    at("received_at"),
    at("created_at"),
    at("updated_at"),
    one_of("status", PaymentStatus),
    CheckConstraint("amount_minor > 0", name="positive"),
    CheckConstraint(
        "allocated_minor >= 0 AND refunded_minor >= 0 AND allocated_minor + refunded_minor <= amount_minor",
        name="allocated_once",
    ),
    tenant_fk("customer_id", "customer"),
    tenant_fk("invoice_id", "invoice"),
    tenant_unique("uid"),
    tenant_unique("method", "reference"),
)
Index("ix_payment_customer", payment.c.tenant_id, payment.c.customer_id, payment.c.id)
Index(
    "ix_payment_credit",
    payment.c.tenant_id,
    payment.c.customer_id,
    payment.c.id,
    postgresql_where=text("status = 'received' AND allocated_minor + refunded_minor < amount_minor"),
)

payment_refund = tenant_table(
    "payment_refund",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("payment_id", BigInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("reference", String(100)),
    Column("reason", Text, nullable=False),
    at("created_at"),
    CheckConstraint("amount_minor > 0", name="positive"),
    tenant_fk("payment_id", "payment"),
    tenant_unique("uid"),
    tenant_unique("payment_id", "reference"),
)
"""Money that went back to the customer out of what a payment had left."""

payment_allocation = tenant_table(
    "payment_allocation",
    Column("payment_id", BigInteger, nullable=False),
    Column("invoice_id", BigInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "payment_id", "invoice_id"),
    CheckConstraint("amount_minor > 0", name="positive"),
    tenant_fk("payment_id", "payment"),
    tenant_fk("invoice_id", "invoice"),
    key="none",
)
Index("ix_payment_allocation_invoice", payment_allocation.c.tenant_id, payment_allocation.c.invoice_id)

ledger_account = tenant_table(
    "ledger_account",
    Column("code", String(60), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("customer_id", BigInteger),
    at(
        "closed_at", nullable=True
    ),  # its customer was merged into another: nothing is booked for him any more
    at("created_at", default_now=True),
    one_of("kind", AccountKind),
    tenant_unique("code", "currency"),
    tenant_fk("customer_id", "customer"),
)

ledger_transaction = tenant_table(
    "ledger_transaction",
    Column("kind", String(30), nullable=False),
    Column("entity", String(40), nullable=False),
    Column("entity_id", BigInteger, nullable=False),
    Column("memo", Text, nullable=False, server_default=""),
    at("posted_at"),
    at("recorded_at", default_now=True),
    tenant_unique("kind", "entity", "entity_id"),
    append_only=True,
)

ledger_entry = tenant_table(
    "ledger_entry",
    Column("transaction_id", BigInteger, nullable=False),
    Column("account_id", BigInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    CheckConstraint("amount_minor <> 0", name="not_zero"),
    tenant_fk("transaction_id", "ledger_transaction"),
    tenant_fk("account_id", "ledger_account"),
    append_only=True,
)
"""Debit positive, credit negative; a deferred trigger refuses a transaction whose entries do not sum to zero."""
Index("ix_ledger_entry_account", ledger_entry.c.tenant_id, ledger_entry.c.account_id, ledger_entry.c.id)
Index("ix_ledger_entry_transaction", ledger_entry.c.tenant_id, ledger_entry.c.transaction_id)

billing_run = tenant_table(
    "billing_run",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("month_on", Date, nullable=False),
    Column("subscription_id", BigInteger),  # one subscription's run; NULL: all of the tenant's
    Column("status", String(20), nullable=False),
    Column(
        "after_subscription_id", BigInteger, nullable=False, server_default="0"
    ),  # done up to here, in order of id
    Column("subscriptions", Integer, nullable=False),
    Column("billed", Integer, nullable=False, server_default="0"),
    Column("unchanged", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("failures", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("total_minor", BigInteger, nullable=False, server_default="0"),
    at("created_at"),
    at("updated_at"),
    one_of("status", RunStatus),
    tenant_fk("subscription_id", "subscription"),
    tenant_unique("uid"),
)
"""A monthly run walks the subscriptions in order of id, a batch per transaction, and can be taken up again anywhere."""
Index("ix_billing_run_month", billing_run.c.tenant_id, billing_run.c.month_on, billing_run.c.id)
