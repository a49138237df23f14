"""The only place that joins adapters to ports and surfaces to the domain."""

from __future__ import annotations

from fastapi import FastAPI

from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Database
from demarc.kernel.settings import Settings
from demarc.modules.identity.service import Tokens
from demarc.web.app import create_app
from demarc.web.platform import Platform


def register_everything() -> None:
    """Import what registers itself: event handlers, projections and jobs. Every process that emits or works calls it."""


def build_app(settings: Settings, database: Database, master_key: MasterKey) -> FastAPI:
    """The HTTP application on an open database."""
    return create_app(Platform(settings, database, master_key, Tokens(master_key.derive("access-token"))))
