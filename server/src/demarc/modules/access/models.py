"""Tables of network access: NAS, subscribers, their AAA projection, sessions, orders to a NAS."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    Interval,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, CIDR, INET, JSONB

from demarc.kernel.schema import at, one_of, personal, shared_table, tenant_fk, tenant_table
from demarc.modules.access.states import (
    CoaKind,
    CoaOutcome,
    LoginDecision,
    MessageAuthenticatorMode,
    NasStatus,
    PolicyKind,
    SubscriberStatus,
)

AAA_READ = {"demarc_aaa": "SELECT"}
INGEST = {"demarc_ingest": "SELECT, INSERT, UPDATE, DELETE"}

nas = tenant_table(
    "nas",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("name", String(100), nullable=False),
    Column("source_ip", INET, nullable=False),
    Column("secret_encrypted", LargeBinary, nullable=False),
    Column("vendor", String(40), nullable=False, server_default="generic"),
    Column("coa_port", Integer, nullable=False, server_default="3799"),
    Column("message_authenticator", String(10), nullable=False, server_default="auto"),
    Column("status", String(20), nullable=False, server_default="active"),
    at("unanswered_until", nullable=True),  # negative cache: the NAS never answers CoA
    at("created_at", default_now=True),
    at("updated_at", default_now=True),
    one_of("message_authenticator", MessageAuthenticatorMode),
    one_of("status", NasStatus),
    UniqueConstraint("source_ip", name="uq_nas_source_ip"),  # one AAA node: the address resolves the tenant
    UniqueConstraint("tenant_id", "uid"),
)

subscriber = tenant_table(
    "subscriber",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("customer_id", BigInteger, nullable=False),
    Column("service_id", BigInteger, nullable=False),
    Column("username", String(64), nullable=False, info=personal("'erased-' || tenant_id || '-' || id")),
    Column("secret_encrypted", LargeBinary, nullable=False),
    Column("status", String(20), nullable=False),
    Column("mac", String(17), info=personal()),
    Column("circuit_id", String(253), info=personal()),
    Column("remote_id", String(253), info=personal()),
    Column("download_bps", BigInteger),
    Column("upload_bps", BigInteger),
    Column("ip_pool_id", BigInteger),
    Column("session_limit", SmallInteger, nullable=False, server_default="1"),
    Column("clear_text_enabled", Boolean, nullable=False, server_default="false"),
    at("expires_at", nullable=True),
    at("created_at", default_now=True),
    at("updated_at", default_now=True),
    one_of("status", SubscriberStatus),
    tenant_fk("customer_id", "customer"),
    tenant_fk("service_id", "service"),
    UniqueConstraint("tenant_id", "uid"),
)
Index(  # over all tenants: a RADIUS log-in has no tenant
    "uq_subscriber_username",
    subscriber.c.username,
    unique=True,
    postgresql_where=text("status <> 'terminated'"),
)
Index("ix_subscriber_service", subscriber.c.tenant_id, subscriber.c.service_id)
Index("ix_subscriber_customer", subscriber.c.tenant_id, subscriber.c.customer_id)

access_policy = tenant_table(
    "access_policy",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("service_id", BigInteger, nullable=False),
    Column("subscriber_id", BigInteger),
    Column("kind", String(20), nullable=False),
    Column("download_bps", BigInteger),
    Column("upload_bps", BigInteger),
    Column("blocks", Boolean, nullable=False, server_default="false"),
    Column("reason", Text, nullable=False, server_default="", info=personal("''")),
    Column("placed_by", Text, nullable=False),
    at("placed_at"),
    at("expires_at", nullable=True),
    Column("lifted_by", Text),
    at("lifted_at", nullable=True),
    one_of("kind", PolicyKind),
    CheckConstraint("blocks OR download_bps > 0 AND upload_bps > 0", name="does_something"),
    tenant_fk("service_id", "service"),
    tenant_fk("subscriber_id", "subscriber"),
    UniqueConstraint("tenant_id", "uid"),
)
"""Other speeds than those that were sold, or none at all, for a while: of a service, or of one of its subscribers."""
Index(
    "uq_access_policy_open_service",
    access_policy.c.tenant_id,
    access_policy.c.service_id,
    access_policy.c.kind,
    unique=True,
    postgresql_where=text("subscriber_id IS NULL AND lifted_at IS NULL"),
)
Index(
    "uq_access_policy_open_subscriber",
    access_policy.c.tenant_id,
    access_policy.c.subscriber_id,
    access_policy.c.kind,
    unique=True,
    postgresql_where=text("subscriber_id IS NOT NULL AND lifted_at IS NULL"),
)
Index(
    "ix_access_policy_expiring",
    access_policy.c.tenant_id,
    access_policy.c.expires_at,
    postgresql_where=text("lifted_at IS NULL AND expires_at IS NOT NULL"),
)
Index("ix_access_policy_service", access_policy.c.tenant_id, access_policy.c.service_id, access_policy.c.id)

aaa_nas = tenant_table(
    "aaa_nas",
    Column("nas_id", BigInteger, nullable=False),
    Column("source_ip", INET, nullable=False),
    Column("secret", Text, nullable=False),
    Column("shortname", Text, nullable=False),
    Column("vendor", String(40), nullable=False, server_default="generic"),
    Column("speed_replies", ARRAY(Text)),
    Column("message_authenticator", String(10), nullable=False),
    Column("message_authenticator_seen", Boolean, nullable=False, server_default="false"),
    Column("clock_offset", Interval, nullable=False, server_default=text("interval '0'")),
    PrimaryKeyConstraint("tenant_id", "nas_id"),
    UniqueConstraint("source_ip"),
    key="none",
    role_policies=AAA_READ | {"demarc_ingest": "SELECT, UPDATE (message_authenticator_seen)"},
)
"""Projection of `nas` that FreeRADIUS reads; `clock_offset` carries a sandbox tenant's moved clock.

