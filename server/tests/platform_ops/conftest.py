"""A data directory that the database's user can reach (pytest's own tmp_path is closed to it when we are root)."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from demarc.adapters.postgres.cluster import PrivateCluster
from demarc.adapters.postgres.home import remove_home

from .. import ports  # noqa: TID252 - the suite's own


@pytest.fixture
def data_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="demarc-ops-"))
    path.chmod(0o711)
    yield path
    remove_home(path)
    shutil.rmtree(path)


@pytest.fixture
async def cluster(data_dir: Path) -> AsyncIterator[PrivateCluster]:
    """Not started; stopped afterwards whatever the test did."""
    cluster = PrivateCluster(data_dir)
    yield cluster
    await cluster.stop()


@pytest.fixture
def free_port() -> int:
    return ports.free_port()


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root changes users")
