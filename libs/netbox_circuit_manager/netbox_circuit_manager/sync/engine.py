"""One run of a sync: ask, check, write, report. The only door to it for jobs, views, commands and providers.

    result = run_sync(config, dry_run=True, user=request.user)   # result.run is the report
    run_provider(provider)                                        # the same with a provider at hand

A run raises nothing that a carrier can cause: the report says what went wrong. It never holds a transaction open while
it waits for the carrier: a list is read to its end first, then written batch by batch.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from circuits.models import Circuit
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone
from django_pg_utils import advisory_lock

from ..choices import SyncModeChoices, SyncStatusChoices, VanishedCircuitChoices
from ..models import CarrierCircuit, ProviderAPIConfig, ProviderSyncRun
from ..providers.ahead import Outcome, work_ahead
from ..providers.base import BaseProviderSync, setting
from ..providers.carrier import CarrierProviderSync
from ..providers.errors import AlreadyRunning, ConfigurationError, ProviderError, RowRefused
from ..providers.registry import provider_registry
from . import vanished
from .charges import write_charges
from .circuits import match_records, write_circuits
from .legacy import LegacyRow, sync_rows
from .listing import Listing
from .matching import Keys, candidates
from .report import Report, RunResult
from .silence import Silence
from .tickets import close_vanished, write_tickets
from .watched import Watched
from .writer import ChangeContext, Writer

if TYPE_CHECKING:
    from core.models import Job

    from ..providers.records import CircuitRecord

# The first half of the advisory lock that keeps runs of one configuration apart; the second is its key.
LOCK_SPACE = 7_203_214
DEFAULT_BATCH = 500
# A delta begins a day early: carriers' clocks and time zones differ from ours.
OVERLAP = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run goes.

    Args:
        mode: `full` or `delta`; None lets the configuration's intervals decide.
        dry_run: everything is computed, shown and rolled back.
        circuit: only this circuit is synced.
        accept: a person accepts an empty list or one that shrank.
    """

    mode: str | None = None
    dry_run: bool = False
    circuit: Circuit | None = None
    accept: bool = False


def run_sync(
    config: ProviderAPIConfig,
    *,
    mode: str | None = None,
    dry_run: bool = False,
    circuit: Circuit | None = None,
    accept: bool = False,
    provider: Any = None,
    user: Any = None,
    job: "Job | None" = None,
    log: logging.Logger | logging.LoggerAdapter[Any] | None = None,
) -> RunResult:
    """Runs one sync of a configuration and returns its report; what a carrier causes is in it, not raised.

    `provider` is the one to use, where the caller has built it already.
    """
    options = RunOptions(mode=mode, dry_run=dry_run, circuit=circuit, accept=accept)
    build = (lambda: provider) if provider is not None else (lambda: build_provider(config))
    return _reported(config, options, build, user=user, job=job, log=log)


def run_provider(provider: Any, *, dry_run: bool = False, user: Any = None) -> RunResult:
    """Runs a full sync with a provider at hand."""
    return run_sync(provider.config, mode=SyncModeChoices.FULL, dry_run=dry_run, provider=provider, user=user)


def build_provider(config: ProviderAPIConfig) -> Any:
    """The provider of a configuration. Raises `ConfigurationError` for a type that nobody registered."""
    from .. import providers  # noqa: F401, PLC0415 - registers the shipped ones

    provider_class = provider_registry.get(config.provider_type)
    if provider_class is None:
        known = ", ".join(provider_registry.names())
        raise ConfigurationError(
            f"Provider type {config.provider_type} not found in registry; there are {known}"
        )
    return provider_class(config)


def write_costs(provider: Any, circuit: Circuit, record: "CircuitRecord") -> bool:
    """Writes one circuit's costs of a shipped provider: the guide's `sync_circuit_costs`."""
    run = ProviderSyncRun(config=provider.config)
    report = Report(run)
    writer = Writer(ChangeContext(system_user()))
    with writer.context.transaction():
        found, matcher = match_records(provider.config, [record], report, only=circuit)
        write_circuits(writer, report, provider.config, found, matcher)
    return bool(report.counts["success"]) and not report.errors


def system_user() -> Any:
    """Who the change log names for runs that nobody started: an account that cannot log in."""
    name = setting("sync_username", "circuit-manager")
    user, created = get_user_model().objects.get_or_create(username=name, defaults={"is_active": False})
    if created:
        user.set_unusable_password()
        user.save()
    return user


