from __future__ import annotations

import pytest
import pytest_asyncio

from .post import Desk, Trap, ports_to


@pytest_asyncio.fixture
async def trap(tmp_path):
    """A running mail trap."""
    made = Trap(tmp_path / "mail")
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def desk(database, trap):
    """Runs jobs; mail goes to the trap."""
    return Desk(database, ports_to(trap.mailer))
