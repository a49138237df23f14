"""`python -m fno_portal.testing`: simulated operators of every style and a mailbox, until Ctrl-C.

Prints the environment that points `fno` at them. `--faults-help` lists the switches: POST /_sim/faults {"hang": true}.
The mailbox is a Dovecot of its own (Debian's dovecot-imapd), left out where there is none.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

from fno_portal.testing.mailbox import DovecotMailbox, find_dovecot
from fno_portal.testing.operator import API_KEY, PASSWORD, TOTP_SEED, USERNAME, Faults, SimulatedOperator
from fno_portal.testing.server import RunningSimulator

# (operator, style, TOTP): each on the channel that the document's table names.
OPERATORS = (
    ("vumatel", "document", False),
    ("vumatel", "portal", False),
    ("openserve", "openserve", False),
    ("openserve", "portal", False),
    ("frogfoot", "document", False),
    ("frogfoot", "portal", False),
    ("octotel", "portal", True),
    ("evotel", "aex", False),
    ("evotel", "portal", False),
    ("metrofibre", "portal", False),
    ("thefibrecafe", "tmf", False),
)


def environment(name: str, style: str, url: str, *, totp: bool) -> list[str]:
    """Lines of a shell that configure the operator."""
    prefix = f"FNO_{name.upper()}_"
    if style == "portal":
        lines = {"PORTAL_URL": url, "USERNAME": USERNAME, "PASSWORD": PASSWORD}
        lines |= {"TOTP_SEED": TOTP_SEED} if totp else {}
    else:
        lines = {"BASE_URL": url, "API_KEY": API_KEY} | ({"DRIVER": "tmf"} if style == "tmf" else {})
    return [f"export {prefix}{key}='{value}'" for key, value in lines.items()]


def mailbox(box: DovecotMailbox) -> list[str]:
    """Lines of a shell that configure the mailbox."""
    settings = {
        "SERVER": "127.0.0.1", "PORT": str(box.port), "USERNAME": box.username, "PASSWORD": box.password,
        "CA_FILE": str(box.home / "cert.pem"), "AUTHSERV_IDS": "mx.isp.example",
    }  # fmt: skip
    return [f"export FNO_MAIL_{key}='{value}'" for key, value in settings.items()]


def main() -> None:
    """Run until a signal."""
    parser = argparse.ArgumentParser(
        prog="python -m fno_portal.testing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--operator", action="append", help="only this one (repeatable)")
    parser.add_argument("--port", type=int, default=0, help="the first port; 0 takes free ones")
    parser.add_argument("--no-mail", action="store_true", help="without the mailbox")
    parser.add_argument("--faults-help", action="store_true", help="list the fault switches and end")
    asked = parser.parse_args()
    if asked.faults_help:
        print("\n".join(f"{one.name}: {one.type}" for one in fields(Faults)))  # noqa: T201
        return
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    wanted = [one for one in OPERATORS if not asked.operator or one[0] in asked.operator]
    with ExitStack() as stack:
        for index, (name, style, totp) in enumerate(wanted):
            operator = SimulatedOperator(name, totp=totp)
            port = asked.port + index if asked.port else 0
            running = stack.enter_context(RunningSimulator(style, operator, port=port))
            print("\n".join(environment(name, style, running.url, totp=totp)), flush=True)  # noqa: T201
        if not asked.no_mail and find_dovecot():
            # Short, for its sockets.
            home = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="fno-imap-", ignore_cleanup_errors=True)
            )
            print("\n".join(mailbox(stack.enter_context(DovecotMailbox(Path(home))))), flush=True)  # noqa: T201
        print("export FNO_OPERATORS=thefibrecafe", flush=True)  # noqa: T201
        stop.wait()


if __name__ == "__main__":
    main()
