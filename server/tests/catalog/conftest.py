from __future__ import annotations

import pytest

from demarc.kernel.context import system


@pytest.fixture
def begin(database):
    """Open a transaction of tenant alpha."""
    return lambda: database.begin(1, system("test"))
