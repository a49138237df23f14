"""`deploy/setup/fno.sh`: every way through it, on a PATH of our own, with the installer's part played by a recorder.

What the installer itself does: server/tests/platform_ops/test_setup_scripts.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "deploy" / "setup"
INSTALLER = """#!/bin/sh
echo "$@" >>"$RECORD"
[ -n "$WORKS" ] || exit 100
cd "$FNO_ROOT"
mkdir -p usr/sbin usr/lib/dovecot usr/lib/any-linux
for one in bin/chromium usr/sbin/dovecot usr/lib/dovecot/imap usr/lib/any-linux/libatomic.so.1; do
    printf '#!/bin/sh\n' >"$one" && chmod 755 "$one"
done
"""
INSTALLED = ("bin/chromium", "usr/sbin/dovecot", "usr/lib/dovecot/imap", "usr/lib/any-linux/libatomic.so.1")
PACKAGES = "chromium dovecot-imapd libatomic1"


class Machine:
    """A PATH with a shell and nothing else, and a copy of the script beside a recorder named as the installer."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin, self.record = root, root / "bin", root / "record"
        self.bin.mkdir()
        for name in ("sh", "dirname", "mkdir", "chmod", "ls", "grep"):
            (self.bin / name).symlink_to(str(shutil.which(name)))
        shutil.copy(SCRIPTS / "fno.sh", root / "fno.sh")
        self.script = root / "fno.sh"
        self.program("apt-install.sh", INSTALLER, folder=root)

    def program(self, name: str, text: str, folder: Path | None = None) -> None:
        file = (folder or self.bin) / name
        file.write_text(text)
        file.chmod(0o755)

    def run(self, *, works: bool = True) -> subprocess.CompletedProcess[str]:
        env = {"PATH": str(self.bin), "FNO_ROOT": str(self.root), "RECORD": str(self.record)}
        env |= {"WORKS": "yes" if works else ""}
        return subprocess.run(
            [str(self.script)], env=env, capture_output=True, text=True, check=False, timeout=60
        )

    @property
    def asked(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []


@pytest.fixture
def machine(tmp_path) -> Machine:
    made = Machine(tmp_path)
    made.program("apt-get", "#!/bin/sh\nexit 1\n")
    return made


def test_it_installs_once(machine):
    first = machine.run()
    assert (first.returncode, first.stdout) == (0, "")
    assert machine.asked == [PACKAGES]
    again = machine.run()
    assert (again.returncode, again.stderr) == (0, "")
    assert len(machine.asked) == 1


def test_one_that_is_missing_is_enough(machine):
    machine.run()
    for gone in INSTALLED:
        (machine.root / gone).unlink()
        assert machine.run().returncode == 0
    assert machine.asked == [PACKAGES] * 5


def test_installation_that_fails_says_what_to_run(machine):
    told = machine.run(works=False)
    assert told.returncode == 1
    assert f"sudo {machine.script.parent}/apt-install.sh {PACKAGES}" in told.stderr
    assert "tests of the operators' portals and mail fail" in told.stderr


def test_other_systems_are_told_what_to_install(machine):
    (machine.bin / "apt-get").unlink()
    told = machine.run(works=False)
    assert told.returncode == 1
    assert "dnf install chromium libatomic dovecot" in told.stderr


def test_scripts_are_executable():
    assert all(os.access(SCRIPTS / name, os.X_OK) for name in ("fno.sh", "apt-install.sh"))
