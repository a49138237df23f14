"""The scripts behind the Makefile, and what must stay true of a clean checkout."""

import os
import re
import subprocess
from pathlib import Path

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
    assert (
        run("make", "test", "ARGS=-q --collect-only -k no_test_has_this_name server/tests/guards").returncode
        != 0
    )


def test_the_lock_file_names_no_private_index():
    hosts = set(re.findall(r"https?://[^/\"]+", (CHECKOUT / "uv.lock").read_text()))
    assert hosts == {"https://pypi.org", "https://files.pythonhosted.org"}
