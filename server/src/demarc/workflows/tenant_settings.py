"""A tenant's own choice changes, and with it what FreeRADIUS answers to its subscribers."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Tx
from demarc.kernel.jobs import Work, defer, job
from demarc.modules.access.service import rebuild_logins
from demarc.modules.tenants.service import change_settings

DECIDES_LOG_INS = frozenset({"chap_enabled", "suspended_policy", "garden"})


class RebuildLogins(msgspec.Struct, frozen=True):
    """Every log-in of the tenant, as its settings are when the job runs."""


@job("tenant.rebuild_logins", RebuildLogins)
async def rebuild_tenant(work: Work, _payload: RebuildLogins) -> None:
    """Write the projections anew; live sessions are told."""
    async with work.begin() as tx:
        await rebuild_logins(tx, work.port(MasterKey))


async def set_for_tenant(tx: Tx, choices: Mapping[str, object]) -> None:
    """Change settings; log-ins follow by a job where one of them decides about them. None gives a setting up.

    Raises:
        Invalid: there is no such setting, or it cannot have this value.
    """
    await change_settings(tx, choices)
    if DECIDES_LOG_INS & choices.keys():
        await defer(tx, rebuild_tenant, RebuildLogins())
