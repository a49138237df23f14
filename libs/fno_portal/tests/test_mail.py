"""E-mail over a real Dovecot: authentic, spoofed, repeated, unparsable, late; the mailbox that vanishes."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from fno_portal import (
    FNOAuthError,
    FNOConfigError,
    FNOEmailParser,
    FNOMailError,
    FNOMasterPortal,
    FNOUnknownOperatorError,
    FNOValidationError,
    OrderStatus,
    SqliteStore,
)

OURS = "mx.isp.example"
SINCE = "2020-01-01"


def _mail(
    body,
    *,
    sender="orders@vumatel.co.za",
    message_id="<1@vumatel.co.za>",
    subject="Update",
    results=None,
    day=20,
    html=False,
):
    mail = EmailMessage()
    domain = sender.rpartition("@")[2]
    if results is None:
        results = f"{OURS}; dkim=pass header.d={domain}; spf=pass smtp.mailfrom=bounce@{domain}"
    if results:
        mail["Authentication-Results"] = results
    mail["From"], mail["To"], mail["Subject"] = f"Orders <{sender}>", "noc@isp.example", subject
    mail["Date"], mail["Message-ID"] = f"{day} Nov 2026 09:00:00 +0000", message_id
    mail.set_content(body, subtype="html" if html else "plain")
    return mail.as_bytes()


@pytest.fixture
def box(mailbox):
    mail = mailbox.connect()
    if int(mail.select("INBOX")[1][0]):
        mail.store("1:*", "+FLAGS", "\\Deleted")
        mail.expunge()
    mail.logout()
    return mailbox


def _parser(box, **options):
    options = {"authserv_ids": [OURS], "port": box.port, "ssl_context": box.context(), **options}
    return FNOEmailParser("127.0.0.1", box.username, options.pop("password", box.password), **options)


def test_documented_news_and_mails_stay_unread(box):
    box.deliver(_mail("Order VUM-1001 has been completed"))
    box.deliver(_mail("Order VUM-7: Installation scheduled for 2026-12-01", message_id="<2@v>"))
    box.deliver(_mail("<p>Fault <b>F-9</b> has been resolved</p>", message_id="<3@v>", html=True))
    parser = _parser(box)
    news = parser.parse_fno_emails("vumatel", "01-Jan-2020")
    assert [(one["type"], one["reference"]) for one in news] == [
        ("order_complete", "VUM-1001"), ("installation_scheduled", "VUM-7"), ("fault_resolved", "F-9"),
    ]  # fmt: skip
    assert news[1]["scheduled_date"] == "2026-12-01"
    assert news[0]["sent_at"] == "2026-11-20T11:00:00+02:00"
    assert {"type", "reference", "date", "subject"} <= set(news[0])
    parser.close()
    mail = box.connect()
    mail.select("INBOX", readonly=True)
    assert mail.search(None, "UNSEEN")[1][0].split() == [b"1", b"2", b"3"]
    mail.logout()


def test_frogfoot_and_openserve(box):
    box.deliver(_mail("Order FRO-1 has been completed", sender="noreply@frogfoot.com"))
    box.deliver(
        _mail("Activation Complete - Ref: OPE-5", sender="x@mail.openserve.co.za", message_id="<2@o>")
    )
    box.deliver(
        _mail("Ref: OPE-5. Technician visit: 03/12/2026", sender="x@openserve.co.za", message_id="<3@o>")
    )
    parser = _parser(box)
    assert parser.parse_fno_emails("frogfoot", SINCE)[0]["reference"] == "FRO-1"
    assert [(one["reference"], one["scheduled_date"]) for one in parser.parse_fno_emails("openserve", SINCE)] == [
        ("OPE-5", None), ("OPE-5", "2026-12-03"),
    ]  # fmt: skip
    parser.close()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"results": ""}, "no trusted server"),
        ({"results": "mx.evil.example; dkim=pass header.d=vumatel.co.za"}, "no trusted server"),
        (
            {
                "results": f"{OURS}; dkim=fail header.d=vumatel.co.za; spf=softfail smtp.mailfrom=a@vumatel.co.za"
            },
            "neither DKIM nor SPF",
        ),
        (
            {"results": f"{OURS}; dkim=pass header.d=evil.example; spf=pass smtp.mailfrom=a@evil.example"},
            "neither DKIM nor SPF",
        ),
        ({"results": f"{OURS}; dkim=pass header.d=za"}, "neither DKIM nor SPF"),
        ({"sender": "a@vumatel.co.za.evil.example"}, "domain is not one of"),
    ],
)
def test_spoofed_mails_are_not_believed(box, fields, problem):
    box.deliver(_mail("Order VUM-1001 has been completed", **fields))
    # The real one bears the same Message-ID: the forgery must not shadow it.
    box.deliver(_mail("Order VUM-1001 has been completed"))
    parser = _parser(box)
    forged, real = parser.read("vumatel", SINCE)
    assert problem in forged.problem
    assert real.problem is None
    assert len(parser.parse_fno_emails("vumatel", SINCE)) == 1
    parser.close()


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (b"Message-ID: <1@vumatel.co.za>", b"Message-ID: <a@["),
        (b"text/plain", b"text/html"),
        (b'charset="utf-8"', b'charset="x-nobody-knows"'),
        (b"20 Nov 2026", b"99 Foo 0000"),
    ],
    ids=["message-id", "marked section", "charset", "date"],
)
def test_a_mail_that_breaks_a_parser_keeps_no_other_from_being_read(box, here, there):
    evil = _mail("<![foo]> Order VUM-1 has been completed")
    assert evil.count(here) == 1
    box.deliver(evil.replace(here, there))
    box.deliver(_mail("Order VUM-2 has been completed", message_id="<2@vumatel.co.za>"))
    parser = _parser(box)
    first, second = parser.read("vumatel", SINCE)
    assert first.problem is None or first.problem.startswith("unreadable")
    assert [one.reference for one in second.findings] == ["VUM-2"]
    parser.close()


async def test_no_piece_of_an_identity_number_stays(box, tmp_path):
    number = "8001015009087"
    body = f"Order {number} has been completed. {'x ' * 222}{number} 800101\u00a05009\u00a0087"
    box.deliver(_mail(body, subject=f"for {number}"))
    store = SqliteStore(tmp_path / "orders.db")
    parser = _parser(box)
    async with FNOMasterPortal({}, store=store) as portal:
        await portal.poll_mail(parser, SINCE, ["vumatel"])
    (waiting,) = await store.list_unmatched()
    parser.close()
    store.close()
    assert "no order of ours has the number [id number]" in waiting.reason
    for file in tmp_path.iterdir():
        assert number[:8].encode() not in file.read_bytes()
        assert b"5009" not in file.read_bytes()


async def test_mail_moves_orders_and_the_rest_waits_for_a_person(box, sims, order):
    sim = sims["vumatel", "document"]
    portal = FNOMasterPortal({"vumatel": {"base_url": sim.url, "api_key": "sim-key"}})
    number = (await portal.create_order("vumatel", order)).fno_reference
    done = f"Order {number} has been completed"
    box.deliver(_mail(done, message_id="<forged@v>", results=f"{OURS}; dkim=fail header.d=vumatel.co.za"))
    box.deliver(_mail("What a lovely day, says 8001015009087", message_id="<odd@v>"))
    box.deliver(_mail("Order VUM-999 has been completed", message_id="<strange@v>"))
    box.deliver(
        b"From: a@vumatel.co.za\r\nContent-Type: text/plain; charset=no-such\r\nContent-Transfer-Encoding: base64\r\n\r\n=?=\xff"
    )
    parser = _parser(box)
    await portal.poll_mail(parser, SINCE, ["vumatel"])
    assert (await portal.get_order("ORD-1")).status is OrderStatus.SUBMITTED
    waiting = await portal.store.list_unmatched()
    assert len(waiting) == 4
    assert "8001015009087" not in "".join(one.model_dump_json() for one in waiting)
    # Out of order: the completion arrives before the appointment, and each twice.
    box.deliver(_mail(done, message_id="<done@v>", day=21))
    box.deliver(_mail(done, message_id="<done@v>", day=21))
    box.deliver(
        _mail(f"Order {number}: Installation scheduled for 2026-12-01", message_id="<late@v>", day=19)
    )
    for _ in range(2):
        moved = await portal.poll_mail(parser, SINCE, ["vumatel"])
        assert [one.status for one in moved] == [OrderStatus.COMPLETED]
    mails = [one for one in await portal.list_events("ORD-1") if one.source.value == "mail"]
    assert [one.applied for one in mails] == [True, False]
    assert len(await portal.store.list_unmatched()) == 4
    parser.close()
    await portal.aclose()


def test_two_numbers_are_not_guessed(box):
    box.deliver(_mail("Order VUM-1 and Order VUM-2. Installation scheduled for 2026-12-01"))
    parser = _parser(box)
    assert parser.parse_fno_emails("vumatel", SINCE)[0]["reference"] is None
    parser.close()


def test_mailbox_that_vanishes(box):
    parser = _parser(box)
    box.deliver(_mail("Order VUM-1 has been completed"))
    box.restart()
    assert len(parser.parse_fno_emails("vumatel", SINCE)) == 1
    box.stop()
    with pytest.raises(FNOMailError, match="cannot be reached"):
        parser.parse_fno_emails("vumatel", SINCE)
    with pytest.raises(FNOMailError, match="cannot be reached"):
        _parser(box)
    box.restart()
    assert len(parser.parse_fno_emails("vumatel", SINCE)) == 1
    parser.close()


def test_bad_input(box):
    with pytest.raises(FNOAuthError, match="refused the log-in") as caught:
        _parser(box, password="wrong-password-1")
    assert "wrong-password-1" not in str(caught.value)
    parser = _parser(box)
    with pytest.raises(FNOValidationError, match="not a date"):
        parser.parse_fno_emails("vumatel", "yesterday) OR (ALL")
    with pytest.raises(FNOUnknownOperatorError, match="nofibre"):
        parser.parse_fno_emails("nofibre", SINCE)
    parser.close()
    with pytest.raises(FNOMailError, match="no folder"):
        _parser(box, mailbox="Elsewhere").parse_fno_emails("vumatel", SINCE)
    with pytest.raises(FNOConfigError, match="authserv_ids"):
        _parser(box, authserv_ids=[]).parse_fno_emails("vumatel", SINCE)
