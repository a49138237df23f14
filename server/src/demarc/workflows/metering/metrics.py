"""Counters of the ingester. Labels never hold personal data."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

SPOOL_LINES = Counter("demarc_spool_lines_total", "Spool lines loaded", ["kind"])
SPOOL_REJECTS = Counter("demarc_spool_rejects_total", "Spool lines kept aside in accounting_reject", ["kind"])
SPOOL_LAG = Gauge(
    "demarc_spool_lag_bytes", "Octets in the spool that are not loaded yet", multiprocess_mode="mostrecent"
)
SPOOL_TRANSACTIONS = Counter("demarc_spool_transactions_total", "Blocks of the spool", ["outcome"])
