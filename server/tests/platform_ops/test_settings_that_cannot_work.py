"""What cannot work ends the start with a sentence about the variable; `demarc doctor` says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import Console

from demarc.adapters.mail.trap import start_mail_trap
from demarc.cli.doctor import examine, explain_settings
from demarc.cli.up import up
from demarc.kernel.errors import Misconfigured
from demarc.kernel.settings import Settings

from ..ports import free_port  # noqa: TID252 - the suite's own

LOST = SecretStr("postgresql://nobody:nothing@127.0.0.1:1/none")


def settings(tmp_path: Path, **changes: object) -> Settings:
    given = {"data_dir": tmp_path, "http_port": free_port(), "radius_enabled": False, "database_url": LOST}
    return Settings(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data_dir": Path("/dev/null")}, "set DEMARC_DATA_DIR to one that can be written to"),
        ({"data_dir": Path("/proc/demarc")}, "set DEMARC_DATA_DIR to one that can be written to"),
        ({"http_host": "192.0.2.1"}, "set DEMARC_HTTP_HOST to an address of this machine"),
        ({"smtp_url": SecretStr("mail.example")}, "DEMARC_SMTP_URL is not a URL of the form"),
    ],
)
async def test_the_start_says_which_setting_it_is(tmp_path: Path, changes: dict[str, object], told: str):
    with pytest.raises(Misconfigured, match=told):
        await up(settings(tmp_path, **changes))


async def mail_finding(tmp_path: Path, url: str):
    findings = await examine(settings(tmp_path, smtp_url=SecretStr(url)))
    return next(finding for finding in findings if finding.name == "mail")


async def test_doctor_asks_the_mail_server_that_mail_is_sent_to(tmp_path: Path):
    port = free_port()
    trap = await start_mail_trap("127.0.0.1", port, tmp_path / "mail")
    async with trap:
        assert (await mail_finding(tmp_path, f"smtp://127.0.0.1:{port}")).ok
        refused = await mail_finding(tmp_path, f"smtp+starttls://127.0.0.1:{port}")
        assert not refused.ok, "the mailer demands TLS here, and the server has none"
    unread = await mail_finding(tmp_path, "mail.example")
    assert (unread.ok, "smtp://host:port" in unread.advice) == (False, True)
    assert "127.0.0.1:465 does not answer" in (await mail_finding(tmp_path, "smtps://127.0.0.1")).advice


def test_every_variable_can_be_read_on_a_narrow_terminal(tmp_path: Path):
    console = Console(width=80)
    with console.capture() as shown:
        console.print(explain_settings(settings(tmp_path)))
    text = shown.get()
    assert [name for name in Settings.model_fields if name not in text.lower()] == []
