"""A mailbox on a real Dovecot, with its own configuration and data in a scratch folder, on loopback with TLS."""

from __future__ import annotations

import contextlib
import datetime as dt
import grp
import imaplib
import ipaddress
import os
import pwd
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER = "noc@isp.example"
_START_S = 15

_CONFIG = """
protocols = imap
listen = 127.0.0.1
base_dir = {home}/run
log_path = {home}/dovecot.log
auth_failure_delay = 0
ssl = required
ssl_cert = <{home}/cert.pem
ssl_key = <{home}/key.pem
mail_location = maildir:{home}/mail
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
first_valid_gid = 1
default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {home}/users
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={home}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


def find_dovecot() -> str | None:
    """Dovecot's master program, or None."""
    return shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class DovecotMailbox:
    """`with DovecotMailbox(folder) as box: box.port, box.password, box.context()`; needs Debian's dovecot-imapd."""

    def __init__(self, home: Path) -> None:
        """Prepare in a folder of its own, which must not lie too deep (sockets' names are short)."""
        self.home = home
        self.username, self.password = USER, secrets.token_urlsafe(12)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start, and wait until it takes a log-in."""
        binary = find_dovecot()
        if binary is None:
            raise FileNotFoundError(
                "Dovecot is not installed: run deploy/setup/fno.sh, or apt-get install dovecot-imapd"
            )
        self._lay_out()
        self._run(binary)
        return self

    def _lay_out(self) -> None:
        owner = pwd.getpwnam("dovecot") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        user, group = owner.pw_name, owner.pw_gid
        (self.home / "mail").mkdir()
        _write_certificate(self.home)
        (self.home / "users").write_text(f"{self.username}:{self.password}\n")
        names = {"user": user, "internal": user, "login": "dovenull" if os.geteuid() == 0 else user}
        (self.home / "dovecot.conf").write_text(
            _CONFIG.format(home=self.home, port=self.port, group=_group(group), **names)
        )
        if os.geteuid() == 0:
            self.home.chmod(0o755)
            (self.home / "users").chmod(0o644)
            shutil.chown(self.home / "mail", owner.pw_uid, group)

    def _run(self, binary: str) -> None:
        self._process = subprocess.Popen(
            [binary, "-F", "-c", str(self.home / "dovecot.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        until = time.monotonic() + _START_S
        while True:
            try:
                self.connect().logout()
            except (OSError, imaplib.IMAP4.error):
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"Dovecot does not start: {self.log()}") from None
                time.sleep(0.05)
            else:
                return

    def log(self) -> str:
        """What Dovecot has logged."""
        with contextlib.suppress(OSError):
            return (self.home / "dovecot.log").read_text()[-2000:]
        return ""

    def context(self) -> ssl.SSLContext:
        """Trusts this mailbox's own certificate alone."""
        return ssl.create_default_context(cafile=str(self.home / "cert.pem"))

    def connect(self) -> imaplib.IMAP4_SSL:
        """A connection that is logged in, for looking behind the parser's back."""
        mail = imaplib.IMAP4_SSL("127.0.0.1", self.port, ssl_context=self.context(), timeout=5)
        mail.login(self.username, self.password)
        return mail

    def deliver(self, message: bytes, folder: str = "INBOX") -> None:
        """Put a mail into the mailbox, unread."""
        mail = self.connect()
        answer, _ = mail.append(folder, "", imaplib.Time2Internaldate(time.time()), message)
        mail.logout()
        if answer != "OK":
            raise RuntimeError(f"Dovecot did not take the mail: {self.log()}")

    def stop(self) -> None:
        """End Dovecot and its children."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            # Children serve on the connections that they have; they are in the session that was made for them.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if process.stderr:
                process.stderr.close()

    def restart(self) -> None:
        """Stop and start again on the same port and data."""
        self.stop()
        binary = find_dovecot()
        assert binary is not None
        self._run(binary)

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()


def _group(gid: int) -> str:
    return grp.getgrgid(gid).gr_name


def _write_certificate(home: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (home / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = home / "key.pem"
    file.touch(mode=0o600)
    file.write_bytes(private)
