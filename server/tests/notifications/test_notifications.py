from __future__ import annotations

import asyncio
from importlib.resources import files
from uuid import uuid4

import pytest

from demarc.kernel.context import system
from demarc.kernel.errors import Conflict, Invalid, NotFound
from demarc.kernel.jobs import defer
from demarc.modules.notifications.errors import TemplateMissing
from demarc.modules.notifications.inputs import NewTemplate
from demarc.modules.notifications.jobs import SendNotification, send_notification
from demarc.modules.notifications.queries import get_notification_by_id
from demarc.modules.notifications.rules import (
    Wording,
    check_syntax,
    languages,
    message_id,
    notification_uid,
    preview,
    render,
)
from demarc.modules.notifications.service import (
    mark_failed,
    mark_sent,
    note_attempt,
    set_template,
)
from demarc.modules.notifications.states import NOTIFICATION, Channel, NotificationStatus

from .post import (
    ALPHA,
    BETA,
    DATA_USAGE,
    Desk,
    Doorman,
    customer_of,
    mailer_at,
    ports_to,
    queue,
    queued,
    smtp_server,
)


async def reload(database, notification):
    async with database.begin(ALPHA, system("test")) as tx:
        return await get_notification_by_id(tx, notification.id)


async def test_a_message_goes_out_over_smtp_after_the_commit(database, desk, trap):
    made = await queued(database)
    assert (made.status, trap.mails()) == ("pending", [])
    await desk.clear()
    [mail] = trap.mails()
    assert mail.message_id == f"<{made.uid}@alpha.demarc>"
    assert notification_uid(mail.message_id) == made.uid
    assert mail.recipient == "ann@example.com"
    assert mail.sender == "billing@isp.example"
    assert mail.subject == "Payment reminder: invoice INV-2025-000001 is overdue"
    assert "100.00 USD" in mail.body
    sent = await reload(database, made)
    assert (sent.status, sent.attempts, sent.last_error) == ("sent", 1, None)
    assert sent.sent_at is not None


async def test_a_transaction_that_fails_sends_nothing(database, desk, trap):
    async def cut_off():
        async with database.begin(ALPHA, system("test")) as tx:
            await queue(tx, await customer_of(tx))
            raise NotFound("never mind")

    with pytest.raises(NotFound):
        await cut_off()
    assert await desk.clear() == 0
    assert trap.mails() == []


async def test_the_same_matter_is_told_once(database, desk, trap):
    async with database.begin(ALPHA, system("test")) as tx:
        customer = await customer_of(tx)
        first = await queue(tx, customer)
        again = await queue(tx, customer, recipient="other@example.com")
        other = await queue(
            tx, customer, channel=Channel.SMS, template="payment_alert", recipient="+15550100"
        )
    assert again == first
    assert other.id != first.id
    await desk.clear()
    assert [mail.recipient for mail in trap.mails()] == ["ann@example.com"]


async def test_two_at_once_queue_one_message(database, desk, trap):
    async with database.begin(ALPHA, system("test")) as tx:
        customer = await customer_of(tx)

    async def one():
        async with database.begin(ALPHA, system("test")) as tx:
            return (await queue(tx, customer)).id

    assert len(set(await asyncio.gather(*(one() for _ in range(8))))) == 1
    await desk.clear()
    assert len(trap.mails()) == 1


async def test_a_server_that_is_away_is_waited_for(database, desk, trap):
    await trap.close()
    made = await queued(database)
    await desk.clear()
    waiting = await reload(database, made)
    assert (waiting.status, waiting.attempts) == ("pending", 1)
    assert "does not answer" in waiting.last_error
    assert await desk.clear() == 0  # not before the delay is over
    await desk.hurry()
    await desk.clear()
    assert (await reload(database, made)).attempts == 2
    await trap.open()
    await desk.hurry()
    await desk.clear()
    sent = await reload(database, made)
    assert (sent.status, sent.attempts, sent.last_error) == ("sent", 3, None)
    assert len(trap.mails()) == 1


async def test_nobody_answering_for_a_day_is_a_failure_of_the_transport(database, desk, trap):
    await trap.close()
    made = await queued(database)
    while await desk.clear():
        await desk.hurry()
    failed = await reload(database, made)
    assert (failed.status, failed.attempts) == ("failed", 30)
    event = await database_event(database, made.id)
    assert event["transport"] is True


async def database_event(database, notification_id):
    async with database.begin(ALPHA, system("test")) as tx:
        return await tx.connection.fetchval(
            "SELECT payload FROM outbox_event WHERE name = 'notification.failed' AND entity_id = $1",
            notification_id,
        )


async def test_a_refusal_for_good_is_final(database):
    doorman = Doorman({"ann@example.com": "550 5.1.1 no such mailbox"})
    async with smtp_server(doorman) as port:
        desk = Desk(database, ports_to(mailer_at(port)))
        made = await queued(database)
        await desk.clear()
        failed = await reload(database, made)
    assert (failed.status, failed.attempts) == ("failed", 1)
    assert "550 5.1.1 no such mailbox" in failed.last_error
    assert (await database_event(database, made.id))["transport"] is False
    assert await desk.waiting() == []