def _reported(
    config: ProviderAPIConfig,
    options: RunOptions,
    build: Callable[[], Any],
    *,
    user: Any,
    job: "Job | None",
    log: logging.Logger | logging.LoggerAdapter[Any] | None,
) -> RunResult:
    """A run from its first row of the report to its last."""
    mode = options.mode or choose_mode(config, build)
    run = ProviderSyncRun.objects.create(config=config, job=job, mode=mode, dry_run=options.dry_run)
    report = Report(run, log)
    error: ProviderError | None = None
    try:
        with _alone(config):
            end_abandoned_runs(config, before=run.started_at)
            provider = build()
            if not _runs_itself(provider):
                candidates(config)
            context = ChangeContext(user or system_user(), dry_run=options.dry_run)
            _Run(provider, options, report, context).execute()
    except ProviderError as caught:
        error = caught
    except BaseException:
        # A bug, a worker's time limit: it is raised on, but the report must not stay open.
        report.finish(ProviderError("The run was broken off; the log has the reason"))
        _note(config, run)
        raise
    result = report.finish(error)
    if not isinstance(error, AlreadyRunning):
        _note(config, run)
    return result


@contextmanager
def _alone(config: ProviderAPIConfig) -> Iterator[None]:
    with advisory_lock(_lock_of(config), wait=False) as acquired:
        if not acquired:
            raise AlreadyRunning("Another run of this configuration has not ended; try again when it has")
        yield


def _lock_of(config: ProviderAPIConfig) -> tuple[int, int]:
    return LOCK_SPACE, config.pk % 2**31


def is_running(config: ProviderAPIConfig) -> bool:
    """Whether a run of the configuration is going on now; a process that was killed holds no lock."""
    # Looked up, not tried: a lock taken for a moment would turn away a run that begins in it.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database "
            "WHERE datname = current_database() AND locktype = 'advisory' AND objsubid = 2 AND granted "
            "AND classid = %s AND objid = %s)",
            _lock_of(config),
        )
        return bool(cursor.fetchone()[0])


def end_abandoned_runs(config: ProviderAPIConfig, before: datetime) -> None:
    """Closes the reports of runs whose process was killed; the caller knows that none begun before is going on."""
    open_runs = config.runs.filter(status=SyncStatusChoices.RUNNING, started_at__lt=before)
    for run in open_runs.order_by("started_at", "pk"):
        run.status = SyncStatusChoices.FAILED
        run.error = (
            "The run ended without a word: its process was stopped. What it had written until then stays"
        )
        run.finished_at = timezone.now()
        run.save()
        _note(config, run)


def choose_mode(config: ProviderAPIConfig, build: Callable[[], Any]) -> str:
    """Delta where the carrier offers it and the last full run is recent enough, full otherwise."""
    try:
        provider = build()
        able = isinstance(provider, CarrierProviderSync) and provider.supports_delta
    except ProviderError:
        return str(SyncModeChoices.FULL)
    full, last = config.last_full_sync, config.last_sync
    if not able or full is None or last is None:
        return str(SyncModeChoices.FULL)
    now = timezone.now()
    if now - full >= timedelta(hours=config.full_sync_interval_hours):
        return str(SyncModeChoices.FULL)
    longest = provider.longest_delta_days
    if longest is not None and now - last >= timedelta(days=longest) - OVERLAP:
        return str(SyncModeChoices.FULL)
    return str(SyncModeChoices.DELTA)


def _note(config: ProviderAPIConfig, run: ProviderSyncRun) -> None:
    """Keeps on the configuration how its last run went; a preview or a single circuit leave no trace there."""
    if run.dry_run or "single" in run.counts:
        return
    values: dict[str, Any] = {"sync_status": run.status, "sync_message": run.error}
    if run.status in (SyncStatusChoices.SUCCESS, SyncStatusChoices.PARTIAL) and not run.error:
        values["last_sync"] = run.started_at
        if run.mode == SyncModeChoices.FULL:
            values["last_full_sync"] = run.started_at
    ProviderAPIConfig.objects.filter(pk=config.pk).update(**values)
    for name, value in values.items():
        setattr(config, name, value)