`speed_replies`: how the vendor wants a subscriber's speeds, `Attribute=value` with `{download_bps}`, `{upload_bps}`, `{download_kbps}`
and `{upload_kbps}` in the value; sent to subscribers that have both speeds, beside WISPr's.
"""

aaa_login = tenant_table(
    "aaa_login",
    Column("subscriber_id", BigInteger, nullable=False),
    Column("service_id", BigInteger, nullable=False),
    Column("username", Text, nullable=False),
    Column("mac", Text),
    Column("circuit_id", Text),
    Column("remote_id", Text),
    Column("decision", String(10), nullable=False),
    Column("decision_reason", Text, nullable=False, server_default=""),
    Column("nt_hash", Text, nullable=False),
    Column("clear_text", Text),
    Column("framed_ip", INET),
    Column("framed_pool", Text),
    Column("replies", ARRAY(Text)),
    Column("download_bps", BigInteger),
    Column("upload_bps", BigInteger),
    Column("session_limit", SmallInteger, nullable=False, server_default="1"),
    Column("interim_seconds", Integer, nullable=False, server_default="300"),
    at("expires_at", nullable=True),
    one_of("decision", LoginDecision),
    CheckConstraint("strpos(array_to_string(replies, ''), chr(31)) = 0", name="replies_unparted"),
    PrimaryKeyConstraint("tenant_id", "subscriber_id"),
    UniqueConstraint("username"),
    UniqueConstraint("tenant_id", "mac"),
    key="none",
    role_policies=AAA_READ | {"demarc_ingest": "SELECT"},
    postgresql_with={"fillfactor": "85"},
)
"""One row per subscriber: all that an Access-Request needs, kept by the transactions that change it.

`replies`: what only some subscribers get, `Attribute=value` each, names as in FreeRADIUS's dictionary: an unknown one is not sent.
"""

Index(
    "uq_aaa_login_line",
    aaa_login.c.tenant_id,
    aaa_login.c.circuit_id,
    aaa_login.c.remote_id,
    unique=True,
    postgresql_nulls_not_distinct=True,
    postgresql_where=text("circuit_id IS NOT NULL OR remote_id IS NOT NULL"),
)
Index(
    "ix_aaa_login_remote_id",
    aaa_login.c.tenant_id,
    aaa_login.c.remote_id,
    postgresql_where=text("circuit_id IS NULL AND remote_id IS NOT NULL"),
)


def _session_columns() -> tuple[Column[object], ...]:
    return (
        Column("nas_id", BigInteger, nullable=False),
        Column("subscriber_id", BigInteger, nullable=False),
        Column("service_id", BigInteger, nullable=False),
        Column(
            "username", Text, nullable=False, info=personal("'erased-' || tenant_id || '-' || subscriber_id")
        ),
        Column("acct_session_id", Text, nullable=False),
        Column("generation", Integer, nullable=False, server_default="0"),
        at("started_at"),
        at("updated_at"),
        Column("session_seconds", BigInteger, nullable=False, server_default="0"),
        Column("input_octets", BigInteger, nullable=False, server_default="0"),
        Column("output_octets", BigInteger, nullable=False, server_default="0"),
        Column("nas_port", Text, nullable=False, server_default=""),
        Column("framed_ip", INET),
        Column("delegated_prefix", CIDR),
        Column("calling_station_id", Text, nullable=False, server_default="", info=personal("''")),
        Column("called_station_id", Text, nullable=False, server_default=""),
    )


radius_session = tenant_table(
    "radius_session",
    *_session_columns(),
    UniqueConstraint(
        "tenant_id", "nas_id", "username", "acct_session_id", "generation", name="uq_radius_session_key"
    ),
    key="uuid",
    tenant_key=False,
    role_policies=INGEST | AAA_READ,
    postgresql_with={"fillfactor": "50"},
)
"""Live sessions. Octets are RFC 2866: input = from the user = upload; 64-bit with Gigawords (RFC 2869).

