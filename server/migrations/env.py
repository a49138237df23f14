"""Alembic's entry: runs the migrations on the connection that the caller opened (`demarc migrate`, the tests)."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from demarc.modules.registry import complete_metadata


def run() -> None:
    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection, target_metadata=complete_metadata(), transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


run()
