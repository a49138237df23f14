"""`/api/billing/dunning` as document 002 uses it."""

from __future__ import annotations

from itertools import product
from uuid import uuid4

DOCUMENT = {
    "name": "Standard Payment Recovery",
    "description": "Automated 3-step collection workflow",
    "trigger_after_days": 7,
    "max_retries": 3,
    "retry_interval_days": 3,
    "actions": [
        {"type": "email", "delay_days": 0, "template": "payment_reminder_1"},
        {"type": "sms", "delay_days": 3, "template": "payment_alert"},
        {"type": "suspend_service", "delay_days": 7},
    ],
    "exclusion_rules": {"min_lifetime_value": 1000.0, "customer_tiers": ["premium", "vip"]},
    "priority": 10,
    "is_active": True,
}
SHORT = {
    "name": "Test Campaign",
    "trigger_after_days": 7,
    "actions": [{"type": "email", "delay_days": 0, "template": "reminder"}],
}
CAMPAIGNS = "/api/billing/dunning/campaigns"
EXECUTIONS = "/api/billing/dunning/executions"
STATS = "/api/billing/dunning/stats"


async def made(admin, body=None, **changes):
    answer = await admin.post(CAMPAIGNS, (body or DOCUMENT) | changes)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_the_documents_campaign(admin):
    campaign = await made(admin)
    for key in DOCUMENT.keys() - {"actions", "exclusion_rules"}:
        assert campaign[key] == DOCUMENT[key]
    assert [step["type"] for step in campaign["actions"]] == ["email", "sms", "suspend_service"]
    assert campaign["exclusion_rules"] == {
        "min_lifetime_value": 1000.0,
        "customer_tiers": ["premium", "vip"],
        "customer_tags": [],
    }
    path = f"{CAMPAIGNS}/{campaign['id']}"
    assert (await admin.get(path)).json() == campaign
    again = await made(admin)  # the Python and the JavaScript example both create it
    assert again["id"] != campaign["id"]
    short = await made(admin, SHORT)
    assert (short["max_retries"], short["retry_interval_days"], short["priority"]) == (3, 3, 0)
    assert short["exclusion_rules"]["min_lifetime_value"] is None


async def test_the_list_is_in_the_order_in_which_campaigns_are_tried(admin):
    low = await made(admin, name="low", priority=1)
    first = await made(admin, name="first", priority=50)
    second = await made(admin, name="second", priority=50)
    off = await made(admin, name="off", priority=99, is_active=False)
    listed = (await admin.get(CAMPAIGNS, is_active="True")).json()
    assert [row["id"] for row in listed["campaigns"]] == [first["id"], second["id"], low["id"]]
    assert (listed["total"], listed["skip"], listed["limit"]) == (3, 0, 100)
    assert (await admin.get(CAMPAIGNS)).json()["campaigns"][0]["id"] == off["id"]
    assert (await admin.get(CAMPAIGNS, is_active="false")).json()["total"] == 1
    assert (await admin.get(CAMPAIGNS, search="SEC")).json()["total"] == 1
    assert (await admin.get(CAMPAIGNS, search="%")).json()["total"] == 0
    assert (await admin.get(CAMPAIGNS, sort="-name", limit=1)).json()["campaigns"][0]["name"] == "second"
    assert (await admin.get(CAMPAIGNS, sort="secret")).status_code == 422
    assert (await admin.get(CAMPAIGNS, limit=501)).status_code == 422


BAD_CAMPAIGNS = (
    ({"name": ""}, "name"),
    ({"name": "   "}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"name": "a\0b"}, "name"),
    ({"name": None}, "name"),
    ({"trigger_after_days": -1}, "trigger_after_days"),
    ({"max_retries": 11}, "max_retries"),
    ({"retry_interval_days": 0}, "retry_interval_days"),
    ({"retry_interval_days": 31}, "retry_interval_days"),
    ({"priority": 101}, "priority"),
    ({"actions": []}, "actions"),
    ({"actions": [{"type": "shout"}]}, "actions.0.type"),
    ({"actions": [{"type": "email"}]}, "actions.0.template"),
    ({"actions": [{"type": "email", "template": "no_such"}]}, "actions.0.template"),
    ({"actions": [{"type": "sms", "template": "payment_reminder_1"}]}, "actions.0.template"),
    ({"actions": [{"type": "email", "template": "../reminder"}]}, "actions.0.template"),
    ({"actions": [{"type": "suspend_service", "delay_days": -1}]}, "actions.0.delay_days"),
    ({"actions": [{"type": "webhook"}]}, "actions.0.url"),
    ({"actions": [{"type": "webhook", "url": "ftp://x"}]}, "actions.0.url"),
    ({"actions": [{"type": "webhook", "url": "https://u:p@x/"}]}, "actions.0.url"),
    ({"actions": [{"type": "custom", "data": {"a": "\0"}}]}, "actions.0.data"),
    ({"exclusion_rules": {"customer_tiers": ["gold"]}}, "exclusion_rules.customer_tiers.0"),
    ({"exclusion_rules": {"min_lifetime_value": -1}}, "exclusion_rules.min_lifetime_value"),
    ({"exclusion_rules": {"min_lifetime_value": 0}}, "exclusion_rules.min_lifetime_value"),
    ({"exclusion_rules": {"customer_tags": ["x" * 51]}}, "exclusion_rules.customer_tags"),
)