class _Run:
    """The steps of a run."""

    def __init__(self, provider: Any, options: RunOptions, report: Report, context: ChangeContext) -> None:
        self.provider = provider
        self.config: ProviderAPIConfig = report.run.config
        self.options = options
        self.report = report
        self.writer = Writer(context)
        self.watched = Watched(provider)
        self.batch = int(setting("sync_batch_size", DEFAULT_BATCH))
        self.full = report.run.mode == SyncModeChoices.FULL
        self.silence = Silence()

    def execute(self) -> None:
        """Raises `ProviderError` when the run as a whole could not go on; what was written until then stays."""
        self.report.log.info("Authenticating")
        self.watched.authenticate()
        if isinstance(self.provider, CarrierProviderSync):
            self._circuits()
            self._section("tickets", self.provider.publishes_tickets, self._tickets)
            self._section("charges", self.provider.publishes_charges, self._charges)
        elif _runs_itself(self.provider):
            self._own_run()
        else:
            self._legacy()
        if self.options.circuit is not None:
            self._finish_single(self.options.circuit)

    def _finish_single(self, circuit: Circuit) -> None:
        counts = self.report.counts
        counts["single"] = 1
        counts["total"] = counts["success"] + counts["failed"]
        if not counts["total"]:
            counts["total"] = counts["failed"] = 1
            self.report.refused(circuit.cid, "not_listed", "the carrier does not list it", circuit)

    # Circuits of shipped providers

    def _circuits(self) -> None:
        with Listing(self.provider.identify, self.provider.name_of) as listing:
            if not self._list_one(listing):
                listing.read(self.provider.list_circuits(self._since()))
                self._check(listing)
            self.report.log.info("The carrier lists %s circuits", listing.count)
            self.report.counts["total"] = listing.count
            threads = self.provider.threads if self.provider.needs_details else 1
            read = partial(self._read_row, repeated=listing.repeated)
            with closing(work_ahead(read, listing.batches(self.batch), threads)) as batches:
                for batch in batches:
                    self._circuit_batch(batch, listing)
            self._vanished(listing)

    def _list_one(self, listing: Listing) -> bool:
        """A single circuit that earlier runs know is asked for by its id; there is no list then."""
        if self.options.circuit is None:
            return False
        mapping = CarrierCircuit.objects.filter(config=self.config, circuit=self.options.circuit).first()
        if mapping is None:
            return False
        listing.add(self.provider.get_circuit_details(mapping.carrier_id))
        return True

    def _circuit_batch(self, batch: "list[Outcome[Any, CircuitRecord]]", listing: Listing) -> None:
        records = self._read_rows(batch, listing)
        with self.writer.context.transaction():
            found, matcher = match_records(self.config, records, self.report, self.options.circuit)
            write_circuits(self.writer, self.report, self.config, found, matcher)
            if self.options.dry_run:
                self.writer.context.identified |= {each.record.carrier_id: each.circuit.pk for each in found}
            self._apply_states(found)
        self.report.flush()

    def _read_rows(
        self, batch: "list[Outcome[Any, CircuitRecord]]", listing: Listing
    ) -> "list[CircuitRecord]":
        """Details and conversion, outside any transaction; a row that fails is reported."""
        records = []
        for row, read in batch:
            try:
                records.append(read())
            except ProviderError as error:
                self._refuse_row(row, error)
            else:
                self.silence.answered()
        return self._without_shared_names(records, listing.shared)

    def _refuse_row(self, row: Any, error: ProviderError) -> None:
        if self.options.circuit is None:
            key = self.provider.identify(row) if isinstance(row, dict) else ""
            self.report.counts["failed"] += 1
            self.report.refused(key or "a circuit without id", error.code, str(error))
        self.silence.failed(error)

    def _read_row(self, row: Any, repeated: set[str]) -> "CircuitRecord":
        if not isinstance(row, dict):
            raise RowRefused("a row of the list is not an object")
        if self.provider.identify(row) in repeated:
            raise RowRefused("the carrier lists this id twice, with different data", "id")
        complete = self.provider.details_of(row) if self.provider.needs_details else row
        try:
            record: CircuitRecord = self.provider.read_circuit(complete)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise RowRefused(f"has an unexpected shape ({type(error).__name__})") from error
        return record

    def _without_shared_names(
        self, records: "list[CircuitRecord]", listed: set[str]
    ) -> "list[CircuitRecord]":
        """Two rows that call themselves by one circuit ID cannot both be it: neither is written."""
        owners: dict[str, set[str]] = {}
        for record in records:
            if record.cid:
                owners.setdefault(record.cid, set()).add(record.carrier_id)
        shared = listed | {cid for cid, ids in owners.items() if len(ids) > 1}
        for record in records:
            if record.cid in shared:
                self.report.counts["failed"] += 1
                reason = "the carrier calls more than one of its circuits by this circuit ID"
                self.report.refused(f"{record.label} ({record.carrier_id})", "row_refused", reason)
        return [record for record in records if record.cid not in shared]

    def _apply_states(self, found: list[Any]) -> None:
        ended = [each.circuit.pk for each in found if each.record.state == "ended"]
        if ended:
            vanished.apply_policy(self.writer, self.report, self.config, ended, vanished.ENDED)
        if self.config.vanished_circuits == VanishedCircuitChoices.FLAG:
            listed = [each.circuit.pk for each in found if each.record.state != "ended"]
            vanished.unflag(self.report, listed)

    def _check(self, listing: Listing) -> None:
        if self.full and self.options.circuit is None and not self.options.accept:
            listing.check_size(self._previous_total())

    def _vanished(self, listing: Listing) -> None:
        if not self.full or self.options.circuit is not None:
            return
        if listing.without_key:
            reason = f"{listing.without_key} rows have no id, so it is not known which circuits are missing"
            self.report.refused("vanished circuits", "skipped", reason)
            return
        certain = isinstance(self.provider, CarrierProviderSync) and bool(self.provider.announces_total)
        listed = set(listing.keys)
        vanished.handle_vanished(self.writer, self.report, self.config, listed, self.batch, certain=certain)

    def _previous_total(self) -> int | None:
        """How many circuits the last full run saw."""
        usable = (SyncStatusChoices.SUCCESS, SyncStatusChoices.PARTIAL)
        runs = ProviderSyncRun.objects.filter(
            config=self.config,
            dry_run=False,
            mode=SyncModeChoices.FULL,
            status__in=usable,
            counts__total__gt=0,
        )
        last = runs.exclude(counts__has_key="single").order_by("-started_at", "-pk").first()
        return int(last.counts["total"]) if last else None

    def _since(self) -> date | None:
        if self.full or self.config.last_sync is None:
            return None
        return (self.config.last_sync - OVERLAP).date()

    # Tickets and bills

    def _section(self, name: str, published: bool, sync: Callable[[], None]) -> None:
        """A part of a run whose failure leaves the others; it says so in the report."""
        if not published:
            return
        try:
            sync()
        except ProviderError as error:
            self.report.refused(name, error.code, f"not synced: {error}")
            self.report.flush()

    def _tickets(self) -> None:
        with Listing(lambda row: str(row.get("id") or "")) as listing:
            listing.read(self.provider.list_tickets(None))
            numbers: set[str] = set()
            unreadable = False
            for rows in listing.batches(self.batch):
                records = list(self._convert(rows, self.provider.read_ticket, "ticket"))
                unreadable = unreadable or len(records) < len(rows)
                numbers |= {record.number for record in records}
                with self.writer.context.transaction():
                    write_tickets(self.writer, self.report, self.config, records, self.options.circuit)
                self.report.flush()
            self._close_vanished(listing, numbers, unreadable)

    def _close_vanished(self, listing: Listing, numbers: set[str], unreadable: bool) -> None:
        if self.options.circuit is not None or not self.full:
            return
        if unreadable:
            self.report.refused(
                "vanished tickets", "skipped", "some tickets could not be read, so none is taken for closed"
            )
        elif listing.count:
            close_vanished(self.writer, self.report, self.config, numbers, self.batch)

    def _charges(self) -> None:
        with Listing(lambda _row: "") as listing:
            listing.read(self.provider.list_charges(self._since()))
            for rows in listing.batches(self.batch):
                records = list(self._convert(rows, self.provider.read_charge, "bill line"))
                with self.writer.context.transaction():
                    write_charges(self.writer, self.report, self.config, records, self.options.circuit)
                self.report.flush()

    def _convert(self, rows: list[Any], read: Callable[[Any], Any], what: str) -> Iterator[Any]:
        for row in rows:
            try:
                yield read(row)
            except RowRefused as error:
                self.report.refused(f"{what} {_id_of(row)}", error.code, str(error))
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                self.report.refused(
                    f"{what} {_id_of(row)}",
                    "row_refused",
                    f"has an unexpected shape ({type(error).__name__})",
                )

    # Providers written after the guide

    def _legacy(self) -> None:
        with Listing(lambda row: Keys.of_row(row).carrier_id) as listing:
            rows = self.watched.get_circuits()
            for row in rows:
                listing.add(row)
            self._check(listing)
            self.report.counts["total"] = listing.count
            sync_rows(
                LegacyRow(self.watched, self.config, self.writer.context, self.report),
                rows,
                listing.repeated,
                self.options.circuit,
                self.silence,
            )
            self._vanished(listing)

    def _own_run(self) -> None:
        """A class with a `sync_all()` of its own says itself how it went; a preview of it is rolled back as a whole."""
        with self.writer.context.transaction():
            result = self.watched.run_all()
        for name in ("total", "success", "failed"):
            self.report.counts[name] = int(result.get(name) or 0)
        for error in result.get("errors") or ():
            self.report.refused("sync_all()", "row_refused", str(error))


def _runs_itself(provider: Any) -> bool:
    if isinstance(provider, BaseProviderSync):
        return type(provider).sync_all is not BaseProviderSync.sync_all
    return callable(getattr(provider, "sync_all", None))


def _id_of(row: Any) -> str:
    return str(row.get("id") or "without id")[:100] if isinstance(row, dict) else "without id"
