"""Metering: the spool of a AAA node becomes sessions and usage, exactly once.

A story over two modules: `access.accounting` turns packets into sessions and deltas, `usage` books the deltas.
"""

from demarc.workflows.metering.ingester import (
    AfterCommit,
    Committed,
    IngestBlocked,
    Ingester,
    IngestReport,
    RaiseUsage,
)

__all__ = ["AfterCommit", "Committed", "IngestBlocked", "IngestReport", "Ingester", "RaiseUsage"]
