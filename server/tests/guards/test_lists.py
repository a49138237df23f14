"""Every list of the OpenAPI document: rows, a window, a stable order and filters that do what they promise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import pytest
import pytest_asyncio

from ..conftest import Caller  # noqa: TID252 - the suite's own
from .filters import ELSEWHERE, NO_WINDOW, ONE_ROW, RULES, Rule, by_field
from .surface import Operation

ALL = 500


@dataclass
class Listed:
    """A list at the path where it has the most rows."""

    operation: Operation
    path: str
    key: str
    rows: list[dict[str, Any]]
    admin: Caller

    async def ask(self, **params: Any) -> tuple[list[dict[str, Any]], int]:
        answer = await self.admin.get(self.path, **{"limit": ALL, **params})
        assert answer.status_code == 200, f"{self.operation.name} {params}: {answer.text}"
        body = answer.json()
        return body[self.key], body["total"]


@pytest_asyncio.fixture(scope="session")
async def lists(house) -> list[Listed]:
    admin = await house.caller("alpha", "admin")
    return [
        await _fullest(house.surface, one, admin) for one in house.surface.lists if one.path not in NO_WINDOW
    ]


async def _fullest(surface, one, admin) -> Listed:
    best = Listed(one, one.path, surface.rows_key(one), [], admin)
    for path in await surface.paths(one.path, admin):
        tried = Listed(one, path, best.key, [], admin)
        tried.rows, total = await tried.ask()
        assert total == len(tried.rows), f"{one.name}: {total} in all, {len(tried.rows)} answered"
        best = max(best, tried, key=lambda listed: len(listed.rows))
    return best


def test_every_list_has_rows_to_be_looked_at(lists):
    assert len(lists) > 20
    few = [one.operation.name for one in lists if len(one.rows) < 2 and one.operation.path not in ONE_ROW]
    assert few == [], f"{few}: let tests/guards/inhabited.py make at least two rows of each"


def test_every_list_has_a_window(house):
    for one in house.surface.lists:
        names = {parameter["name"] for parameter in one.parameters("query")}
        wanted = set() if one.path in NO_WINDOW else {"skip", "limit", "sort"}
        assert wanted <= names, f"{one.name} has no {wanted - names}"


async def test_pages_come_in_one_order_and_never_overlap(lists):
    for one in lists:
        pages = []
        for skip in range(len(one.rows)):
            page, total = await one.ask(skip=skip, limit=1)
            assert total == len(one.rows), one.operation.name
            pages += page
        assert pages == one.rows, one.operation.name
        beyond, total = await one.ask(skip=len(one.rows) + 1)
        assert (beyond, total) == ([], len(one.rows)), one.operation.name


async def test_every_sort_orders_both_ways(lists):
    for one in lists:
        names = await _sorts(one)
        assert names, f"{one.operation.name} does not say by what it sorts"
        for name in names:
            up, _ = await one.ask(sort=name)
            down, _ = await one.ask(sort=f"-{name}")
            assert up == down[::-1], (
                f"{one.operation.name} sort={name}: the way down is not the way up reversed"
            )
            values = [_ordered(row[name]) for row in up if row.get(name) is not None]
            assert values == sorted(values), f"{one.operation.name} sort={name}"
            window, _ = await one.ask(sort=name, skip=1, limit=1)
            assert window == up[1:2], f"{one.operation.name} sort={name}"


def _ordered(value: Any) -> Any:
    """Addresses are numbers, whatever they are written like."""
    try:
        return int(ip_network(value).network_address)
    except ValueError:
        return value


async def _sorts(one: Listed) -> set[str]:
    """A sort that does not exist is refused, and the refusal names those that do."""
    answer = await one.admin.get(one.path, sort="no_such_column")
    assert answer.status_code == 422, f"{one.operation.name}: {answer.text}"
    (detail,) = answer.json()["error"]["details"]
    assert detail["field"].rpartition(".")[2] == "sort", one.operation.name
    return {name for name in re.findall(r"[a-z_]+", detail["message"]) if f"-{name}" in detail["message"]}


async def test_windows_have_limits(lists):
    for one in lists:
        for bad in ({"limit": 0}, {"limit": 501}, {"skip": -1}, {"limit": "x"}):
            answer = await one.admin.get(one.path, **bad)
            assert answer.status_code == 422, f"{one.operation.name} {bad}: {answer.text}"


def test_every_filter_has_a_rule(lists):
    unknown = [
        f"{one.operation.name}?{name}="
        for one in lists
        for name in one.operation.filters
        if (one.operation.path, name) not in ELSEWHERE and _rule(one, name) is None
    ]
    assert unknown == [], f"{unknown}: no field of that name: write the rule into tests/guards/filters.py"


async def test_every_filter_answers_what_it_promises(lists):
    wrong, idle = [], []
    for one in lists:
        for name in one.operation.filters:
            rule = _rule(one, name)
            if (one.operation.path, name) in ELSEWHERE or rule is None:
                continue
            found = [(await _filtered(one, name, rule, value), value) for value in rule.values(one.rows)]
            wrong += [f"{one.operation.name}?{name}={value}: {said}" for (said, _), value in found if said]
            if not any(0 < count < len(one.rows) for (_, count), _ in found):
                idle.append(f"{one.operation.name}?{name}=")
    assert wrong == []
    assert idle == [], f"{idle}: rows that differ are missing: let tests/guards/inhabited.py make them"


async def _filtered(one: Listed, name: str, rule: Rule, value: Any) -> tuple[str, int]:
    """What is wrong with the answer, if anything, and how many rows it should have had."""
    expected = [row for row in one.rows if rule.matches(row, value)]
    rows, total = await one.ask(**{name: value})
    if (rows, total) == (expected, len(expected)):
        return "", total
    return f"{total} rows instead of {len(expected)}", len(expected)


def _rule(one: Listed, name: str) -> Rule | None:
    path = one.operation.path
    if (path, name) in RULES:
        return RULES[path, name]
    return by_field(name) if one.rows and name in one.rows[0] else None


def test_the_exceptions_are_still_needed(house, lists):
    paths = {one.path for one in house.surface.lists}
    filters = {(one.operation.path, name) for one in lists for name in one.operation.filters}
    assert paths >= NO_WINDOW.keys() | ONE_ROW.keys()
    assert filters >= RULES.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("wrong", [lambda rows: rows[1:], lambda rows: rows[:1] + rows[:-1]])
async def test_a_wrong_page_would_be_noticed(lists, wrong, monkeypatch):
    """The guard itself: a list that loses a row, or answers one twice, does not pass."""
    one = next(one for one in lists if len(one.rows) > 3)
    ask = one.ask

    async def lossy(**params: Any) -> tuple[list[dict[str, Any]], int]:
        rows, total = await ask()
        skip = params.get("skip", 0)
        return wrong(rows)[skip : skip + params.get("limit", ALL)], total

    monkeypatch.setattr(one, "ask", lossy)
    with pytest.raises(AssertionError):
        await test_pages_come_in_one_order_and_never_overlap([one])
