"""The baseline: every table of the first release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BASELINE = Path(__file__).parent.parent / "baseline"


def upgrade() -> None:
    script = "\n".join((BASELINE / name).read_text() for name in ("before.sql", "tables.sql", "after.sql"))
    driver: Any = op.get_bind().connection.dbapi_connection
    # One script of many statements: the driver's simple protocol, inside the migration's transaction.
    driver.run_async(lambda connection: connection.execute(script))
