"""What every request needs from the process that serves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Database
from demarc.kernel.settings import Settings
from demarc.modules.identity.service import Tokens


class ProcessState(Protocol):
    """One process that a supervisor keeps on this machine, as it was last noted."""

    @property
    def state(self) -> str:
        """waiting, starting, ready, unready, backoff, done or stopped."""

    @property
    def restarts(self) -> int: ...


ProcessReader = Callable[[], Mapping[str, ProcessState]]


@dataclass(frozen=True, slots=True)
class SandboxLogin:
    """A sandbox tenant and who logs in to it. Its password is printed in the documents: a sandbox is open by design."""

    tenant: str
    name: str
    username: str
    password: str


def unsupervised() -> Mapping[str, ProcessState]:
    """A process that runs by itself knows of no others."""
    return {}


@dataclass(frozen=True, slots=True)
class Platform:
    """Made once by bootstrap, carried by the application."""

    settings: Settings
    database: Database
    master_key: MasterKey
    tokens: Tokens
    processes: ProcessReader = unsupervised
    sandbox_logins: tuple[SandboxLogin, ...] = ()
