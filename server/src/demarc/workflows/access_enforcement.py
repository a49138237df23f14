"""Sessions that should not be live are cut, used-up data has its consequences: at once, and by a sweep for the rest."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from demarc.kernel.context import system
from demarc.kernel.db import Database
from demarc.kernel.errors import Conflict, Forbidden, Unavailable
from demarc.kernel.jobs import Work
from demarc.kernel.logs import logger
from demarc.modules.access.service import enforce_access, forget_deleted_logins, lapse_policies
from demarc.workflows.data_caps import queue_crossings
from demarc.workflows.metering.ingester import Committed

_LOG = logger(__name__)
_ACTOR = system("access enforcement")


async def enforce_tenant(work: Work) -> int:
    """The sweep over one tenant: policies whose time is over, used-up data, session limits, refused log-ins, deleted subscribers.

    How many sessions it cut.
    """
    async with work.begin() as tx:
        await lapse_policies(tx)
        await queue_crossings(tx)
    async with work.begin() as tx:
        cut = await enforce_access(tx)
        await forget_deleted_logins(tx)
    return cut


class PromptEnforcer:
    """Looks at those who came on line in a committed block, and at used-up data, beside the ingester: loading never waits for it.

    What it misses (the database goes away, the process ends) the sweep finds.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._touched: dict[int, set[int]] = defaultdict(set)
        self._something = asyncio.Event()

    async def take(self, committed: Committed) -> None:
        """Remember whom a block was about."""
        for tenant_id, subscriber_ids in committed.touched.items():
            self._touched[tenant_id] |= subscriber_ids
        self._something.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            waiting = asyncio.create_task(self._something.wait())
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            self._something.clear()
            touched, self._touched = self._touched, defaultdict(set)
            for tenant_id, subscriber_ids in touched.items():
                await self._enforce(tenant_id, sorted(subscriber_ids))

    async def _enforce(self, tenant_id: int, subscriber_ids: list[int]) -> None:
        try:
            async with self._database.begin(tenant_id, _ACTOR) as tx:
                await queue_crossings(tx)
                await enforce_access(tx, subscriber_ids)
        except (Unavailable, Conflict, Forbidden) as error:
            _LOG.warning("left to the sweep", tenant_id=tenant_id, reason=error.message)
