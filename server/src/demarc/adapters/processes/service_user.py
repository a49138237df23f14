"""The unprivileged user that servers run as when Demarc itself runs as root."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from demarc.kernel.errors import Misconfigured

SERVICE_USER = "demarc"
STATE_DIR = Path("/var/lib/demarc")
"""Where root keeps what the service user must reach when the checkout is closed to it (a clone below /root)."""

CREATE_COMMAND = f"useradd --system --user-group --no-create-home --home-dir {STATE_DIR} --shell /usr/sbin/nologin {SERVICE_USER}"


@dataclass(frozen=True, slots=True)
class ServiceUser:
    name: str
    uid: int
    gid: int

    def may(self, access: str, path: Path) -> bool:
        """Whether this user has `access` (`r`, `w`, `x` of test(1)) to `path`, asked as that user: ACLs count."""
        return (
            subprocess.run(
                ["/bin/sh", "-c", f'test -{access} "$1"', "sh", str(path)],
                user=self.uid,
                group=self.gid,
                extra_groups=[],
                cwd="/",
                env={},
                check=False,
            ).returncode
            == 0
        )


def service_user(run_as: str | None = None) -> ServiceUser | None:
    """The user that servers are started as; None: as whoever runs Demarc, because that is not root.

    Raises:
        Misconfigured: root without the service user (the message has the command that creates it), a name that
            does not exist, `root` or `nobody` (every daemon's user must not own data), or another user asked for
            without being root.
    """
    if os.geteuid() != 0:
        _refuse_other(run_as)
        return None
    name = run_as or SERVICE_USER
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise Misconfigured(
            f"PostgreSQL does not run as root and the user {name!r} does not exist. Create it once with "
            f"`make setup` or `{CREATE_COMMAND}`."
        ) from None
    if entry.pw_uid == 0 or name == "nobody":
        raise Misconfigured(f"{name!r} must not own the database; use {SERVICE_USER!r} (`{CREATE_COMMAND}`).")
    return ServiceUser(name, entry.pw_uid, entry.pw_gid)


def _refuse_other(run_as: str | None) -> None:
    if run_as is not None and pwd.getpwuid(os.geteuid()).pw_name != run_as:
        raise Misconfigured(
            f"Only root can start servers as {run_as!r}; run Demarc as root or as {run_as!r}."
        )
