"""What every request needs from the process that serves it."""

from __future__ import annotations

from dataclasses import dataclass

from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Database
from demarc.kernel.settings import Settings
from demarc.modules.identity.service import Tokens


@dataclass(frozen=True, slots=True)
class Platform:
    """Made once by bootstrap, carried by the application."""

    settings: Settings
    database: Database
    master_key: MasterKey
    tokens: Tokens