async def test_come_back_later_is_not_final(database):
    doorman = Doorman({"ann@example.com": "451 4.7.1 greylisted"})
    async with smtp_server(doorman) as port:
        desk = Desk(database, ports_to(mailer_at(port)))
        made = await queued(database)
        await desk.clear()
        assert (await reload(database, made)).status == "pending"
        assert "451" in (await reload(database, made)).last_error
        doorman.replies.clear()
        await desk.hurry()
        await desk.clear()
        assert (await reload(database, made)).status == "sent"
    assert len(doorman.taken) == 1


async def test_a_repeat_carries_the_same_message_id(database, desk, trap):
    """The worker died between the sending and the noting of it."""
    made = await queued(database)
    await desk.clear()
    async with database.begin(ALPHA, system("test")) as tx:
        await tx.connection.execute("UPDATE notification SET status = 'pending', sent_at = NULL")
        await defer(tx, send_notification, SendNotification(made.id))
    await desk.clear()
    first, second = trap.mails()
    assert first.message_id == second.message_id


async def test_what_was_sent_is_not_sent_again_by_a_late_job(database, desk, trap):
    made = await queued(database)
    async with database.begin(ALPHA, system("test")) as tx:
        await mark_sent(tx, made.id)
    await desk.clear()
    assert trap.mails() == []


async def test_sms_is_kept_by_the_sandbox_and_refused_elsewhere(database, desk):
    alert = {"channel": Channel.SMS, "template": "payment_alert", "recipient": "+15550100"}
    made = await queued(database, **alert)
    await desk.clear()
    assert (await reload(database, made)).status == "sent"
    async with database.begin(BETA, system("test")) as tx:
        refused = await queue(tx, await customer_of(tx), **alert)
    await desk.clear()
    async with database.begin(BETA, system("test")) as tx:
        failed = await get_notification_by_id(tx, refused.id)
    assert failed.status == "failed"
    assert "no SMS provider" in failed.last_error


async def test_wording_of_the_tenant_goes_before_the_shipped_one(database, desk, trap):
    own = NewTemplate(Channel.EMAIL, "payment_reminder_1", "Hallo {{ customer_name }}", "Zahlung", "de")
    async with database.begin(ALPHA, system("test")) as tx:
        await set_template(tx, own)
        customer = await customer_of(tx)
        german = await queue(tx, customer, about="a", language="de-AT")
        english = await queue(tx, customer, about="b", language="fr")
        await set_template(tx, NewTemplate(Channel.EMAIL, "payment_reminder_1", "Neu", "Neu", "de"))
        changed = await queue(tx, customer, about="c", language="de")
    assert (german.subject, german.body) == ("Zahlung", "Hallo Ann\n")
    assert english.subject.startswith("Payment reminder")
    assert changed.subject == "Neu"
    async with database.begin(BETA, system("test")) as tx:
        theirs = await queue(tx, await customer_of(tx), language="de")
    assert theirs.subject.startswith("Payment reminder")


async def test_a_missing_or_unfit_template_is_refused(tx):
    customer = await customer_of(tx)
    with pytest.raises(TemplateMissing):
        await queue(tx, customer, template="no_such_wording")
    for name in ("../../secrets", "a/b", "", "x" * 61):
        with pytest.raises(Invalid):
            await queue(tx, customer, template=name)
    await set_template(tx, NewTemplate(Channel.EMAIL, "wants_more", "{{ not_given }}", "S"))
    with pytest.raises(Invalid, match="not_given"):
        await queue(tx, customer, template="wants_more")


@pytest.mark.parametrize(
    "body",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ customer_name.__init__.__globals__ }}",
        "{{ 1 // 0 }}",
    ],
)
async def test_a_template_cannot_leave_its_sandbox(tx, body):
    async def use(customer):
        await set_template(tx, NewTemplate(Channel.EMAIL, "evil", body, "S"))
        await queue(tx, customer, template="evil")

    with pytest.raises(Invalid):
        await use(await customer_of(tx))


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("{% for i in [1, 2] %}x{% endfor %}", "a loop"),
        ("{{ 'x' * 10 }}", "[*]"),
        ("{{ 10 ** 10 }}", "[*][*]"),
        ("{{ '%9d' % 1 }}", "%"),
        ("{{ 'x'.ljust(10) }}", "a call"),
        ("{% set a = 'x' %}{% set a = a ~ a %}", "set"),
        ("{% macro m() %}{{ m() }}{% endmacro %}", "macro"),
        ("{{ 'x'|center(10) }}", "filter center"),
        ("{% include 'x' %}", "include"),
        ("{{" + "(" * 9000 + "1" + ")" * 9000 + "}}", "too deep"),
        ("{{ 1" + "+1" * 9000 + " }}", "too deep"),
        ("{{ " + "9" * 5000 + " }}", "too long"),
    ],
)
def test_wording_holds_nothing_that_repeats_or_multiplies(body, what):
    """One worker and one API process serve every tenant: a template must not be able to hold them up."""
    with pytest.raises(Invalid, match=what) as refused:
        check_syntax("body", body)
    assert refused.value.details[0].field == "body"
    with pytest.raises(Invalid):
        preview(Wording("", body), {})


