"""Refusals of dunning with codes of their own."""

from __future__ import annotations

from demarc.kernel.errors import Conflict


class Excluded(Conflict):
    """A rule of the campaign leaves this customer alone."""

    code = "DUNNING_EXCLUDED"


class AlreadyRunning(Conflict):
    """The subscription has an execution that has not ended."""

    code = "DUNNING_ALREADY_RUNNING"


class NothingOverdue(Conflict):
    """There is no debt to collect."""

    code = "NOTHING_OVERDUE"


class CampaignInUse(Conflict):
    """Executions of the campaign are running."""

    code = "CAMPAIGN_IN_USE"


class CampaignInactive(Conflict):
    """The campaign is switched off."""

    code = "CAMPAIGN_INACTIVE"
