"""A PostgreSQL without Demarc's schema, which a test may stop and start; run as the product runs its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from demarc.adapters.postgres.binaries import binaries
from demarc.adapters.processes.service_user import ServiceUser, service_user

BASELINE = Path(__file__).parents[1] / "migrations" / "baseline"


def aaa_functions() -> list[str]:
    """The functions that FreeRADIUS's queries call, as the baseline makes them."""
    return re.findall(r"(?ms)^CREATE FUNCTION aaa_.*?^END \$\$;", (BASELINE / "after.sql").read_text())


@dataclass
class BarePostgres:
    """Its data is in `home`; the superuser is `owner`, trusted on the socket in `home`."""

    home: Path
    port: int
    options: str = ""
    _user: ServiceUser | None = field(default_factory=service_user)

    def create(self, *initdb_options: str) -> None:
        self.home.chmod(0o755)
        if self._user is not None:
            shutil.chown(self.home, self._user.uid, self._user.gid)
        self._run("initdb", "-U", "owner", "-N", "-E", "UTF8", "--locale=C", *initdb_options)

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.home} -c fsync=off {self.options}"
        self._run("pg_ctl", "-w", "-l", "log", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def dsn(self, role: str) -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/postgres"

    def _run(self, program: str, *arguments: str) -> None:
        user = self._user
        subprocess.run(
            [binaries(user) / program, "-D", self.home / "data", *arguments],
            user=user and user.uid,
            group=user and user.gid,
            extra_groups=[] if user else None,
            cwd=self.home,
            env={"LC_ALL": "C"},
            check=True,
            timeout=60,
            stdout=subprocess.DEVNULL,
        )
