"""The scripts behind the Makefile, and what must stay true of a clean checkout."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from demarc.adapters.postgres.cluster import PrivateCluster

CHECKOUT = Path(__file__).parents[3]


def run(*argv: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=CHECKOUT,
        env=os.environ | env,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


class Machine:
    """A PATH of our own for apt-install.sh: an apt-get that writes down what it is asked, and fails as often as told."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin, self.asked_of = root, root / "bin", root / "asked"
        self.policy = root / "usr" / "sbin" / "policy-rc.d"
        self.bin.mkdir()
        self.policy.parent.mkdir(parents=True)
        for name in ("sh", "dirname", "mktemp", "mv", "rm", "chmod", "sleep", "flock", "cat", "true"):
            (self.bin / name).symlink_to(str(shutil.which(name)))
        self.program("id", "echo 0")
        self.program(
            "apt-get",
            'echo "$@" >>"$SETUP_ROOT/asked"; cat "$SETUP_ROOT/usr/sbin/policy-rc.d" >"$SETUP_ROOT/policy"',
            'case "$*" in *update*) exit 0 ;; esac',
            "read -r left <$SETUP_ROOT/failures",
            '[ "$left" = 0 ] || { echo $((left - 1)) >$SETUP_ROOT/failures; exit 100; }',
        )

    def program(self, name: str, *lines: str) -> None:
        file = self.bin / name
        file.unlink(missing_ok=True)
        file.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        file.chmod(0o755)

    def install(self, failures: int = 0) -> subprocess.CompletedProcess[str]:
        (self.root / "failures").write_text(f"{failures}\n")
        env = {"PATH": str(self.bin), "SETUP_ROOT": str(self.root), "SETUP_PAUSE": "0"}
        argv = [CHECKOUT / "deploy" / "setup" / "apt-install.sh", "one", "two"]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)

    @property
    def installs(self) -> list[str]:
        """The packages of each call to install."""
        asked = self.asked_of.read_text().splitlines() if self.asked_of.exists() else []
        return [line.partition("--no-install-recommends ")[2] for line in asked if " install " in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("policy", [None, "#!/bin/sh\nexit 0\n"])
def test_root_installs_and_no_service_is_started(machine: Machine, policy: str | None):
    if policy:
        machine.policy.write_text(policy)
    done = machine.install()
    assert (done.returncode, machine.installs) == (0, ["one two"])
    assert "Installing one two" in done.stderr
    assert "exit 101" in (machine.root / "policy").read_text()
    assert (machine.policy.read_text() if machine.policy.exists() else None) == policy


def test_a_mirror_that_fails_is_asked_again_and_not_for_ever(machine: Machine):
    assert machine.install(failures=3).returncode == 0
    assert machine.installs == ["one two"] * 4
    machine.asked_of.unlink()
    failed = machine.install(failures=99)
    assert failed.returncode == 1
    assert "could not install one two" in failed.stderr
    assert machine.installs == ["one two"] * 4
    assert not machine.policy.exists()


def test_others_install_by_sudo_without_a_question(machine: Machine):
    machine.program("id", "read -r uid <$SETUP_ROOT/uid; echo $uid")
    (machine.root / "uid").write_text("1000\n")
    machine.program("sudo", '[ "$1" = -n ] || exit 9; shift', "echo 0 >$SETUP_ROOT/uid", 'exec "$@"')
    assert machine.install().returncode == 0
    assert machine.installs == ["one two"]


@pytest.mark.parametrize("sudo", ["", "exit 1"])
def test_without_rights_nothing_is_tried(machine: Machine, sudo: str):
    machine.program("id", "echo 1000")
    if sudo:
        machine.program("sudo", sudo)
    assert machine.install().returncode == 1
    assert machine.installs == []


def test_other_systems_are_left_to_the_caller(machine: Machine):
    (machine.bin / "apt-get").unlink()
    done = machine.install()
    assert (done.returncode, done.stderr) == (1, "")


def test_what_a_registry_refuses_once_is_asked_for_again(tmp_path: Path):
    counting = 'echo x >>"$0"; [ "$(wc -l <"$0")" -ge "$1" ]'
    again = CHECKOUT / "deploy" / "setup" / "again.sh"
    for enough, status in ((1, 0), (3, 0), (4, 1)):
        calls = tmp_path / f"{enough}"
        done = run(again, "sh", "-c", counting, calls, str(enough), SETUP_PAUSE="0")
        assert (done.returncode, len(calls.read_text().splitlines())) == (status, min(enough, 3))


def reset(data_dir: Path) -> subprocess.CompletedProcess[str]:
    return run("deploy/setup/reset.sh", DEMARC_DATA_DIR=str(data_dir))


async def test_reset_refuses_a_running_platform_and_deletes_a_stopped_one(data_dir: Path):
    own = data_dir / "own"
    cluster = PrivateCluster(own)
    await cluster.start()
    try:
        refused = reset(own)
        assert refused.returncode == 1
        assert f"pid {os.getpid()}" in refused.stderr
        assert await cluster.probe()
    finally:
        await cluster.stop()
    assert reset(own).returncode == 0
    assert not own.exists()


def test_reset_deletes_nothing_that_is_not_ours(tmp_path: Path):
    (tmp_path / "letters.txt").write_text("dear")
    assert reset(tmp_path).returncode == 1
    assert (tmp_path / "letters.txt").exists()


def test_reset_follows_no_link_out_of_the_state_directory(tmp_path: Path):
    letters, data = tmp_path / "letters", tmp_path / "data"
    letters.mkdir()
    data.mkdir()
    (data / "postgres").symlink_to(letters)
    assert reset(data).returncode == 0
    assert letters.exists()


def test_make_alone_explains_every_target():
    told = run("make").stdout
    targets = re.search(r"^\.PHONY: (.*)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    for target in set(targets[1].split()) - {"packages", "user", "radius"}:
        assert re.search(rf"^  make {target} +\w", told, re.MULTILINE), target


def test_a_run_without_any_test_is_a_failure():
    """Exit code 5 of pytest; a CI that ran nothing must not be green."""
    done = run(
        "make", "test", "ARGS=-q --collect-only -k no_test_has_this_name server/tests/kernel/test_money.py"
    )
    assert done.returncode != 0
    assert "Error 5" in done.stderr, done.stdout + done.stderr


def test_the_lock_file_names_no_private_index():
    hosts = set(re.findall(r"https?://[^/\"]+", (CHECKOUT / "uv.lock").read_text()))
    assert hosts == {"https://pypi.org", "https://files.pythonhosted.org"}
