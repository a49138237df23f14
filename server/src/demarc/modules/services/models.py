"""Services: instances of a plan, with the locks that hold them down and the steps that brought them up."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from demarc.kernel.schema import at, one_of, personal, tenant_fk, tenant_table, tenant_unique
from demarc.modules.services.states import (
    BulkOperation,
    BulkOutcome,
    BulkStatus,
    LockKind,
    OnError,
    PlanChangeStatus,
    ProvisioningStatus,
    ServiceStatus,
    StepStatus,
)

service = tenant_table(
    "service",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("identifier", String(30), nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("plan_id", BigInteger, nullable=False),
    Column("service_type", String(40), nullable=False),
    Column("name", String(100), nullable=False, info=personal("service_type")),
    Column("status", String(30), nullable=False),
    Column("provisioning_status", String(20), nullable=False),
    Column(
        "resumes_to", String(30)
    ),  # the status beneath a lock or a notice period; NULL when it is the one shown
    Column("held_by", String(20)),  # the gravest open lock
    Column("config", JSONB, nullable=False, server_default=text("'{}'::jsonb"), info=personal("'{}'::jsonb")),
    Column("download_bps", BigInteger, nullable=False),
    Column("upload_bps", BigInteger, nullable=False),
    Column(
        "identifiers", JSONB, nullable=False, server_default=text("'{}'::jsonb"), info=personal("'{}'::jsonb")
    ),
    Column("notes", Text, nullable=False, server_default="", info=personal("''")),
    Column("installation_address", Text, info=personal()),
    at("installation_scheduled_at", nullable=True),
    at("activates_at", nullable=True),  # goes on line by itself then
    at("activated_at", nullable=True),
    at("suspended_at", nullable=True),
    at("terminates_at", nullable=True),  # the end of a notice period
    at("terminated_at", nullable=True),
    at("created_at"),
    at("updated_at"),
    one_of("status", ServiceStatus),
    one_of("provisioning_status", ProvisioningStatus),
    one_of("held_by", LockKind),
    tenant_fk("customer_id", "customer"),
    tenant_fk("subscription_id", "subscription"),
    tenant_fk("plan_id", "plan"),
    tenant_unique("identifier"),
    tenant_unique("uid"),
    role_policies={"demarc_ingest": "SELECT"},  # metering finds who pays for a session
)
Index("ix_service_customer", service.c.tenant_id, service.c.customer_id)
Index("ix_service_subscription", service.c.tenant_id, service.c.subscription_id)
Index("ix_service_created", service.c.tenant_id, service.c.created_at, service.c.id)
Index(
    "ix_service_terminating",
    service.c.tenant_id,
    service.c.terminates_at,
    postgresql_where=text("status = 'terminating'"),
)
Index(
    "ix_service_activating",
    service.c.tenant_id,
    service.c.activates_at,
    postgresql_where=text("activates_at IS NOT NULL"),
)
Index(
    "uq_service_of_subscription",
    service.c.tenant_id,
    service.c.subscription_id,
    unique=True,
    postgresql_where=text("status <> 'terminated'"),
)

service_lock = tenant_table(
    "service_lock",
    Column("service_id", BigInteger, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("reason", Text, nullable=False, info=personal("''")),
    Column("placed_by", Text, nullable=False),
    Column("lifted_by", Text),
    at("placed_at"),
    at("lifts_at", nullable=True),  # lifted by itself then
    at("lifted_at", nullable=True),
    one_of("kind", LockKind),
    tenant_fk("service_id", "service"),
)
Index(
    "uq_service_lock_open",
    service_lock.c.tenant_id,
    service_lock.c.service_id,
    service_lock.c.kind,
    unique=True,
    postgresql_where=text("lifted_at IS NULL"),
)

Index(
    "ix_service_lock_lifting",
    service_lock.c.tenant_id,
    service_lock.c.lifts_at,
    postgresql_where=text("lifted_at IS NULL AND lifts_at IS NOT NULL"),
)

plan_change = tenant_table(
    "plan_change",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("service_id", BigInteger, nullable=False),
    Column("from_plan_id", BigInteger, nullable=False),
    Column("to_plan_id", BigInteger, nullable=False),
    Column("config", JSONB, nullable=False, server_default=text("'{}'::jsonb"), info=personal("'{}'::jsonb")),
    Column("reason", Text, nullable=False, server_default="", info=personal("''")),
    Column("status", String(20), nullable=False),
    Column("error", Text),
    Column("requested_by", Text, nullable=False),
    at("due_at"),
    at("closed_at", nullable=True),
    at("created_at"),
    at("updated_at"),
    one_of("status", PlanChangeStatus),
    tenant_fk("service_id", "service"),
    tenant_fk("from_plan_id", "plan"),
    tenant_fk("to_plan_id", "plan"),
    tenant_unique("uid"),
)
"""Moves to another plan, those to come included; `config` goes over the new plan's settings."""
Index("ix_plan_change_service", plan_change.c.tenant_id, plan_change.c.service_id, plan_change.c.id)
Index(
    "uq_plan_change_scheduled",
    plan_change.c.tenant_id,
    plan_change.c.service_id,
    unique=True,
    postgresql_where=text("status = 'scheduled'"),
)

service_bulk = tenant_table(
    "service_bulk",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("operation", String(20), nullable=False),
    Column("action", JSONB, nullable=False),
    Column("on_error", String(10), nullable=False),
    Column("status", String(20), nullable=False),
    Column("total", Integer, nullable=False),
    Column("succeeded", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("requested_by", Text, nullable=False),
    at("created_at"),
    at("updated_at"),
    at("finished_at", nullable=True),
    one_of("operation", BulkOperation),
    one_of("on_error", OnError),
    one_of("status", BulkStatus),
    tenant_unique("uid"),
)
"""One order to many services, and how far it has come."""

service_bulk_row = tenant_table(
    "service_bulk_row",
    Column("bulk_id", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("service_uid", Uuid, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("code", String(60)),
    Column("message", Text),
    one_of("outcome", BulkOutcome),
    tenant_fk("bulk_id", "service_bulk"),
    tenant_unique("bulk_id", "position"),
)

provisioning_step = tenant_table(
    "provisioning_step",
    Column("service_id", BigInteger, nullable=False),
    Column("position", SmallInteger, nullable=False),
    Column("name", String(40), nullable=False),
    Column("status", String(20), nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    at("updated_at", default_now=True),
    PrimaryKeyConstraint("tenant_id", "service_id", "position"),
    one_of("status", StepStatus),
    tenant_fk("service_id", "service"),
    key="none",
)
"""Provisioning as a durable sequence: each step is one transaction, and is undone when a later one fails for good."""

service_number = tenant_table(
    "service_number",
    Column("day", Date, nullable=False),
    Column("last", Integer, nullable=False),
    PrimaryKeyConstraint("tenant_id", "day"),
    key="none",
)
