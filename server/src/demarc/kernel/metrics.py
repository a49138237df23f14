"""Counters for Prometheus. Labels never hold personal data."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

HTTP_REQUESTS = Counter("demarc_http_requests_total", "Requests answered", ["method", "route", "status"])
HTTP_SECONDS = Histogram("demarc_http_request_seconds", "Time to answer a request", ["method", "route"])
JOBS_RUN = Counter("demarc_jobs_total", "Jobs run", ["job", "outcome"])
AUDIT_SEALS = Counter("demarc_audit_seals_total", "Seals added to the audit log", ["tenant"])
AUDIT_ROWS_SEALED = Counter("demarc_audit_rows_sealed_total", "Lines of the audit log sealed", ["tenant"])
