"""Debian's PostgreSQL 15: the oldest version that Demarc runs on, and the old one of an upgrade."""

from pathlib import Path

from demarc.adapters.postgres.cluster import OWNER_ROLE, PrivateCluster

MAJOR = "15"
BIN = Path(f"/usr/lib/postgresql/{MAJOR}/bin")
INSTALLED = (BIN / "initdb").exists()
MISSING = f"PostgreSQL {MAJOR} is not installed here (apt-get install postgresql-{MAJOR})"


class DebianCluster(PrivateCluster):
    """A cluster of that version, with that version's collation provider."""

    _bin = BIN  # type: ignore[assignment]

    def _check_version(self, found: str) -> None:
        assert found == MAJOR

    async def _initdb(self, fresh: Path, password_file: Path) -> None:
        access = ["--auth=scram-sha-256", f"--username={OWNER_ROLE}", f"--pwfile={password_file}"]
        await self._run_to_end(
            [BIN / "initdb", f"--pgdata={fresh}", "--encoding=UTF8", "--locale=C", "--no-sync", *access]
        )