async def test_bad_campaigns_name_the_field(admin):
    for changes, field in BAD_CAMPAIGNS:
        answer = await admin.post(CAMPAIGNS, DOCUMENT | changes)
        assert answer.status_code == 422, (changes, answer.text)
        assert field in [detail["field"] for detail in answer.json()["error"]["details"]]
    assert (await admin.get(CAMPAIGNS)).json()["total"] == 0


async def test_patching_changes_what_is_sent_and_nothing_else(admin):
    campaign = await made(admin)
    path = f"{CAMPAIGNS}/{campaign['id']}"
    answer = await admin.patch(path, {"priority": 20, "exclusion_rules": {"customer_tags": ["vip"]}})
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert changed["priority"] == 20
    assert changed["exclusion_rules"] == {
        "min_lifetime_value": None,
        "customer_tiers": [],
        "customer_tags": ["vip"],
    }
    same = campaign.keys() - {"priority", "exclusion_rules", "updated_at"}
    assert {key: changed[key] for key in same} == {key: campaign[key] for key in same}
    assert (await admin.patch(path, {"unknown": 1})).json() == changed
    for bad in ({"name": None}, {"priority": 101}, {"actions": []}, {"actions": [{"type": "email"}]}):
        assert (await admin.patch(path, bad)).status_code == 422
    assert (await admin.patch(f"{CAMPAIGNS}/{uuid4()}", {})).status_code == 404


async def test_an_execution_as_the_document_starts_it(admin, world, ids):
    campaign = await made(admin)
    debtor = await world.debtor()
    answer = await admin.post(EXECUTIONS, ids(campaign, debtor))
    assert answer.status_code == 201, answer.text
    execution = answer.json()
    assert (execution["status"], execution["current_step"], execution["total_steps"]) == ("pending", 0, 3)
    assert execution["next_action_at"].endswith("Z")
    assert execution["next_action_at"] == execution["started_at"]
    for key, value in ids(campaign, debtor).items():
        assert execution[key] == value
    again = await admin.post(EXECUTIONS, ids(campaign, debtor))
    assert (again.status_code, again.json()["error"]["code"]) == (409, "DUNNING_ALREADY_RUNNING")

    await world.desk.clear()  # a first step without delay does not wait for the sweep
    path = f"{EXECUTIONS}/{execution['id']}"
    acted = (await admin.get(path)).json()
    assert (acted["status"], acted["current_step"]) == ("in_progress", 1)
    log = (await admin.get(f"{path}/actions")).json()
    assert [(row["step"], row["attempt"], row["type"], row["outcome"]) for row in log["actions"]] == [
        (1, 1, "email", "done")
    ]
    assert (await admin.get(f"{path}/actions", outcome="failed")).json()["total"] == 0


async def test_a_payment_completes_it_and_the_statistics_know(admin, world, ids):
    empty = (await admin.get(STATS)).json()
    assert (empty["total_executions"], empty["success_rate"]) == (0, None)
    campaign = await made(admin)
    other = await made(admin, SHORT, is_active=False)
    paying, silent, canceled = [await world.debtor() for _ in range(3)]
    started = [
        (await admin.post(EXECUTIONS, ids(campaign, who))).json() for who in (paying, silent, canceled)
    ]
    await world.pay(paying)
    await admin.post(f"{EXECUTIONS}/{started[2]['id']}/cancel", {"reason": "agreed on instalments"})
    done = (await admin.get(f"{EXECUTIONS}/{started[0]['id']}")).json()
    assert (done["status"], done["recovered_amount"], done["next_action_at"]) == ("completed", 10_000, None)
    assert (await admin.get(STATS)).json() == {
        "total_campaigns": 2,
        "active_campaigns": 1,
        "total_executions": 3,
        "running_executions": 1,
        "completed_executions": 1,
        "canceled_executions": 1,
        "failed_executions": 0,
        "successful_recoveries": 1,
        "total_recovered_amount": 10_000,
        "success_rate": 33.33,
    }
    of_one = (await admin.get(f"{CAMPAIGNS}/{campaign['id']}/stats")).json()
    assert (of_one["campaign_id"], of_one["total_executions"]) == (campaign["id"], 3)
    assert (await admin.get(f"{CAMPAIGNS}/{other['id']}/stats")).json()["success_rate"] is None
    assert (await admin.get(f"{CAMPAIGNS}/{uuid4()}/stats")).status_code == 404