No index on (tenant_id, nas_id): the unique key begins with both, and with a shorter one beside it and no statistics yet
the merge looked through all sessions of the NAS for every packet (measured: 3,900 instead of 28,000 lines/s).
Half of a page is left free for the next version of each row: an Interim then touches no index.
"""
Index("ix_radius_session_username", radius_session.c.username)
Index(
    "ix_radius_session_prefix",
    radius_session.c.tenant_id,
    radius_session.c.delegated_prefix,
    postgresql_where=text("delegated_prefix IS NOT NULL"),
)
Index("ix_radius_session_subscriber", radius_session.c.tenant_id, radius_session.c.subscriber_id)

radius_session_history = tenant_table(
    "radius_session_history",
    Column("id", Uuid, nullable=False),
    *_session_columns(),
    at("stopped_at"),
    Column("terminate_cause", Text, nullable=False, server_default=""),
    Column("provisional", Boolean, nullable=False, server_default="false"),
    PrimaryKeyConstraint("tenant_id", "id", "stopped_at"),
    key="none",
    tenant_key=False,
    role_policies=INGEST,
    postgresql_partition_by="RANGE (stopped_at)",
)
"""Ended sessions by month. `provisional`: the platform closed it (stale, NAS reboot); a later packet may amend it."""
Index(
    "ix_radius_session_history_key",
    radius_session_history.c.tenant_id,
    radius_session_history.c.nas_id,
    radius_session_history.c.username,
    radius_session_history.c.acct_session_id,
)
Index(
    "ix_radius_session_history_subscriber",
    radius_session_history.c.tenant_id,
    radius_session_history.c.subscriber_id,
    radius_session_history.c.stopped_at,
)
Index(
    "ix_radius_session_history_address",
    radius_session_history.c.tenant_id,
    radius_session_history.c.framed_ip,
    radius_session_history.c.stopped_at,
)

Index(
    "ix_radius_session_history_prefix",
    radius_session_history.c.tenant_id,
    radius_session_history.c.delegated_prefix,
    radius_session_history.c.stopped_at,
    postgresql_where=text("delegated_prefix IS NOT NULL"),
)

login_attempt = tenant_table(
    "login_attempt",
    Column("username", Text, nullable=False),
    Column("accepted", Boolean, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("calling_station_id", Text, nullable=False, server_default=""),
    Column("nas_id", BigInteger, nullable=False),
    at("attempted_at"),
    Column("reject_reason", Text),
    at("rejected_at", nullable=True),
    PrimaryKeyConstraint("tenant_id", "username"),
    key="none",
    role_policies=INGEST,
    postgresql_with={"fillfactor": "70"},
)
"""The last answer each user name got, and why, and the last refusal: what support looks at first."""

accounting_reject = shared_table(
    "accounting_reject",
    Column("node", Text, nullable=False),
    Column("spool_file", Text, nullable=False),
    Column("spool_offset", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("line", LargeBinary, nullable=False),
    Column("tenant_id", Integer),
    at("rejected_at", default_now=True),
    PrimaryKeyConstraint("node", "spool_file", "spool_offset"),
    reason="a line that cannot be booked may name no tenant; kept aside for a person, readable by the ingest role only",
    role_policies=INGEST,
)

spool_offset = shared_table(
    "spool_offset",
    Column("node", Text, nullable=False),
    Column("spool_file", Text, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("lines", BigInteger, nullable=False, server_default="0"),
    at("updated_at", default_now=True),
    PrimaryKeyConstraint("node", "spool_file"),
    reason="how far each AAA node's spool is loaded; moves in the same transaction as the rows",
    role_policies=INGEST,
)

coa_request = tenant_table(
    "coa_request",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("kind", String(12), nullable=False),
    Column("nas_id", BigInteger, nullable=False),
    Column("subscriber_id", BigInteger, nullable=False),
    Column("session_id", Uuid, nullable=False),
    Column("acct_session_id", Text, nullable=False),
    Column("username", Text, nullable=False, info=personal("'erased-' || tenant_id || '-' || subscriber_id")),
    Column("framed_ip", INET),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("reason", Text, nullable=False, info=personal("''")),
    Column("outcome", String(10), nullable=False, server_default="pending"),
    Column("error_cause", Integer),
    Column("attempts", Integer, nullable=False, server_default="0"),
    at("requested_at", default_now=True),
    at("answered_at", nullable=True),
    one_of("kind", CoaKind),
    one_of("outcome", CoaOutcome),
    tenant_fk("nas_id", "nas"),
)
"""Orders to a NAS: the intent is stored before anything is sent, the outcome after (RFC 5176)."""
Index("ix_coa_request_pending", coa_request.c.requested_at, postgresql_where=text("outcome = 'pending'"))
Index("ix_coa_request_session", coa_request.c.tenant_id, coa_request.c.session_id)
Index("ix_coa_request_requested", coa_request.c.tenant_id, coa_request.c.requested_at, coa_request.c.id)
