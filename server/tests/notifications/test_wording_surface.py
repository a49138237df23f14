"""Templates and resending over HTTP, with a real SMTP conversation where something goes out."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from demarc.modules.notifications.rules import Wording, preview, variables
from demarc.modules.notifications.shipped import find_shipped, list_shipped
from demarc.modules.notifications.states import Channel

from .post import queued

PATH = "/api/notification-templates"
OWN = {
    "channel": "email",
    "name": "payment_reminder_1",
    "language": "de",
    "subject": "Rechnung {{ invoice_number }}",
    "body": "Guten Tag {{ customer_name }}, bitte zahlen Sie {{ amount_due }}.",
}


async def test_own_wording_from_making_to_taking_away(admin, callers, database, desk, trap):
    made = await admin.post(PATH, OWN)
    assert made.status_code == 201, made.text
    assert made.json()["variables"] == ["amount_due", "customer_name", "invoice_number"]
    assert (await admin.post(PATH, OWN)).json()["error"]["code"] == "TEMPLATE_EXISTS"
    one = f"{PATH}/{made.json()['id']}"
    assert (await admin.get(one)).json() == made.json()
    first = await queued(database, about="a", language="de")
    changed = await admin.patch(one, {"body": "Hallo {{ customer_name }}!"})
    assert (changed.json()["subject"], changed.json()["body"]) == (
        OWN["subject"],
        "Hallo {{ customer_name }}!",
    )
    second = await queued(database, about="b", language="de")
    assert first.body.startswith("Guten Tag")
    assert second.body.startswith("Hallo")
    await desk.clear()
    assert len(trap.mails()) == 2
    assert (await admin.patch(one, {"body": "{{"})).status_code == 422
    support = await callers("alpha", "read_only")
    assert (await support.get(one)).status_code == 200
    assert (await support.patch(one, {"body": "x"})).status_code == 403
    beta = await callers("beta", "admin")
    assert (await beta.get(one)).status_code == 404
    assert (await beta.delete(one)).status_code == 404
    assert (await admin.delete(one)).status_code == 204
    assert (await admin.delete(one)).status_code == 404
    third = await queued(database, about="c", language="de")
    assert "Guten Tag" not in third.body


async def test_own_and_shipped_wording_are_listed(admin):
    listed = (await admin.get(f"{PATH}/shipped", limit=500)).json()
    every = [(Channel(row["channel"]), row["name"], row["language"]) for row in listed["templates"]]
    assert (set(every), listed["total"]) == (set(list_shipped()), len(list_shipped()))
    assert every == sorted(every)
    sms = (await admin.get(f"{PATH}/shipped", channel="sms", sort="-name", limit=1)).json()
    assert (sms["templates"][0]["name"], sms["total"]) == (
        "payment_alert",
        sum(channel is Channel.SMS for channel, _, _ in every),
    )
    assert (await admin.get(f"{PATH}/shipped", name="payment_alert")).json()["total"] == 1
    assert (await admin.get(f"{PATH}/shipped", sort="body")).status_code == 422
    assert (await admin.get(PATH)).json()["total"] == 0
    for changes in ({}, {"language": "en"}, {"channel": "sms", "name": "payment_alert", "subject": ""}):
        assert (await admin.post(PATH, OWN | changes)).status_code == 201

    async def found(**query):
        answer = (await admin.get(PATH, **query)).json()
        return [(row["channel"], row["name"], row["language"]) for row in answer["templates"]]

    german, english, sms = [
        ("email", "payment_reminder_1", "de"),
        ("email", "payment_reminder_1", "en"),
        ("sms", "payment_alert", "de"),
    ]
    assert await found() == [sms, german, english]
    assert await found(language="en") == [english]
    assert await found(channel="sms") == [sms]
    assert await found(name="payment_reminder_1", skip=1) == [english]
    assert await found(sort="-channel", limit=1) == [sms]


BAD = [
    ({"body": "{% if %}"}, "body"),
    ({"subject": "{{"}, "subject"),
    ({"subject": ""}, "subject"),
    ({"name": "Not A Name"}, "name"),
    ({"name": "../../etc/passwd"}, "name"),
    ({"language": "german"}, "language"),
    ({"channel": "pigeon"}, "channel"),
    ({"body": ""}, "body"),
]


async def test_bad_templates_name_the_field(admin):
    for change, field in BAD:
        answer = await admin.post(PATH, OWN | change)
        assert answer.status_code == 422, answer.text
        assert field in [detail["field"] for detail in answer.json()["error"]["details"]]


async def test_a_preview_names_what_is_missing(admin):
    tried = await admin.post(
        f"{PATH}/preview",
        {
            "subject": "To {{ customer_name }}",
            "body": "{{ amount_due }} due",
            "context": {"amount_due": "5.00 USD"},
        },
    )
    assert tried.json() == {
        "subject": "To {{ customer_name }}",
        "body": "5.00 USD due\n",
        "variables": ["amount_due", "customer_name"],
        "missing": ["customer_name"],
    }
    shipped = await admin.post(
        f"{PATH}/preview", {"name": "payment_reminder_1", "context": {"customer_name": "Ann"}}
    )
    assert "Ann" in shipped.json()["body"]
    assert "invoice_number" in shipped.json()["missing"]
    assert (await admin.post(f"{PATH}/preview", {"name": "no_such_thing"})).status_code == 404
    for bad in ({}, {"body": "{{ 1 / 0 }}"}, {"body": "{{"}, {"body": "{{ ''.__class__.mro() }}"}):
        assert (await admin.post(f"{PATH}/preview", bad)).status_code == 422, bad


async def test_resending_is_another_message_with_the_same_text(admin, callers, database, desk, trap):
    first = await queued(database)
    path = f"/api/notifications/{first.uid}/resend"
    waiting = await admin.post(path, {})
    assert (waiting.status_code, waiting.json()["error"]["code"]) == (409, "NOT_RESENDABLE")
    await desk.clear()
    again = await admin.post(path, {})
    assert again.status_code == 201, again.text
    await desk.clear()
    third = (await admin.post(path, {"recipient": "New.Address@example.com"})).json()
    await desk.clear()
    arrived = trap.mails()
    assert len(arrived) == 3
    assert len({one.message_id for one in arrived}) == 3
    assert len({one.body for one in arrived}) == 1
    assert third["recipient"] == "New.Address@example.com"
    listed = (await admin.get("/api/notifications", recipient="New.Address@example.com")).json()
    assert [row["id"] for row in listed["notifications"]] == [third["id"]]
    now = first.created_at
    assert (await admin.get("/api/notifications", created_until=now.isoformat())).json()["total"] == 0
    later = (now + timedelta(seconds=0)).isoformat()
    assert (await admin.get("/api/notifications", created_since=later)).json()["total"] == 3
    for bad in ("nobody", "+15550100"):
        answer = await admin.post(path, {"recipient": bad})
        assert (answer.status_code, answer.json()["error"]["details"][0]["field"]) == (422, "recipient")
    beta = await callers("beta", "admin")
    assert (await beta.post(path, {})).status_code == 404


def test_every_shipped_template_is_listed_with_its_wording():
    listed = list_shipped()
    assert {channel for channel, _, _ in listed} == set(Channel)
    for channel, name, language in listed:
        assert find_shipped(channel, name, language) is not None


@given(st.dictionaries(st.from_regex("[a-z]{1,8}", fullmatch=True), st.text(max_size=20), max_size=4))
def test_a_preview_with_everything_lacks_nothing(context):
    wording = Wording("", " ".join(f"{{{{ {name} }}}}" for name in context) or "x")
    assert set(variables(wording)) <= set(context)
    assert "{{" not in preview(wording, dict.fromkeys(context, "v")).body
