"""Every command in every status, locks, notice periods."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.errors import Conflict
from demarc.kernel.outbox import _PROJECTIONS
from demarc.kernel.states import change_status
from demarc.modules.services.models import service as service_table
from demarc.modules.services.queries import Service, get_service, list_open_locks
from demarc.modules.services.rules import Standing, gravest, kinds_to_lift, lock_kind
from demarc.modules.services.service import lift_lock, place_lock, terminate_due
from demarc.modules.services.states import HELD_STATUS, SERVICE_STATES, LockKind, ServiceStatus

S = ServiceStatus
HELD = set(HELD_STATUS.values())
LIFECYCLE = "/api/services/lifecycle"

EXPECTED = {
    "suspend": {
        **{status: S.SUSPENDED for status in S if status not in (S.TERMINATING, S.TERMINATED)},
        S.SUSPENDED_NON_PAYMENT: S.SUSPENDED_NON_PAYMENT,
        S.SUSPENDED_FRAUD: S.SUSPENDED_FRAUD,
    },
    "resume": {S.SUSPENDED: S.ACTIVE, S.SUSPENDED_NON_PAYMENT: S.ACTIVE},
    "activate": dict.fromkeys((S.PENDING, S.DEGRADED, S.MAINTENANCE, S.FAILED), S.ACTIVE),
    "terminate": {status: S.TERMINATED for status in S if status is not S.TERMINATED},
}


@pytest.mark.parametrize("command", EXPECTED)
async def test_every_command_in_every_status(admin, bring, order, command):
    for status in S:
        service = (await order()).json()
        path = f"{LIFECYCLE}/{service['id']}"
        await bring(status, service)
        answer = await admin.post(f"{path}/{command}", {"reason": "test"})
        shown = (await admin.get(path)).json()
        target = EXPECTED[command].get(status)
        if target is not None:
            assert answer.status_code == 200, f"{command} when {status}: {answer.text}"
            assert answer.json()["status"] == target, f"{command} when {status}"
            assert shown == answer.json()
            continue
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (409, "ILLEGAL_STATE_CHANGE"), (
            f"{command} when {status}"
        )
        assert status.value in error["message"]
        assert "allowed from here: " in error["message"]
        assert shown["status"] == status


async def test_every_pair_of_statuses_follows_the_table(begin, service):
    async with begin() as tx:
        row = await get_service(tx, UUID(service["id"]))
        for current in S:
            for target in S:
                await tx.connection.execute(
                    "UPDATE service SET status = $2 WHERE id = $1", row.id, current.value
                )
                move = change_status(
                    tx,
                    SERVICE_STATES,
                    service_table,
                    Service,
                    entity_id=row.id,
                    current=current,
                    target=target,
                )
                if target in SERVICE_STATES.moves[current]:
                    assert (await move).status == target
                    continue
                with pytest.raises(Conflict) as refused:
                    await move
                assert current.value in refused.value.message
                assert target.value in refused.value.message
                for allowed in SERVICE_STATES.moves[current]:
                    assert allowed.value in refused.value.message


def test_the_table_leads_everywhere_and_ends_once():
    assert SERVICE_STATES.moves.keys() == set(S)
    reached = {target for moves in SERVICE_STATES.moves.values() for target in moves}
    assert reached == set(S)
    assert [status for status, moves in SERVICE_STATES.moves.items() if not moves] == [S.TERMINATED]
    for status, moves in SERVICE_STATES.moves.items():
        if status not in (S.TERMINATING, S.TERMINATED):
            assert moves >= (HELD | {S.TERMINATING, S.TERMINATED}) - {status}


async def test_the_documents_suspension_for_non_payment(act):
    body = {
        "reason": "Non-payment - invoice in_xyz789 overdue 30 days",
        "fraud_suspension": False,
        "suspended_by_user_id": None,
    }
    first = await act("suspend", **body)
    assert first.status_code == 200, first.text
    assert first.json()["status"] == "suspended_non_payment"
    assert first.json()["held_by"] == "non_payment"
    assert first.json()["suspended_at"].endswith("Z")
    again = await act("suspend", **body)
    assert (again.status_code, again.json()) == (200, first.json())


async def test_events_come_in_the_order_of_the_changes(admin, begin, service):
    """Who waited for another transaction has the earlier time and the later change."""
    async with begin() as waited:
        row = await get_service(waited, UUID(service["id"]))
        async with begin() as tx:
            await place_lock(tx, service_id=row.id, kind=LockKind.FRAUD, reason="first")
        await lift_lock(waited, service_id=row.id, kind=LockKind.FRAUD, reason="second")
    for sort in ("changed_at", "-changed_at"):
        events = (await admin.get(f"/api/services/lifecycle/{service['id']}/events", sort=sort)).json()[
            "events"
        ]
        ordered = events if sort == "changed_at" else events[::-1]
        assert [event["to_status"] for event in ordered[-2:]] == ["suspended_fraud", "active"], sort


MEANT = [
    ({"reason": "moved house"}, "suspended"),
    ({"reason": "Invoice unpaid since May"}, "suspended_non_payment"),
    ({"reason": "NON_PAYMENT"}, "suspended_non_payment"),
    ({"reason": "account past due"}, "suspended_non_payment"),
    ({"reason": "non-payment", "fraud_suspension": True}, "suspended_fraud"),
    ({"reason": "non-payment", "reason_code": "other"}, "suspended"),
    ({"reason": "x", "fraud_suspension": True, "reason_code": "non-payment"}, "suspended_non_payment"),
    ({"reason": "x", "reason_code": "FRAUD"}, "suspended_fraud"),
]


async def test_which_lock_a_suspension_means(admin, order):
    for body, status in MEANT:
        path = f"{LIFECYCLE}/{(await order()).json()['id']}"
        assert (await admin.post(f"{path}/suspend", body)).json()["status"] == status, body


BAD = [
    ("suspend", {}, "reason"),
    ("suspend", {"reason": ""}, "reason"),
    ("suspend", {"reason": "  "}, "reason"),
    ("suspend", {"reason": "x" * 501}, "reason"),
    ("suspend", {"reason": "x", "reason_code": "mood"}, "reason_code"),
    ("suspend", {"reason": "x", "fraud_suspension": "perhaps"}, "fraud_suspension"),
    ("resume", {"reason_code": 1}, "reason_code"),
    ("terminate", {"reason": "  "}, "reason"),
    ("terminate", {"termination_date": "tomorrow"}, "termination_date"),
]


async def test_bad_input_names_the_field_and_changes_nothing(admin, act, service):
    for command, body, field in BAD:
        answer = await act(command, **body)
        assert answer.status_code == 422, f"{body}: {answer.text}"
        assert field in [detail["field"] for detail in answer.json()["error"]["details"]], body
    assert (await admin.get(f"{LIFECYCLE}/{service['id']}")).json() == service


async def test_the_gravest_lock_is_shown_and_fraud_survives(admin, act, service):
    shown = [
        (await act(command, **body)).json()["status"]
        for command, body in (
            ("suspend", {"reason": "moved"}),
            ("suspend", {"reason": "unpaid"}),
            ("suspend", {"reason": "stolen card", "reason_code": "fraud"}),
            ("resume", {"reason_code": "non_payment"}),
            ("resume", {}),
        )
    ]
    assert shown == [
        "suspended",
        "suspended_non_payment",
        "suspended_fraud",
        "suspended_fraud",
        "suspended_fraud",
    ]
    only_fraud = await act("resume")
    assert only_fraud.status_code == 409
    assert "reason_code fraud" in only_fraud.json()["error"]["message"]
    back = (await act("resume", reason_code="fraud", reason="cleared")).json()
    assert (back["status"], back["held_by"], back["suspended_at"]) == ("active", None, None)
    assert back["activated_at"] == service["activated_at"]
    locks = (await admin.get(f"{LIFECYCLE}/{service['id']}/locks")).json()
    assert [lock["kind"] for lock in locks["locks"]] == ["other", "non_payment", "fraud"]
    assert all(lock["lifted_at"] and lock["lifted_by"] and lock["placed_by"] for lock in locks["locks"])
    still_on = await admin.get(f"{LIFECYCLE}/{service['id']}/locks", is_open=True)
    assert (still_on.json()["locks"], still_on.json()["total"]) == ([], 0)
    events = (await admin.get(f"{LIFECYCLE}/{service['id']}/events")).json()["events"]
    assert [event["to_status"] for event in events] == [
        "provisioning",
        "active",
        "suspended",
        "suspended_non_payment",
        "suspended_fraud",
        "active",
    ]


async def test_a_service_that_was_not_active_resumes_to_what_it_was(act, bring, admin, service):
    await bring(S.MAINTENANCE, service)
    await act("suspend", reason="unpaid")
    assert (await act("resume")).json()["status"] == "maintenance"
    await bring(S.PENDING, service)
    await act("suspend", reason="unpaid")
    waiting = await act("activate")
    assert waiting.status_code == 409
    assert "non_payment" in waiting.json()["error"]["message"]
    assert (await act("resume")).json()["status"] == "pending"
    assert (await act("activate")).json()["status"] == "active"


async def test_dunning_may_lift_what_is_not_on(begin, service):
    async with begin() as tx:
        row = await get_service(tx, UUID(service["id"]))
        assert await lift_lock(tx, service_id=row.id, kind=LockKind.NON_PAYMENT) == row
        held = await place_lock(tx, service_id=row.id, kind=LockKind.FRAUD, reason="test")
        assert await lift_lock(tx, service_id=row.id, kind=None) == held


async def test_notice_keeps_the_line_up_until_its_day(admin, act, begin, service):
    async with begin() as tx:
        ends_at = tx.now + timedelta(days=30)
    given_notice = (await act("terminate", reason="moving", termination_date=ends_at.isoformat())).json()
    assert given_notice["status"] == "terminating"
    assert datetime.fromisoformat(given_notice["terminates_at"]) == ends_at
    sooner = ends_at - timedelta(days=10)
    moved = (await act("terminate", reason="moving", termination_date=sooner.isoformat())).json()
    assert datetime.fromisoformat(moved["terminates_at"]) == sooner
    async with begin() as tx:
        assert (await get_service(tx, UUID(service["id"]))).is_up
        assert await terminate_due(tx) == 0
        tx.now = sooner - timedelta(seconds=1)
        assert await terminate_due(tx) == 0
        tx.now = sooner
        assert await terminate_due(tx) == 1
        assert await terminate_due(tx) == 0
        ended = await get_service(tx, UUID(service["id"]))
        assert (ended.status, ended.terminated_at, ended.is_up) == ("terminated", sooner, False)
    subscription = (await admin.get(f"/api/subscriptions/{service['subscription_id']}")).json()
    assert subscription["status"] == "canceled"


@pytest.fixture
def changes_seen(monkeypatch):
    """(from, to) of every service.status_changed, as a projection sees them."""
    seen = []

    async def watch(_tx, event):
        seen.append((event.payload["from_status"], event.payload["to_status"]))

    monkeypatch.setitem(_PROJECTIONS, "service.status_changed", [watch])
    return seen


async def test_a_lock_on_a_service_under_notice_can_still_be_lifted(act, begin, service, changes_seen):
    changes_seen.clear()
    await act("suspend", reason="unpaid")
    async with begin() as tx:
        ends_at = tx.now + timedelta(days=30)
    assert (await act("terminate", termination_date=ends_at.isoformat())).json()["held_by"] == "non_payment"
    async with begin() as tx:
        assert not (await get_service(tx, UUID(service["id"]))).is_up
    paid = (await act("resume", reason_code="non_payment")).json()
    assert (paid["status"], paid["held_by"]) == ("terminating", None)
    async with begin() as tx:
        assert (await get_service(tx, UUID(service["id"]))).is_up
    assert changes_seen == [
        ("active", "suspended_non_payment"),
        ("suspended_non_payment", "terminating"),
        ("terminating", "terminating"),
    ]


async def test_a_lesser_lock_is_told_too_since_the_network_asks_which_locks_are_on(act, changes_seen):
    changes_seen.clear()
    for command, kind in (
        ("suspend", "non_payment"),
        ("suspend", "other"),
        ("suspend", "other"),
        ("resume", "other"),
    ):
        assert (await act(command, reason="test", reason_code=kind)).json()[
            "status"
        ] == "suspended_non_payment"
    assert changes_seen == [
        ("active", "suspended_non_payment"),
        ("suspended_non_payment", "suspended_non_payment"),
        ("suspended_non_payment", "suspended_non_payment"),
    ]


async def test_two_sweeps_at_once_end_each_service_once(act, begin, order, database):
    for _ in range(5):
        made = (await order()).json()
        async with begin() as tx:
            await tx.connection.execute(
                "UPDATE service SET status = 'terminating', resumes_to = 'active', terminates_at = $2 WHERE uid = $1",
                UUID(made["id"]),
                tx.now,
            )

    async def sweep():
        async with begin() as tx:
            return await terminate_due(tx)

    assert sum(await asyncio.gather(*(sweep() for _ in range(4)))) == 5
    assert await sweep() == 0


async def test_a_past_date_is_now_in_a_sandbox_and_refused_elsewhere(act, callers):
    assert (await act("terminate", termination_date="2025-01-31T00:00:00Z")).json()["status"] == "terminated"
    beta = await callers("beta", "admin")
    customer = (await beta.post("/api/customers", {"name": "Bea"})).json()
    await beta.post(
        "/api/plans",
        {
            "plan_id": "p",
            "name": "P",
            "service_type": "fiber_internet",
            "bandwidth_down_mbps": 1,
            "bandwidth_up_mbps": 1,
            "monthly_fee": 1,
        },
    )
    made = await beta.post(
        f"{LIFECYCLE}/provision",
        {
            "customer_id": customer["id"],
            "service_type": "fiber_internet",
            "service_name": "B",
            "plan_id": "p",
        },
    )
    path = f"{LIFECYCLE}/{made.json()['id']}/terminate"
    refused = await beta.post(path, {"termination_date": "2025-01-31T00:00:00Z"})
    assert (refused.status_code, refused.json()["error"]["details"][0]["field"]) == (422, "termination_date")
    a_moment_ago = (datetime.now(UTC) - timedelta(milliseconds=5)).isoformat()
    assert (await beta.post(path, {"termination_date": a_moment_ago})).json()["status"] == "terminated"


async def test_termination_closes_every_lock(admin, act, service):
    await act("suspend", reason="fraud", reason_code="fraud")
    ended = (await act("terminate", reason="goodbye")).json()
    assert (ended["status"], ended["held_by"], ended["suspended_at"]) == ("terminated", None, None)
    assert (await admin.get(f"{LIFECYCLE}/{service['id']}/locks", is_open=True)).json()["total"] == 0


async def test_locks_placed_at_once_are_all_kept(admin, act, service):
    answers = await asyncio.gather(
        *(act("suspend", reason="test", reason_code=kind) for kind in ("fraud", "non_payment", "other") * 3)
    )
    assert {answer.status_code for answer in answers} == {200}
    locks = (await admin.get(f"{LIFECYCLE}/{service['id']}/locks", is_open=True)).json()
    assert sorted(lock["kind"] for lock in locks["locks"]) == ["fraud", "non_payment", "other"]
    assert (await admin.get(f"{LIFECYCLE}/{service['id']}")).json()["status"] == "suspended_fraud"


@pytest.mark.parametrize("seed", range(3))
async def test_a_random_life_agrees_with_a_model(begin, service, seed):
    dice = random.Random(seed)
    on: set[LockKind] = set()
    async with begin() as tx:
        row = await get_service(tx, UUID(service["id"]))
        for _ in range(60):
            kind = dice.choice(list(LockKind))
            if dice.random() < 0.5:
                row = await place_lock(tx, service_id=row.id, kind=kind, reason="test")
                on |= {kind}
            else:
                asked = dice.choice([kind, None])
                row = await lift_lock(tx, service_id=row.id, kind=asked)
                on -= {asked} if asked else {LockKind.NON_PAYMENT, LockKind.OTHER}
            expected = (
                S.SUSPENDED_FRAUD
                if LockKind.FRAUD in on
                else S.SUSPENDED_NON_PAYMENT
                if LockKind.NON_PAYMENT in on
                else S.SUSPENDED
                if on
                else S.ACTIVE
            )
            assert row.status == expected
            assert row.is_up == (not on)
            assert (row.suspended_at is None) == (not on)
            assert {LockKind(lock.kind) for lock in await list_open_locks(tx, row.id)} == on


KINDS = st.frozensets(st.sampled_from(LockKind))


@given(KINDS, st.sampled_from([None, *LockKind]))
def test_lifting_never_takes_fraud_unasked_nor_more_than_asked(kinds, asked):
    lifted = kinds_to_lift(kinds, asked)
    assert lifted <= kinds
    assert LockKind.FRAUD not in lifted or asked is LockKind.FRAUD
    assert lifted <= ({asked} if asked else set(LockKind))


@given(KINDS, st.sampled_from(list(S)), st.booleans())
def test_only_a_standing_without_lock_is_up(kinds, beneath, under_notice):
    ends_at = datetime(2030, 1, 1, tzinfo=UTC) if under_notice else None
    standing = Standing(beneath, gravest(kinds), ends_at)
    assert standing.is_up == (not kinds and beneath in (S.ACTIVE, S.DEGRADED, S.MAINTENANCE))
    assert (standing.shown is S.TERMINATING) == (under_notice or (not kinds and beneath is S.TERMINATING))
    assert (standing.hidden or standing.shown) is beneath


@given(st.text())
def test_a_fraud_flag_wins_over_words_and_a_code_over_both(reason):
    assert lock_kind(reason_code=None, fraud=True, reason=reason) is LockKind.FRAUD
    assert lock_kind(reason_code=LockKind.OTHER, fraud=True, reason=reason) is LockKind.OTHER
