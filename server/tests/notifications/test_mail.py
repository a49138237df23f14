from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime

import aiosmtplib
import pytest
from aiosmtpd.smtp import AuthResult

from demarc.adapters.mail.smtp import SmtpMailer, SmtpServer
from demarc.adapters.mail.trap import list_messages, run_mail_trap, start_mail_trap
from demarc.kernel.clock import real_now
from demarc.kernel.errors import Misconfigured, Unavailable
from demarc.modules.notifications.errors import Refused
from demarc.modules.notifications.ports import MailMessage

from ..ports import free_port  # noqa: TID252 - the suite's own
from .post import Doorman, smtp_server

MESSAGE = MailMessage(
    message_id="<1@alpha.demarc>",
    sender=None,
    sender_name="Alpha Fibre",
    recipient="ann@example.com",
    subject="Grüße — 100 €",
    body="Zahlen Sie bitte.\n.\nEnde\n",
)


def mailer(port, **options):
    return SmtpMailer(SmtpServer("127.0.0.1", port, **options), "billing@isp.example")


async def _was_sent(to):
    try:
        await to.send(MESSAGE)
    except Unavailable:
        return False
    return True


async def test_a_conversation_with_the_trap(tmp_path):
    port = free_port()
    stop = asyncio.Event()
    running = asyncio.create_task(run_mail_trap("127.0.0.1", port, tmp_path / "mail", stop))
    async with asyncio.timeout(60):
        while not await _was_sent(mailer(port)):
            await asyncio.sleep(0.02)
    stop.set()
    await running
    [mail] = list_messages(tmp_path / "mail")
    assert (mail.message_id, mail.recipient, mail.subject) == (
        MESSAGE.message_id,
        MESSAGE.recipient,
        MESSAGE.subject,
    )
    assert mail.sender == "Alpha Fibre <billing@isp.example>"
    assert mail.body.replace("\r\n", "\n") == MESSAGE.body
    assert abs((real_now() - mail.sent_at).total_seconds()) < 120
    with pytest.raises(Unavailable):
        await mailer(port).send(MESSAGE)


async def test_headers_are_what_a_receiver_expects():
    doorman = Doorman({})
    async with smtp_server(doorman) as port:
        await mailer(port).send(MESSAGE)
    mail = message_from_bytes(doorman.taken[0], policy=policy.default)
    assert mail["Message-ID"] == MESSAGE.message_id
    assert mail["Auto-Submitted"] == "auto-generated"
    assert abs((parsedate_to_datetime(mail["Date"]) - real_now()).total_seconds()) < 120
    assert mail.get_content_type() == "text/plain"


def test_an_occupied_port_names_the_setting(tmp_path):
    async def main():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(Misconfigured, match=f"port {port}.*DEMARC_MAIL_TRAP_PORT"):
                await run_mail_trap("127.0.0.1", port, tmp_path / "mail", asyncio.Event())

    asyncio.run(main())


async def test_a_maildir_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "mail").write_text("a file is in the way")
    with pytest.raises(Misconfigured, match="mail"):
        await start_mail_trap("127.0.0.1", 0, tmp_path / "mail")


async def test_a_trap_that_cannot_write_takes_nothing(tmp_path):
    server = await start_mail_trap("127.0.0.1", 0, tmp_path / "mail")
    async with server:
        (tmp_path / "mail" / "tmp").rmdir()
        (tmp_path / "mail" / "tmp").write_text("a full disk")
        with pytest.raises(Unavailable, match="452"):
            await mailer(server.sockets[0].getsockname()[1]).send(MESSAGE)
    (tmp_path / "mail" / "tmp").unlink()
    assert list_messages(tmp_path / "mail") == []


def test_no_maildir_no_messages(tmp_path):
    assert list_messages(tmp_path / "nothing") == []


