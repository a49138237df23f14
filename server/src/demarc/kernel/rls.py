"""Row-level security and roles as SQL, derived from the declared tables; migrations run it (ADR 0002)."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Table

from demarc.kernel.schema import APPEND_ONLY, EXEMPTION, ROLE_POLICIES, TENANT_SCOPED, VISIBLE_WHEN

APP_ROLE = "demarc_app"
AAA_ROLE = "demarc_aaa"
INGEST_ROLE = "demarc_ingest"
DIRECTORY_ROLE = "demarc_directory"
LOGIN_ROLES = (APP_ROLE, AAA_ROLE, INGEST_ROLE)
ROLES = (*LOGIN_ROLES, DIRECTORY_ROLE)

BOUND_TENANT = "nullif(current_setting('app.tenant', true), '')::int"
BOUND_RESELLER = "nullif(current_setting('app.reseller', true), '')::bigint"
"""The reseller whose transaction it is; null for everybody else."""


def isolate(table: Table) -> Iterator[str]:
    """Statements that put one table under its policies and grants."""
    if table.info.get(TENANT_SCOPED):
        column = table.info.get("tenant_column", "tenant_id")
        yield f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY"
        yield f"ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY"
        yield (
            f"CREATE POLICY tenant ON {table.name} TO {APP_ROLE} "
            f"USING ({column} = {BOUND_TENANT}) WITH CHECK ({column} = {BOUND_TENANT})"
        )
        narrower = table.info.get(VISIBLE_WHEN)
        if narrower:
            yield (
                f"CREATE POLICY narrower ON {table.name} AS RESTRICTIVE TO {APP_ROLE} "
                f"USING ({narrower}) WITH CHECK ({narrower})"
            )
        privileges = "SELECT, INSERT" if table.info.get(APPEND_ONLY) else "SELECT, INSERT, UPDATE, DELETE"
        yield f"GRANT {privileges} ON {table.name} TO {APP_ROLE}"
        for role, granted in table.info.get(ROLE_POLICIES, {}).items():
            yield f"CREATE POLICY {role}_all ON {table.name} TO {role} USING (true) WITH CHECK (true)"
            yield f"GRANT {granted} ON {table.name} TO {role}"
    elif table.info.get(EXEMPTION):
        for role, granted in table.info.get(ROLE_POLICIES, {}).items():
            yield f"GRANT {granted} ON {table.name} TO {role}"
    else:
        raise ValueError(f"table {table.name} is neither a tenant's nor on the reviewed list")
