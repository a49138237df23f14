"""How every table of Demarc is declared: one metadata, tenant in every key, row-level security by default (ADR 0002)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.sql.schema import SchemaItem

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TENANT_SCOPED = "tenant_scoped"
"""Key in `Table.info`: the table is under row-level security by `tenant_id`."""

EXEMPTION = "exemption"
"""Key in `Table.info`: why a table is not tenant-scoped. A guard test fails on a table that has neither."""

APPEND_ONLY = "append_only"
"""Key in `Table.info`: the app role may insert and read, never change or delete."""

ROLE_POLICIES = "role_policies"
"""Key in `Table.info`: roles besides the app role that see rows of every tenant, with the privileges they get."""

VISIBLE_WHEN = "visible_when"
"""Key in `Table.info`: a further condition (SQL) that rows have to meet for the app role, beside the tenant's."""

PERSONAL = "personal"
"""Key in `Column.info`: the SQL that takes the place of what says who somebody is, when a customer is erased."""


def personal(replacement: str = "NULL") -> dict[str, str]:
    """`info` of a column that tells who a customer is or how to reach him."""
    return {PERSONAL: replacement}


def at(name: str, *, nullable: bool = False, default_now: bool = False) -> Column[object]:
    """A point in time, UTC; the name ends in `_at`."""
    return Column(
        name, DateTime(timezone=True), nullable=nullable, server_default=func.now() if default_now else None
    )


def tenant_table(
    name: str,
    *columns: SchemaItem,
    key: str = "bigint",
    role_policies: dict[str, str] | None = None,
    append_only: bool = False,
    visible_when: str | None = None,
    tenant_key: bool = True,
    **options: Any,
) -> Table:
    """Declare a tenant's table with primary key `(tenant_id, id)`.

    Args:
        name: table name, singular.
        *columns: columns and constraints beside `tenant_id` and `id`.
        key: `bigint` (identity from 1000; lower ids belong to the sandbox), `uuid` (made by the caller), or
            `none` (the caller declares its own primary key, which starts with tenant_id).
        append_only: the app role may never change or delete a row.
        visible_when: a further condition (SQL) for the app role to see or write a row.
        tenant_key: False on the accounting path alone, where the tenant comes from a row that has the key: checking it
            again costs a twentieth of a packet, for each row.
        role_policies: role -> privileges ("SELECT, INSERT") for roles that work across tenants.
        **options: passed to `Table`.
    """
    info: dict[str, Any] = {
        TENANT_SCOPED: True,
        APPEND_ONLY: append_only,
        ROLE_POLICIES: role_policies or {},
        VISIBLE_WHEN: visible_when,
    }
    tenant: list[SchemaItem] = [Column("tenant_id", Integer, nullable=False)]
    if tenant_key:
        tenant.append(ForeignKeyConstraint(["tenant_id"], ["tenant.id"]))
    if key == "bigint":
        tenant.append(Column("id", BigInteger, Identity(start=1000), nullable=False))
    elif key == "uuid":
        tenant.append(Column("id", Uuid, nullable=False))
    if key != "none":
        tenant.append(PrimaryKeyConstraint("tenant_id", "id"))
    items = (*tenant, *columns)
    return Table(name, metadata, *items, info=info, **options)


def shared_table(
    name: str, *columns: SchemaItem, reason: str, role_policies: dict[str, str] | None = None, **options: Any
) -> Table:
    """Declare one of the few tables that no tenant owns; `reason` is shown in the reviewed list."""
    return Table(
        name, metadata, *columns, info={EXEMPTION: reason, ROLE_POLICIES: role_policies or {}}, **options
    )


def tenant_fk(column: str, table: str, target: str = "id", **options: Any) -> ForeignKeyConstraint:
    """A foreign key that carries the tenant: a row cannot point into another tenant."""
    return ForeignKeyConstraint(["tenant_id", column], [f"{table}.tenant_id", f"{table}.{target}"], **options)


def tenant_unique(*columns: str) -> UniqueConstraint:
    """Unique within a tenant."""
    return UniqueConstraint("tenant_id", *columns)


def one_of(column: str, values: type | tuple[str, ...]) -> CheckConstraint:
    """The column holds one of the enum's values."""
    words = values if isinstance(values, tuple) else tuple(str(member.value) for member in values)  # type: ignore[attr-defined]
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")
