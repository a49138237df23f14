"""Writes baseline/tables.sql from the declared tables. Run it with `make baseline`, before the first release only."""

from __future__ import annotations

import sys
from pathlib import Path

from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from demarc.kernel.rls import APP_ROLE, isolate
from demarc.modules.registry import complete_metadata

TARGET = Path(__file__).parent / "baseline" / "tables.sql"
QUEUE_TABLES = ("pgqueuer", "pgqueuer_log", "pgqueuer_statistics", "pgqueuer_schedules")


def render() -> str:
    """The whole file as text."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    statements: list[str] = []
    for table in complete_metadata().sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)).strip())
        statements += [
            str(CreateIndex(index).compile(dialect=dialect))
            for index in sorted(table.indexes, key=lambda i: str(i.name))
        ]
        statements += isolate(table)
    body = ";\n\n".join(statements)
    queue = QueryBuilderEnvironment().build_install_query()
    granted = ", ".join(QUEUE_TABLES)
    return (
        "-- Generated from the declared tables by `make baseline`; do not edit.\n\n"
        f"{body};\n\n-- The job queue's own tables (pgqueuer).\n{queue}\n"
        f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {granted} TO {APP_ROLE};\n"
    )


if __name__ == "__main__":
    text = "\n".join(line.rstrip() for line in render().splitlines()) + "\n"
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.read_text() == text else "tables.sql is out of date: run `make baseline`")
    TARGET.write_text(text)
