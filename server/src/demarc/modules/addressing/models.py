"""Pools, what they hand out (an address, a prefix or a routed block, each a row), and who had it when."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import CIDR, INET, ExcludeConstraint

from demarc.kernel.schema import at, one_of, tenant_fk, tenant_table, tenant_unique
from demarc.modules.addressing.states import AddressStatus, PoolKind, PoolStatus

ip_pool = tenant_table(
    "ip_pool",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("name", String(100), nullable=False),
    Column("kind", String(20), nullable=False, server_default="ipv4"),
    Column("network", CIDR, nullable=False),
    Column("prefix_length", SmallInteger, nullable=False, server_default="32"),  # of what is handed out
    Column("next_address", INET),  # from here on no rows are made yet; NULL: all are
    Column("gateway", INET),
    Column("is_default", Boolean, nullable=False, server_default="false"),
    Column("quarantine_hours", Integer, nullable=False, server_default="24"),
    Column("status", String(20), nullable=False, server_default="active"),
    at("created_at", default_now=True),
    at("updated_at", default_now=True),
    one_of("status", PoolStatus),
    one_of("kind", PoolKind),
    tenant_unique("name"),
    tenant_unique("uid"),
    ExcludeConstraint(
        ("tenant_id", "="), (text("network inet_ops"), "&&"), name="ex_ip_pool_overlap", using="gist"
    ),
)
Index(
    "uq_ip_pool_default",
    ip_pool.c.tenant_id,
    ip_pool.c.kind,
    unique=True,
    postgresql_where=text("is_default"),
)

ip_pool_exclusion = tenant_table(
    "ip_pool_exclusion",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("pool_id", BigInteger, nullable=False),
    Column("first_address", INET, nullable=False),
    Column("last_address", INET, nullable=False),
    Column("note", String(200), nullable=False, server_default=""),
    at("created_at"),
    tenant_fk("pool_id", "ip_pool"),
    tenant_unique("uid"),
)
"""Ranges of a pool that are never handed out, both ends included."""
Index("ix_ip_pool_exclusion_pool", ip_pool_exclusion.c.tenant_id, ip_pool_exclusion.c.pool_id)

ip_address = tenant_table(
    "ip_address",
    Column("pool_id", BigInteger, nullable=False),
    Column("address", INET, nullable=False),
    Column("status", String(20), nullable=False, server_default="free"),
    Column("subscriber_id", BigInteger),
    at("available_at", nullable=True),  # end of a quarantine, business time
    PrimaryKeyConstraint("tenant_id", "address"),
    one_of("status", AddressStatus),
    tenant_fk("pool_id", "ip_pool"),
    key="none",
    postgresql_with={"fillfactor": "85"},
)
Index(
    "ix_ip_address_free",
    ip_address.c.tenant_id,
    ip_address.c.pool_id,
    ip_address.c.address,
    postgresql_where=text("status IN ('free', 'quarantined')"),
)
Index("ix_ip_address_subscriber", ip_address.c.tenant_id, ip_address.c.subscriber_id)

"""An IPv4 pool has all its rows from the start. Of the others rows are made as they are needed, from the lowest on."""

ip_assignment = tenant_table(
    "ip_assignment",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("pool_id", BigInteger, nullable=False),
    Column("address", INET, nullable=False),
    Column("subscriber_id", BigInteger, nullable=False),
    at("assigned_at"),
    at("released_at", nullable=True),
    ExcludeConstraint(
        ("tenant_id", "="),
        (text("address inet_ops"), "&&"),  # btree_gist's own tells IPv6 addresses apart by five octets only
        (text("tstzrange(assigned_at, released_at)"), "&&"),
        name="ex_ip_assignment_once",
        using="gist",
    ),
    tenant_unique("uid"),
)
"""Who had this address, prefix or block at that time: periods [assigned_at, released_at), never two at once."""
Index("ix_ip_assignment_subscriber", ip_assignment.c.tenant_id, ip_assignment.c.subscriber_id)
Index("ix_ip_assignment_address", ip_assignment.c.tenant_id, ip_assignment.c.address)
Index("ix_ip_assignment_pool", ip_assignment.c.tenant_id, ip_assignment.c.pool_id)
