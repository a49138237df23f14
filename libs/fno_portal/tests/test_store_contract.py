"""Both stores pass the contract suite for stores; and the suite finds stores that are wrong."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from fno_portal import MemoryStore, Outcome, SqliteStore
from fno_portal.testing import STORE_RULES, StoreSubject
from fno_portal.testing import store_contract as rules


@pytest.mark.parametrize("rule", STORE_RULES, ids=lambda rule: rule.__name__)
async def test_memory(rule):
    await rule(StoreSubject(open=MemoryStore, durable=False))


@pytest.mark.parametrize("rule", STORE_RULES, ids=lambda rule: rule.__name__)
async def test_sqlite(rule, tmp_path):
    await rule(StoreSubject(open=lambda: SqliteStore(tmp_path / "orders.db"), close=lambda one: one.close()))


class Forgetful(MemoryStore):
    """Gives every caller the claim."""

    async def claim(self, reference, at):
        kept = self._orders[reference]
        sending = kept.order.model_copy(update={"outcome": Outcome.SENDING})
        self._orders[reference] = replace(kept, order=sending, sent_at=at, version=1)
        return True


class Unversioned(MemoryStore):
    """The last save wins."""

    async def save(self, record, event=None):
        return await super().save(replace(record, version=self._orders[record.order.id].version), event)


class Doubling(MemoryStore):
    """Logs the same news again and again."""

    async def append(self, event):
        self._keys.discard((event.fno, event.dedupe_key))
        return await super().append(event)


@pytest.mark.parametrize(
    ("store", "rule"),
    [
        (Forgetful, rules.claim_is_given_to_one),
        (Unversioned, rules.save_of_an_old_version_does_nothing),
        (Doubling, rules.save_with_known_news_does_nothing),
        (Doubling, rules.news_is_known_by_operator_and_key),
        (MemoryStore, rules.everything_outlives_the_process),
    ],
)
async def test_wrong_stores_are_found(store, rule):
    with pytest.raises(AssertionError):
        await rule(StoreSubject(open=store))


async def test_two_processes_share_one_file(tmp_path):
    """Two stores on one file, as two processes have it: one claim between them."""
    first, second = SqliteStore(tmp_path / "o.db"), SqliteStore(tmp_path / "o.db")
    await first.add(rules.record("A-1"))
    assert [await first.claim("A-1", rules.AT), await second.claim("A-1", rules.AT)] == [True, False]
    assert (tmp_path / "o.db").stat().st_mode & 0o777 == 0o600
    first.close()
    second.close()
    with pytest.raises(sqlite3.ProgrammingError):
        await first.get("A-1")
