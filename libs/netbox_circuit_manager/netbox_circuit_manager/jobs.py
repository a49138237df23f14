"""Background jobs: runs of the sync, their schedule, and the contracts' daily look at the calendar."""

from datetime import datetime, timedelta
from typing import Any

from core.choices import JobIntervalChoices, JobNotificationChoices, JobStatusChoices
from core.exceptions import JobFailed
from core.models import Job
from django.utils import timezone
from netbox.jobs import JobRunner, system_job
from netbox.plugins import get_plugin_config

from .choices import SyncModeChoices, SyncStatusChoices
from .models import ProviderAPIConfig, ProviderSyncRun
from .reminders import refresh_dates, send_reminders

_PLUGIN = "netbox_circuit_manager"
_SCHEDULE_MINUTES = 15
# The shortest interval is an hour, so this never delays a run after a success.
_AFTER_FAILURE = timedelta(minutes=55)


class SyncProviderJob(JobRunner):
    """One run of a config's sync; its log and its report say what happened."""

    class Meta:
        name = "Provider sync"

    def run(
        self, *, dry_run: bool = False, full: bool = False, release: bool = False, **_kwargs: Any
    ) -> None:
        # Here, as providers of other packages may be slow to import, and only workers need them.
        from .sync.engine import run_sync  # noqa: PLC0415

        config = ProviderAPIConfig.objects.get(pk=self.job.object_id)
        mode = SyncModeChoices.FULL if full or release else None
        result = run_sync(
            config,
            mode=mode,
            dry_run=dry_run,
            accept=release,
            user=self.job.user,
            job=self.job,
            log=self.logger,
        )
        self.job.data = {"run": result.run.pk, "status": result.status, "counts": result.run.counts}
        self.logger.info("%s: %s", result.run.get_status_display(), result.run.counts)
        prune_runs(config)
        if result.status in (SyncStatusChoices.FAILED, SyncStatusChoices.HELD):
            raise JobFailed


def enqueue_sync(
    config: ProviderAPIConfig,
    *,
    user: Any = None,
    dry_run: bool = False,
    full: bool = False,
    release: bool = False,
) -> Job:
    """Queues a run. A run of the same kind that still waits is returned instead of queuing a second one."""
    waiting = (
        _jobs(config, JobStatusChoices.ENQUEUED_STATE_CHOICES).filter(name=_name(dry_run=dry_run)).first()
    )
    if waiting is not None and not release:
        return waiting
    return SyncProviderJob.enqueue(
        instance=config,
        name=_name(dry_run=dry_run),
        user=user,
        # The schedule has nobody to tell; a person's own runs are told to that person by NetBox.
        notifications=JobNotificationChoices.NOTIFICATION_ALWAYS
        if user
        else JobNotificationChoices.NOTIFICATION_NEVER,
        job_timeout=get_plugin_config(_PLUGIN, "sync_job_timeout"),
        dry_run=dry_run,
        full=full,
        release=release,
    )


def _name(*, dry_run: bool) -> str:
    return "Provider sync preview" if dry_run else SyncProviderJob.name


def _jobs(config: ProviderAPIConfig, statuses: Any) -> Any:
    return config.jobs.filter(status__in=statuses)


def enqueue_due_syncs() -> list[Job]:
    """Queues a run of every enabled config whose interval is over and of which none waits or runs."""
    if not get_plugin_config(_PLUGIN, "enable_provider_sync"):
        return []
    now = timezone.now()
    # What was held waits for a person.
    enabled = ProviderAPIConfig.objects.filter(sync_enabled=True).exclude(sync_status=SyncStatusChoices.HELD)
    return [enqueue_sync(config) for config in enabled if config.is_due(now) and not _rests(config, now)]


def _rests(config: ProviderAPIConfig, now: datetime) -> bool:
    """Whether a run is going on, or one that failed is too fresh to ask the carrier again."""
    # A worker that was killed leaves its job "running" for ever; after its timeout it holds nothing up.
    stale = now - timedelta(seconds=get_plugin_config(_PLUGIN, "sync_job_timeout"))
    if _jobs(config, [JobStatusChoices.STATUS_RUNNING]).filter(started__gt=stale).exists():
        return True
    return config.runs.filter(dry_run=False, started_at__gt=now - _AFTER_FAILURE).exists()


def prune_runs(config: ProviderAPIConfig) -> None:
    """Keeps the newest reports of a config, as many as the setting says."""
    keep = get_plugin_config(_PLUGIN, "keep_sync_runs")
    newest = config.runs.order_by("-started_at", "-pk").values("pk")[:keep]
    ProviderSyncRun.objects.filter(config=config).exclude(
        pk__in=list(newest.values_list("pk", flat=True))
    ).delete()


@system_job(interval=_SCHEDULE_MINUTES)
class ScheduleSyncsJob(JobRunner):
    """Looks which configs are due and queues their runs."""

    class Meta:
        name = "Provider sync schedule"

    def run(self, *_args: Any, **_kwargs: Any) -> None:
        for job in enqueue_due_syncs():
            self.logger.info("Queued job #%s: %s", job.pk, job.object)


@system_job(interval=JobIntervalChoices.INTERVAL_DAILY)
class ContractRemindersJob(JobRunner):
    """Moves contract dates on and sends reminders."""

    class Meta:
        name = "Circuit contract reminders"

    def run(self, *_args: Any, **_kwargs: Any) -> None:
        today = timezone.localdate()
        self.logger.info("%s contracts moved on to their next term", refresh_dates(today))
        self.logger.info("Reminders sent for %s contracts", send_reminders(today))
