"""What each filter of a list promises, as a rule over the rows that the list answers without it.

A filter that is named as a field of the rows promises that the field has the value: it needs no line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """`values` picks what to ask for out of all rows; `matches` tells which rows have to come, and no others."""

    values: Callable[[list[Row]], list[Any]]
    matches: Callable[[Row, Any], bool]


def by_field(name: str) -> Rule:
    return Rule(
        lambda rows: list(dict.fromkeys(row[name] for row in rows if row[name] is not None)),
        lambda row, value: row[name] == value,
    )


def by_text(*names: str) -> Rule:
    """Part of any of these fields, whatever the case."""
    return Rule(
        lambda rows: [str(row[names[0]])[1:].swapcase() for row in rows],
        lambda row, value: any(value.casefold() in str(row[name] or "").casefold() for name in names),
    )


def by_truth(holds: Callable[[Row], bool]) -> Rule:
    return Rule(lambda rows: [True, False], lambda row, value: holds(row) is value)


def by_moment(name: str, matches: Callable[[Row, Any], bool]) -> Rule:
    """Moments that rows have in a field."""
    return Rule(lambda rows: sorted({row[name] for row in rows if row[name] is not None}), matches)


RULES: dict[tuple[str, str], Rule] = {
    ("/api/users", "search"): by_text("name", "email"),
    ("/api/service-tokens", "is_active"): by_truth(lambda row: row["revoked_at"] is None),
    ("/api/customers/{customer_id}/notes", "search"): by_text("body"),
    ("/api/billing/invoices", "issued_from"): by_moment(
        "issue_date", lambda row, value: row["issue_date"] >= value
    ),
    ("/api/billing/invoices", "issued_to"): by_moment(
        "issue_date", lambda row, value: row["issue_date"] <= value
    ),
    ("/api/notifications", "created_since"): by_moment(
        "created_at", lambda row, value: row["created_at"] >= value
    ),
    ("/api/notifications", "created_until"): by_moment(
        "created_at", lambda row, value: row["created_at"] < value
    ),
    ("/api/billing/ledger", "start"): by_moment("posted_at", lambda row, value: row["posted_at"] >= value),
    ("/api/billing/ledger", "end"): by_moment("posted_at", lambda row, value: row["posted_at"] < value),
    ("/api/billing/accounts/{customer_id}/statement", "start"): by_moment(
        "posted_at", lambda row, value: row["posted_at"] >= value
    ),
    ("/api/billing/accounts/{customer_id}/statement", "end"): by_moment(
        "posted_at", lambda row, value: row["posted_at"] < value
    ),
    ("/api/customers", "tag"): Rule(
        lambda rows: sorted({tag for row in rows for tag in row["tags"]}),
        lambda row, value: value in row["tags"],
    ),
    ("/api/customers", "search"): by_text("name", "email", "phone"),
    ("/api/billing/dunning/campaigns", "search"): by_text("name"),
    ("/api/plans", "search"): by_text("name", "id"),
    ("/api/plans", "has_data_cap"): by_truth(lambda row: row["data_limit_gb"] is not None),
    ("/api/bandwidth-profiles", "search"): Rule(
        lambda rows: ["SLOWER"], lambda row, value: value.casefold() in row["name"].casefold()
    ),
    ("/api/data-caps", "used_up"): by_truth(lambda row: row["state"] == "used_up"),
    ("/api/data-caps", "action"): Rule(
        lambda rows: [row["data_limit_policy"]["action"] for row in rows],
        lambda row, value: row["data_limit_policy"]["action"] == value,
    ),
    ("/api/data-caps/{service_id}/alerts", "threshold"): Rule(
        lambda rows: [80, 100], lambda row, value: row["threshold_percent"] == value
    ),
    ("/api/access-policies", "open"): by_truth(lambda row: row["lifted_at"] is None),
    ("/api/services/lifecycle", "search"): by_text("service_name", "service_identifier"),
    ("/api/subscribers", "search"): by_text("username"),
    ("/api/billing/invoices", "overdue"): by_truth(lambda row: row["status"] == "overdue"),
    ("/api/services/lifecycle/{service_id}/locks", "is_open"): by_truth(lambda row: row["lifted_at"] is None),
    ("/api/services/lifecycle", "created_since"): by_moment(
        "created_at", lambda row, value: row["created_at"] >= value
    ),
    ("/api/services/lifecycle", "created_until"): by_moment(
        "created_at", lambda row, value: row["created_at"] < value
    ),
    ("/api/services/lifecycle/{service_id}/events", "since"): by_moment(
        "changed_at", lambda row, value: row["changed_at"] >= value
    ),
    ("/api/services/lifecycle/{service_id}/events", "until"): by_moment(
        "changed_at", lambda row, value: row["changed_at"] < value
    ),
    ("/api/address-assignments", "is_open"): by_truth(lambda row: row["released_at"] is None),
    # A session is in [from, to) when some part of it is.
    ("/api/sessions", "from"): by_moment("updated_at", lambda row, value: row["updated_at"] >= value),
    ("/api/sessions", "to"): by_moment("started_at", lambda row, value: row["started_at"] < value),
    ("/api/sessions/history", "from"): by_moment("stopped_at", lambda row, value: row["stopped_at"] >= value),
    ("/api/sessions/history", "to"): by_moment("started_at", lambda row, value: row["started_at"] < value),
    # Usage is in [period_start, period_end) when it starts there.
    ("/api/billing/usage/records", "period_start"): by_moment(
        "period_start", lambda row, value: row["period_start"] >= value
    ),
    ("/api/billing/usage/records", "period_end"): by_moment(
        "period_start", lambda row, value: row["period_start"] < value
    ),
    ("/api/billing/usage/pending", "period_start"): by_moment(
        "period_start", lambda row, value: row["period_start"] >= value
    ),
    ("/api/billing/usage/pending", "period_end"): by_moment(
        "period_start", lambda row, value: row["period_start"] < value
    ),
}

ELSEWHERE: dict[tuple[str, str], str] = {
    ("/api/coa-requests", "service_id"): "its rows name the subscriber; tests/access/test_policies.py",
    (
        "/api/billing/accounts/{customer_id}/statement",
        "currency",
    ): "chooses the account, not rows; tests/billing/test_returns.py",
    ("/api/billing/ledger", "customer_id"): "its rows name an account; tests/billing/test_money.py",
    (
        "/api/addresses/{address}/history",
        "at",
    ): "answers two lists; tests/access/test_sessions.py, test_the_sessions_of_an_address",
}
"""Filters whose promise cannot be read off the rows, and where it is tested."""

NO_WINDOW: dict[str, str] = {
    "/api/services/lifecycle/{service_id}/steps": "a handful of steps, always all of them",
    "/api/subscriptions/{subscription_id}/terms": "one for each change of plan, always all of them",
}
"""Lists without skip and limit, and why."""

ONE_ROW: dict[str, str] = {}
"""Lists that never have a second row, and why."""
