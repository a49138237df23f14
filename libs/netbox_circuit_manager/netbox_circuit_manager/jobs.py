"""Background jobs: runs of the sync, their schedule, and the contracts' daily look at the calendar."""

from datetime import datetime, timedelta
from typing import Any

import django_rq
from core.choices import JobIntervalChoices, JobNotificationChoices, JobStatusChoices
from core.exceptions import JobFailed
from core.models import Job, ObjectType
from django.db.models import Q
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
# Until then a new job may not be in the queue yet, and one that began may not have its lock.
_UNSEEN = timedelta(minutes=1)


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
    unfinished = _jobs(config, JobStatusChoices.ENQUEUED_STATE_CHOICES).filter(name=_name(dry_run=dry_run))
    waiting = [job for job in unfinished if not _end_if_lost(job)]
    if waiting and not release:
        return waiting[0]
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


def _end_if_lost(job: Job) -> bool:
    """Ends a job whose worker was killed, or which Redis has lost; NetBox itself would call it unfinished for ever."""
    lost = not (_is_running(job) if job.status == JobStatusChoices.STATUS_RUNNING else _is_queued(job))
    if lost:
        job.terminate(
            status=JobStatusChoices.STATUS_ERRORED,
            error="The job was lost: its worker was stopped, or the queue was emptied",
        )
    return lost


def _is_running(job: Job) -> bool:
    from .sync.engine import is_running  # noqa: PLC0415  # only workers need the providers

    return (job.started or job.created) > timezone.now() - _UNSEEN or is_running(job.object)


def _is_queued(job: Job) -> bool:
    # A job is queued when the transaction that made it is committed.
    if job.created > timezone.now() - _UNSEEN:
        return True
    queued = django_rq.get_queue(job.queue_name).fetch_job(str(job.job_id))
    return queued is not None and not (queued.is_finished or queued.is_failed or queued.is_canceled)


def end_lost_runs() -> None:
    """Ends the jobs and the reports of runs that nobody works on any more."""
    from .sync.engine import end_abandoned_runs, is_running  # noqa: PLC0415  # only workers need the providers

    before = timezone.now() - _UNSEEN
    open_runs = Q(runs__status=SyncStatusChoices.RUNNING, runs__started_at__lt=before)
    for config in ProviderAPIConfig.objects.filter(open_runs).distinct():
        if not is_running(config):
            end_abandoned_runs(config, before)
    object_type = ObjectType.objects.get_for_model(ProviderAPIConfig)
    names = [_name(dry_run=dry_run) for dry_run in (False, True)]
    for job in Job.objects.filter(
        object_type=object_type, name__in=names, status=JobStatusChoices.STATUS_RUNNING
    ):
        _end_if_lost(job)


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
    running = _jobs(config, [JobStatusChoices.STATUS_RUNNING])
    if not all(_end_if_lost(job) for job in running):
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
        end_lost_runs()
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