async def test_a_message_that_is_not_ours_is_listed_too(tmp_path):
    server = await start_mail_trap("127.0.0.1", 0, tmp_path / "mail")
    async with server:
        port = server.sockets[0].getsockname()[1]
        await aiosmtplib.send(
            b"Date: yesterday\r\n\r\n\xff\xfe raw",
            sender="a@b",
            recipients=["c@d"],
            hostname="127.0.0.1",
            port=port,
        )
    [mail] = list_messages(tmp_path / "mail")
    assert (mail.message_id, mail.subject) == ("", "")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("550 5.1.1 unknown", Refused),
        ("552 full", Refused),
        ("450 busy", Unavailable),
        ("421 going", Unavailable),
    ],
)
async def test_5yz_is_for_good_4yz_is_not(reply, expected):
    async with smtp_server(Doorman({MESSAGE.recipient: reply})) as port:
        with pytest.raises(expected, match=reply[:3]):
            await mailer(port).send(MESSAGE)


async def test_a_server_that_hangs_up_is_away():
    async def hang_up(_reader, writer):
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        with pytest.raises(Unavailable):
            await mailer(server.sockets[0].getsockname()[1]).send(MESSAGE)


async def test_an_address_that_is_none_is_refused_before_anybody_is_asked():
    for recipient in ("nobody", "a@b\r\nRCPT TO:<c@d>", ""):
        message = MailMessage("<1@x>", None, "", recipient, "S", "B")
        with pytest.raises(Refused):
            await mailer(free_port()).send(message)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost."""
    place = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", place / "key.pem", "-out", place / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    return place


def contexts(place):
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(place / "cert.pem", place / "key.pem")
    return server, ssl.create_default_context(cafile=str(place / "cert.pem"))


class Book:
    """Knows one user."""

    def __init__(self):
        self.seen = []

    def __call__(self, _server, session, _envelope, _mechanism, data):
        self.seen.append((data.login, data.password, session.ssl is not None))
        return AuthResult(success=data.password == b"p@ss word", handled=False)


async def test_starttls_and_log_in(certificate):
    server_tls, client_tls = contexts(certificate)
    book, doorman = Book(), Doorman({})
    options = {
        "tls_context": server_tls,
        "authenticator": book,
        "auth_required": True,
        "auth_require_tls": True,
    }
    async with smtp_server(doorman, **options) as port:
        good = SmtpServer.from_url(f"smtp+starttls://user:p%40ss%20word@localhost:{port}")
        await SmtpMailer(good, "a@isp.example", client_tls).send(MESSAGE)
        bad = SmtpServer.from_url(f"smtp+starttls://user:wrong@localhost:{port}")
        with pytest.raises(Unavailable, match="DEMARC_SMTP_URL") as refused:
            await SmtpMailer(bad, "a@isp.example", client_tls).send(MESSAGE)
        with pytest.raises(Unavailable):  # a certificate that nobody vouches for
            await SmtpMailer(good, "a@isp.example").send(MESSAGE)
    assert "wrong" not in refused.value.message
    assert len(doorman.taken) == 1
    assert book.seen[0] == (b"user", b"p@ss word", True)


async def test_implicit_tls(certificate):
    server_tls, client_tls = contexts(certificate)
    doorman = Doorman({})
    async with smtp_server(doorman, implicit_tls=server_tls) as port:
        await SmtpMailer(SmtpServer.from_url(f"smtps://localhost:{port}"), "a@isp.example", client_tls).send(
            MESSAGE
        )
    assert len(doorman.taken) == 1


async def test_starttls_that_is_demanded_and_not_offered_sends_nothing():
    doorman = Doorman({})
    async with smtp_server(doorman) as port:
        with pytest.raises(Unavailable):
            await SmtpMailer(SmtpServer.from_url(f"smtp+starttls://127.0.0.1:{port}"), "a@isp.example").send(
                MESSAGE
            )
    assert doorman.taken == []


def test_urls():
    assert SmtpServer.from_url("smtp://mail.example").port == 25
    assert SmtpServer.from_url("smtps://mail.example").use_tls
    assert SmtpServer.from_url("smtp://u:p@mail.example").starttls is True  # a password never in the clear
    assert SmtpServer.from_url("smtp://u:p@127.0.0.1").starttls is None
    assert "secret" not in repr(SmtpServer.from_url("smtps://u:secret@mail.example"))
    for url in ("http://x", "smtp://", "mail.example", "smtp://u:secret@h:port"):
        with pytest.raises(Misconfigured, match="DEMARC_SMTP_URL") as refused:
            SmtpServer.from_url(url)
        assert "secret" not in refused.value.message