async def test_refusals_say_why(admin, world, ids):
    campaign = await made(admin, SHORT, exclusion_rules={"customer_tags": ["vip"]})
    off = await made(admin, SHORT, is_active=False)
    debtor, other = await world.debtor(), await world.debtor()
    good = ids(campaign, debtor)

    async def refused(status, code, **changes):
        answer = await admin.post(EXECUTIONS, good | changes)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        return answer.json()["error"]

    for field in ("campaign_id", "customer_id"):
        await refused(404, "NOT_FOUND", **{field: str(uuid4())})
        await refused(422, "VALIDATION_ERROR", **{field: "no-uuid"})
    for field in ("subscription_id", "invoice_id"):
        await refused(404, "NOT_FOUND", **{field: "no_such"})
    for amount in (0, -1, 1.5, "100", None, True, 2**63):
        error = await refused(422, "VALIDATION_ERROR", outstanding_amount=amount)
        assert error["details"][0]["field"] == "outstanding_amount"
    error = await refused(422, "VALIDATION_ERROR", subscription_id=other.subscription.ref)
    assert error["details"][0]["field"] == "subscription_id"
    error = await refused(422, "VALIDATION_ERROR", invoice_id=other.invoice.ref)
    assert error["details"][0]["field"] == "invoice_id"
    await refused(409, "CAMPAIGN_INACTIVE", campaign_id=off["id"])

    vip = await world.debtor(tags=("vip",))
    answer = await admin.post(EXECUTIONS, ids(campaign, vip))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "DUNNING_EXCLUDED")
    assert "customer_tags" in answer.json()["error"]["message"]
    early = await world.debtor(due_in_days=5)
    answer = await admin.post(EXECUTIONS, ids(campaign, early))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "NOTHING_OVERDUE")
    await world.pay(other)
    answer = await admin.post(EXECUTIONS, ids(campaign, other))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "NOTHING_OVERDUE")
    assert (await admin.get(EXECUTIONS)).json()["total"] == 0


async def test_lists_of_executions(admin, world, ids):
    campaign, other = await made(admin, SHORT), await made(admin, SHORT)
    first, second = await world.debtor(), await world.debtor()
    one = (await admin.post(EXECUTIONS, ids(campaign, first))).json()
    two = (await admin.post(EXECUTIONS, ids(other, second))).json()

    async def found(**filters):
        answer = await admin.get(EXECUTIONS, **filters)
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json()["executions"]]

    assert await found() == [two["id"], one["id"]]
    assert await found(campaign_id=campaign["id"]) == [one["id"]]
    assert await found(subscription_id=second.subscription.ref) == [two["id"]]
    assert await found(customer_id=str(first.customer.uid), status="pending") == [one["id"]]
    assert await found(invoice_id=first.invoice.ref) == [one["id"]]
    assert await found(status="completed") == []
    assert await found(subscription_id="no_such") == []
    assert await found(customer_id=str(uuid4())) == []
    assert (await admin.get(EXECUTIONS, status="sleeping")).status_code == 422
    await admin.post(f"{EXECUTIONS}/{one['id']}/cancel")
    await admin.delete(f"{CAMPAIGNS}/{campaign['id']}")
    assert await found(campaign_id=campaign["id"]) == [one["id"]]  # history outlives the campaign