def test_wording_may_decide_and_shape():
    body = (
        "{% if a in ['x', 'y'] and n - 1 > 0 %}{{ a|upper ~ '!' }}{% else %}{{ b|default('-') }}{% endif %}"
    )
    assert render(Wording("", body), {"a": "x", "n": 2}).body == "X!\n"
    assert render(Wording("", body), {"a": "z", "n": 2}).body == "-\n"


async def test_broken_syntax_is_refused_when_it_is_stored(tx):
    with pytest.raises(Invalid) as refused:
        await set_template(tx, NewTemplate(Channel.EMAIL, "broken", "{{ customer_name", "S"))
    assert refused.value.details[0].field == "body"
    with pytest.raises(Invalid, match="subject"):
        NewTemplate(Channel.EMAIL, "silent", "body", " ")


async def test_a_name_cannot_forge_a_header(database, desk, trap):
    own = NewTemplate(Channel.EMAIL, "named", "Hi", "To {{ customer_name }}")
    async with database.begin(ALPHA, system("test")) as tx:
        await set_template(tx, own)
        await queue(
            tx,
            await customer_of(tx),
            template="named",
            context={"customer_name": "Ann\r\nBcc: victim@example.com\r\n\r\nforged"},
        )
    await desk.clear()
    [mail] = trap.mails()
    assert mail.subject == "To Ann Bcc: victim@example.com forged"
    assert mail.body == "Hi\n"


async def test_every_shipped_template_renders(tx):
    customer = await customer_of(tx)
    found = 0
    for channel in Channel:
        for file in (files("demarc.modules.notifications") / "templates" / channel.value).iterdir():
            name = file.name.split(".")[0]
            more = DATA_USAGE if name.startswith("data_usage") else {}
            made = await queue(
                tx, customer, about=f"{channel}:{name}", channel=channel, template=name, context=more
            )
            assert made.body.strip()
            assert bool(made.subject) is (channel is Channel.EMAIL)
            found += 1
    assert found >= 6


@pytest.mark.parametrize("current", NotificationStatus)
@pytest.mark.parametrize("target", [NotificationStatus.SENT, NotificationStatus.FAILED])
async def test_the_whole_transition_table(tx, current, target):
    made = await queue(tx, await customer_of(tx))
    await tx.connection.execute("UPDATE notification SET status = $1", current.value)

    async def move():
        if target is NotificationStatus.SENT:
            return await mark_sent(tx, made.id)
        return await mark_failed(tx, made.id, reason="x", transport=False)

    if NOTIFICATION.can(current, target) or current is target is NotificationStatus.SENT:
        assert (await move()).status == target
    else:
        with pytest.raises(Conflict, match=current.value):
            await move()
    assert (await note_attempt(tx, made.id)) is None


def test_languages_are_tried_from_the_narrow_to_the_wide():
    assert [*languages("pt-BR")] == ["pt-BR", "pt", "en"]
    assert [*languages("en")] == ["en"]


def test_a_message_id_leads_back_to_its_notification():
    uid = uuid4()
    assert notification_uid(message_id(uid, "alpha")) == uid
    assert notification_uid("<something@else>") is None


async def test_the_surface_lists_and_shows(admin, callers, database, desk):
    made = await queued(database)
    await queued(
        database, about="test:2", channel=Channel.SMS, template="payment_alert", recipient="+15550100"
    )
    await desk.clear()
    listed = (await admin.get("/api/notifications")).json()
    assert (listed["total"], [row["channel"] for row in listed["notifications"]]) == (2, ["sms", "email"])
    [row] = (await admin.get("/api/notifications", channel="email", status="sent")).json()["notifications"]
    assert row["id"] == str(made.uid)
    assert row["sent_at"].endswith("Z")
    assert (await admin.get(f"/api/notifications/{made.uid}")).json() == row
    assert (await admin.get("/api/notifications", customer_id=row["customer_id"])).json()["total"] == 1
    assert (await admin.get("/api/notifications", customer_id=str(uuid4()))).json()["total"] == 0
    assert (await admin.get("/api/notifications", channel="pigeon")).status_code == 422
    assert (await admin.get(f"/api/notifications/{uuid4()}")).status_code == 404
    beta = await callers("beta", "admin")
    assert (await beta.get(f"/api/notifications/{made.uid}")).status_code == 404
    assert (await beta.get("/api/notifications")).json()["total"] == 0
