"""The report of a run, written as the run goes so that it costs no memory: changes, what was not synced and why."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from ..choices import SyncStatusChoices
from ..models import ProviderSyncRun, SyncIssue
from ..providers.errors import HeldForReview, ProviderError
from ..providers.records import make_storable
from .changes import Change, Edit, store_changes

if TYPE_CHECKING:
    from circuits.models import Circuit

logger = logging.getLogger("netbox.plugins.netbox_circuit_manager.sync")

# What `sync_all()` returns as errors; the run's page has them all.
ERRORS_RETURNED = 100


@dataclass(slots=True)
class RunResult:
    """How a run ended. `total` are the circuits that the carrier listed, `success` those now as it says."""

    run: ProviderSyncRun
    errors: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """One of `SyncStatusChoices`."""
        return str(self.run.status)

    def as_result(self) -> dict[str, Any]:
        """The guide's dictionary: `{total, success, failed, errors}`."""
        counts = self.run.counts
        return {
            **{name: counts.get(name, 0) for name in ("total", "success", "failed")},
            "errors": self.errors,
        }


class Report:
    """Collects what happens and writes it batch by batch."""

    def __init__(
        self, run: ProviderSyncRun, log: logging.Logger | logging.LoggerAdapter[Any] | None = None
    ) -> None:
        self.run = run
        self.log = log or logger
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self._changes: list[Change] = []
        self._issues: list[SyncIssue] = []

    def changed(self, edits: list[Edit]) -> None:
        """Notes objects that were written."""
        for edit in edits:
            self.counts["created" if edit.created else "updated"] += 1
            self._changes += edit.describe()

    def noted(self, change: Change) -> None:
        """Notes a change that is no field of an object of ours."""
        self._changes.append(change)

    def refused(self, subject: str, code: str, reason: str, circuit: "Circuit | None" = None) -> None:
        """Notes what was not synced."""
        subject, reason = make_storable(subject), make_storable(reason)
        self.counts["issues"] += 1
        self._issues.append(SyncIssue(circuit=circuit, subject=subject[:200], code=code, reason=reason))
        sentence = f"{subject}: {reason}"
        self.log.warning(sentence)
        if len(self.errors) < ERRORS_RETURNED:
            self.errors.append(sentence)

    def flush(self) -> None:
        """Writes what was collected since the last call; outside of any transaction that may be rolled back."""
        store_changes(self.run, self._changes)
        for issue in self._issues:
            issue.run = self.run
        SyncIssue.objects.bulk_create(self._issues)
        self._changes, self._issues = [], []

    def finish(self, error: ProviderError | None = None) -> RunResult:
        """Closes the report and returns the result."""
        if error is not None:
            self.run.error = str(error)
            self.log.error(str(error))
            self.errors.insert(0, str(error))
        self.flush()
        self.run.status = self._status(error)
        self.run.counts = {name: self.counts[name] for name in ("total", "success", "failed")} | dict(
            self.counts
        )
        self.run.finished_at = timezone.now()
        self.run.save()
        return RunResult(self.run, self.errors)

    def _status(self, error: ProviderError | None) -> str:
        if isinstance(error, HeldForReview):
            return str(SyncStatusChoices.HELD)
        written = self.counts["success"] > 0
        if error is not None:
            return str(SyncStatusChoices.PARTIAL if written else SyncStatusChoices.FAILED)
        if not self.counts["issues"]:
            return str(SyncStatusChoices.SUCCESS)
        return str(
            SyncStatusChoices.PARTIAL if written or not self.counts["failed"] else SyncStatusChoices.FAILED
        )