async def test_a_campaign_is_deleted_when_nothing_of_it_runs(admin, world, ids):
    campaign = await made(admin, SHORT)
    path = f"{CAMPAIGNS}/{campaign['id']}"
    execution = (await admin.post(EXECUTIONS, ids(campaign, await world.debtor()))).json()
    busy = await admin.delete(path)
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "CAMPAIGN_IN_USE")
    await admin.post(f"{EXECUTIONS}/{execution['id']}/cancel")
    assert (await admin.delete(path)).status_code == 204
    for gone in (await admin.get(path), await admin.delete(path), await admin.patch(path, {"priority": 1})):
        assert gone.status_code == 404
    assert (await admin.get(CAMPAIGNS)).json()["total"] == 0
    assert (await admin.get(STATS)).json()["total_executions"] == 1
    assert (await admin.get(f"{EXECUTIONS}/{execution['id']}")).json()["campaign_id"] == campaign["id"]
    late = await admin.post(EXECUTIONS, ids(campaign, await world.debtor()))
    assert late.status_code == 404


MOVES = {
    "pending": {"pause", "cancel"},
    "in_progress": {"pause", "cancel"},
    "paused": {"resume", "cancel"},
    "completed": set(),
    "canceled": set(),
    "failed": set(),
}


async def test_the_whole_transition_table_by_hand(admin, world, ids):
    campaign = await made(admin, SHORT)
    execution = (await admin.post(EXECUTIONS, ids(campaign, await world.debtor()))).json()
    words = {"pause": "paused", "resume": "pending", "cancel": "canceled"}
    for status, verb in product(MOVES, words):
        async with world.tx() as tx:
            await tx.connection.execute(
                "UPDATE dunning_execution SET status = $1::text, next_action_at = started_at, "
                "paused_at = CASE WHEN $1::text = 'paused' THEN started_at END",
                status,
            )
        answer = await admin.post(f"{EXECUTIONS}/{execution['id']}/{verb}", {"reason": "test"})
        if verb in MOVES[status]:
            assert answer.status_code == 200, answer.text
            assert answer.json()["status"] == words[verb]
            assert (answer.json()["next_action_at"] is None) is (verb != "resume")
        else:
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (409, "ILLEGAL_STATE_CHANGE")
            assert status in error["message"]
            assert "allowed from here" in error["message"]


async def test_another_tenant_and_other_roles(admin, callers, world, ids):
    campaign = await made(admin, SHORT)
    debtor = await world.debtor()
    execution = (await admin.post(EXECUTIONS, ids(campaign, debtor))).json()
    beta = await callers("beta", "admin")
    paths = [f"{CAMPAIGNS}/{campaign['id']}", f"{EXECUTIONS}/{execution['id']}"]
    for path in [*paths, f"{paths[0]}/stats", f"{paths[1]}/actions"]:
        assert (await beta.get(path)).status_code == 404
    for path in (f"{paths[1]}/pause", f"{paths[1]}/cancel"):
        assert (await beta.post(path)).status_code == 404
    assert (await beta.delete(paths[0])).status_code == 404
    assert (await beta.post(EXECUTIONS, ids(campaign, debtor))).status_code == 404
    assert (await beta.get(EXECUTIONS)).json()["total"] == 0
    assert (await beta.get(STATS)).json()["total_campaigns"] == 0
    technician = await callers("alpha", "technician")
    assert (await technician.get(CAMPAIGNS)).status_code == 403
    reader = await callers("alpha", "read_only")
    assert (await reader.get(CAMPAIGNS)).status_code == 200
    assert (await reader.post(CAMPAIGNS, SHORT)).status_code == 403


async def test_a_template_that_was_taken_away_fails_the_step_and_says_which(admin, world):
    unknown = await admin.post(CAMPAIGNS, SHORT | {"actions": [{"type": "email", "template": "our_own"}]})
    assert (unknown.status_code, unknown.json()["error"]["details"][0]["field"]) == (
        422,
        "actions.0.template",
    )
    own = {"channel": "email", "name": "our_own", "subject": "Hello", "body": "{{ amount_due }}"}
    template = (await admin.post("/api/notification-templates", own)).json()
    campaign = await made(
        admin, SHORT, actions=[{"type": "email", "template": "our_own"}], max_retries=0, trigger_after_days=0
    )
    debtor = await world.debtor()
    assert (await admin.delete(f"/api/notification-templates/{template['id']}")).status_code == 204
    await world.sweep()
    [execution] = (await admin.get(EXECUTIONS, campaign_id=campaign["id"])).json()["executions"]
    assert (execution["status"], execution["customer_id"]) == ("failed", str(debtor.customer.uid))
    [line] = (await admin.get(f"{EXECUTIONS}/{execution['id']}/actions")).json()["actions"]
    assert line["outcome"] == "failed"
    assert "'our_own'" in line["detail"]
    assert (await admin.delete(f"{CAMPAIGNS}/{campaign['id']}")).status_code == 204
