"""The plugin's tables.

`CircuitCost`, `CircuitContract`, `CircuitTicket` and `CircuitPath` belong to a circuit; `ProviderAPIConfig` says how a
provider's API is reached. The others are written by the sync: `ProviderSyncRun` with `SyncChange` and `SyncIssue` is
its report, `CarrierCircuit` remembers which circuit a carrier means, `CircuitCostHistory` what a circuit cost when, and
`CarrierCharge` what the carrier billed against what was expected.
"""

from __future__ import annotations

import calendar
import hashlib
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from circuits.models import Circuit
from core.models import Job
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from netbox.context import current_request
from netbox.models import BaseModel, NetBoxModel
from netbox.models.features import JobsMixin
from netbox.plugins import get_plugin_config

from . import choices
from .fields import CheckedFileField, SecretField
from .storage import UploadPath, private_storage
from .validators import (
    default_currency,
    origin,
    validate_currency,
    validate_endpoint,
    validate_latitude,
    validate_longitude,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = (
    "PROVIDER_CHOICES",
    "CarrierCharge",
    "CarrierCircuit",
    "CircuitContract",
    "CircuitCost",
    "CircuitCostHistory",
    "CircuitPath",
    "CircuitTicket",
    "ProviderAPIConfig",
    "ProviderSyncRun",
    "SyncChange",
    "SyncIssue",
    "provider_type_choices",
)

NOT_NEGATIVE = MinValueValidator(Decimal(0), _("This amount cannot be negative."))


def _money(verbose_name: str, *, negative: bool = False, **kwargs: Any) -> models.DecimalField:
    """An amount in a row's currency: 12 digits, 2 of them after the point."""
    validators = [] if negative else [NOT_NEGATIVE]
    options = {"null": True, "blank": True, **kwargs}
    return models.DecimalField(
        verbose_name, max_digits=12, decimal_places=2, validators=validators, **options
    )


def _currency() -> models.CharField:
    return models.CharField(
        _("currency"),
        max_length=3,
        default=default_currency,
        validators=[validate_currency],
        help_text=_("ISO 4217"),
    )


class PluginModel(NetBoxModel):
    """What the plugin's main models have in common."""

    # NetBox would link to a page of its own documentation, which has none of these models.
    docs_url = None

    class Meta:
        abstract = True


class CurrencyMixin(models.Model):
    """Currencies are upper case, whoever types them."""

    class Meta:
        abstract = True

    def clean_fields(self, exclude: Any = None) -> None:
        if isinstance(self.currency, str):
            self.currency = self.currency.upper()
        super().clean_fields(exclude=exclude)


class CircuitCost(CurrencyMixin, PluginModel):
    """What a circuit costs: once (NRC) and every month (MRC)."""

    circuit = models.OneToOneField("circuits.Circuit", on_delete=models.CASCADE, related_name="costs")
    nrc = _money(_("NRC"), help_text=_("Non-recurring charge"))
    mrc = _money(_("MRC"), help_text=_("Monthly recurring charge"))
    currency = _currency()
    billing_account = models.CharField(_("billing account"), max_length=100, blank=True)
    last_updated_date = models.DateField(
        _("as of"), null=True, blank=True, help_text=_("The day on which these amounts were last confirmed")
    )

    clone_fields = ("nrc", "mrc", "currency", "billing_account")
    prerequisite_models = ("circuits.Circuit",)

    class Meta:
        ordering = ("circuit",)
        verbose_name = _("circuit cost")
        verbose_name_plural = _("circuit costs")
        constraints = (
            models.CheckConstraint(
                condition=Q(nrc__isnull=True) | Q(nrc__gte=0), name="%(app_label)s_%(class)s_nrc_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(mrc__isnull=True) | Q(mrc__gte=0), name="%(app_label)s_%(class)s_mrc_not_negative"
            ),
        )

    def __str__(self) -> str:
        if not visible_to_requester(self):
            return f"{self.circuit} (cost)"
        mrc = "—" if self.mrc is None else f"{Decimal(self.mrc):.2f} {self.currency}"
        return f"{self.circuit} (MRC: {mrc})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        CircuitCostHistory.record([self])

    @property
    def annual_cost(self) -> Decimal | None:
        return None if self.mrc is None else self.mrc * 12

    @property
    def parent_object(self) -> models.Model:
        return self.circuit


class CircuitContract(CurrencyMixin, PluginModel):
    """The agreement under which a circuit runs; its renewal and notice dates follow from its terms."""

    circuit = models.ForeignKey("circuits.Circuit", on_delete=models.CASCADE, related_name="contracts")
    contract_number = models.CharField(_("contract number"), max_length=100)
    start_date = models.DateField(_("start date"), null=True, blank=True)
    end_date = models.DateField(_("end date"), null=True, blank=True)
    term_months = models.PositiveSmallIntegerField(
        _("term (months)"), null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(1200)]
    )
    auto_renew = models.BooleanField(_("renews automatically"), default=False)
    renewal_notice_days = models.PositiveSmallIntegerField(
        _("notice (days)"), default=30, validators=[MaxValueValidator(3650)]
    )
    early_termination_fee = _money(_("early termination fee"))
    currency = _currency()
    contract_file = CheckedFileField(
        _("contract file"),
        upload_to=UploadPath("contracts"),
        storage=private_storage,
        max_length=255,
        blank=True,
    )
    notes = models.TextField(_("notes"), blank=True)
    # Written by save() and by the daily job: tables and filters need them in the database.
    renewal_date = models.DateField(
        _("renewal date"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("The day on which the contract ends, or renews for another term"),
    )
    notice_date = models.DateField(
        _("notice date"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("The last day on which notice can be given"),
    )
    reminded_for = models.CharField(_("reminded for"), max_length=20, blank=True, editable=False)

    clone_fields = (
        "circuit", "start_date", "end_date", "term_months", "auto_renew", "renewal_notice_days",
        "early_termination_fee", "currency",
    )  # fmt: skip
    prerequisite_models = ("circuits.Circuit",)

    class Meta:
        ordering = ("circuit", "-start_date", "contract_number", "pk")
        verbose_name = _("circuit contract")
        verbose_name_plural = _("circuit contracts")
        constraints = (
            models.UniqueConstraint(
                fields=("circuit", "contract_number"), name="%(app_label)s_%(class)s_unique_circuit_number"
            ),
            models.CheckConstraint(
                condition=Q(end_date__isnull=True)
                | Q(start_date__isnull=True)
                | Q(end_date__gte=F("start_date")),
                name="%(app_label)s_%(class)s_dates_in_order",
                violation_error_message=_("A contract cannot end before it starts."),
            ),
            models.CheckConstraint(
                condition=Q(early_termination_fee__isnull=True) | Q(early_termination_fee__gte=0),
                name="%(app_label)s_%(class)s_fee_not_negative",
            ),
        )
        indexes = (models.Index(fields=("notice_date",)), models.Index(fields=("renewal_date",)))

    def __str__(self) -> str:
        return self.contract_number if visible_to_requester(self) else str(_("A contract"))

    def save(self, *args: Any, **kwargs: Any) -> None:
        _to_dates(self, "start_date", "end_date")
        if (
            self.set_computed_dates(timezone.localdate())
            and (fields := kwargs.get("update_fields")) is not None
        ):
            kwargs["update_fields"] = {*fields, "renewal_date", "notice_date"}
        super().save(*args, **kwargs)

    @property
    def parent_object(self) -> models.Model:
        return self.circuit

    @property
    def file_name(self) -> str:
        return PurePath(self.contract_file.name).name if self.contract_file else ""

    def first_end(self) -> date | None:
        """The day on which the first term is over: the end date, or the start plus the term."""
        if self.end_date:
            return self.end_date
        if self.start_date and self.term_months:
            return add_months(self.start_date, self.term_months)
        return None

    def next_renewal(self, today: date) -> date | None:
        """The next day, not before `today`, on which an automatic contract renews; another's last day."""
        first = self.first_end()
        if first is None or first >= today or not self.auto_renew or not self.term_months:
            return first
        months_past = (today.year - first.year) * 12 + today.month - first.month
        # Counted from the first end, not step by step: the 31st must not become the 28th for good.
        terms = max(1, months_past // self.term_months)
        while (renewal := add_months(first, terms * self.term_months)) < today:
            terms += 1
        return renewal

    def set_computed_dates(self, today: date) -> bool:
        """Sets `renewal_date` and `notice_date`; whether one of them changed."""
        before = (self.renewal_date, self.notice_date)
        self.renewal_date = self.next_renewal(today)
        self.notice_date = self.renewal_date and self.renewal_date - timedelta(days=self.renewal_notice_days)
        return before != (self.renewal_date, self.notice_date)

    def clean(self) -> None:
        super().clean()
        if self.start_date and self.end_date and self.end_date < self.start_date:
            raise ValidationError({"end_date": _("A contract cannot end before it starts.")})
        if self.auto_renew and not self.term_months:
            raise ValidationError(
                {"term_months": _("A contract that renews automatically needs a term in months.")}
            )
        _check_size(self.contract_file, "contract_file")


class CircuitTicket(PluginModel):
    """A fault or request that is open with the carrier."""

    circuit = models.ForeignKey("circuits.Circuit", on_delete=models.CASCADE, related_name="tickets")
    ticket_number = models.CharField(_("ticket number"), max_length=100)
    subject = models.CharField(_("subject"), max_length=255)
    status = models.CharField(
        _("status"),
        max_length=30,
        choices=choices.TicketStatusChoices,
        default=choices.TicketStatusChoices.OPEN,
    )
    priority = models.CharField(
        _("priority"),
        max_length=30,
        choices=choices.TicketPriorityChoices,
        default=choices.TicketPriorityChoices.MEDIUM,
    )
    opened_date = models.DateTimeField(_("opened"), default=timezone.now)
    closed_date = models.DateTimeField(_("closed"), null=True, blank=True)
    description = models.TextField(_("description"), blank=True)
    resolution = models.TextField(_("resolution"), blank=True)
    external_url = models.URLField(_("external URL"), max_length=500, blank=True)
    # Which sync brought it, for only such tickets are closed when they vanish from the carrier's list. Private.
    _config = models.ForeignKey(
        "netbox_circuit_manager.ProviderAPIConfig",
        on_delete=models.SET_NULL,
        related_name="+",
        null=True,
        blank=True,
        editable=False,
    )

    clone_fields = ("circuit", "status", "priority")
    prerequisite_models = ("circuits.Circuit",)

    class Meta:
        ordering = ("-opened_date", "pk")
        verbose_name = _("circuit ticket")
        verbose_name_plural = _("circuit tickets")
        constraints = (
            models.UniqueConstraint(
                fields=("circuit", "ticket_number"), name="%(app_label)s_%(class)s_unique_circuit_number"
            ),
            models.CheckConstraint(
                condition=Q(closed_date__isnull=True) | Q(closed_date__gte=F("opened_date")),
                name="%(app_label)s_%(class)s_dates_in_order",
                violation_error_message=_("A ticket cannot close before it opens."),
            ),
        )
        indexes = (models.Index(fields=("status",)),)

    def __str__(self) -> str:
        if not visible_to_requester(self):
            return str(_("A ticket"))
        return f"{self.ticket_number}: {self.subject}" if self.subject else self.ticket_number

    def save(self, *args: Any, **kwargs: Any) -> None:
        _to_moments(self, "opened_date", "closed_date")
        # The REST API validates a copy, so clean() alone would not do.
        self._close()
        if kwargs.get("update_fields") is not None and "status" in kwargs["update_fields"]:
            kwargs["update_fields"] = {*kwargs["update_fields"], "closed_date"}
        super().save(*args, **kwargs)

    @property
    def parent_object(self) -> models.Model:
        return self.circuit

    @property
    def is_open(self) -> bool:
        return self.status not in choices.FINISHED_TICKETS

    def get_status_color(self) -> str | None:
        return choices.TicketStatusChoices.colors.get(self.status)

    def get_priority_color(self) -> str | None:
        return choices.TicketPriorityChoices.colors.get(self.priority)

    def clean(self) -> None:
        super().clean()
        if self.closed_date and self.is_open and not self._was_closed():
            raise ValidationError({"closed_date": _("Only a resolved or closed ticket has a closing date.")})
        self._close()
        if self.closed_date and self.opened_date and self.closed_date < self.opened_date:
            raise ValidationError({"closed_date": _("A ticket cannot close before it opens.")})

    def _was_closed(self) -> bool:
        """Whether the closing date is what is left of before the ticket was opened again."""
        stored = type(self).objects.filter(pk=self.pk).values_list("closed_date", flat=True).first()
        # A form shows whole seconds.
        return stored is not None and abs(stored - self.closed_date) < timedelta(seconds=1)

    def _close(self) -> None:
        """A ticket that is over has a closing date, and no other has, whoever says that it is over."""
        if self.is_open:
            self.closed_date = None
        elif not self.closed_date:
            self.closed_date = max(timezone.now(), self.opened_date or timezone.now())


class CircuitPath(PluginModel):
    """The way a circuit takes on the ground."""

    circuit = models.OneToOneField("circuits.Circuit", on_delete=models.CASCADE, related_name="path")
    kmz_file = CheckedFileField(
        _("KMZ or KML file"),
        upload_to=UploadPath("paths"),
        storage=private_storage,
        max_length=255,
        blank=True,
    )
    geojson_data = models.JSONField(_("GeoJSON"), null=True, blank=True)
    map_center_lat = models.DecimalField(
        _("map center latitude"),
        max_digits=9,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[validate_latitude],
    )
    map_center_lon = models.DecimalField(
        _("map center longitude"),
        max_digits=9,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[validate_longitude],
    )
    map_zoom = models.PositiveSmallIntegerField(
        _("map zoom"), default=10, validators=[MinValueValidator(1), MaxValueValidator(22)]
    )
    path_distance_km = models.DecimalField(
        _("path distance (km)"),
        max_digits=10,
        decimal_places=3,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("Along the ground; computed from the file or the GeoJSON when left empty"),
    )
    path_notes = models.TextField(_("notes"), blank=True)

    prerequisite_models = ("circuits.Circuit",)

    class Meta:
        ordering = ("circuit",)
        verbose_name = _("circuit path")
        verbose_name_plural = _("circuit paths")
        constraints = (
            models.CheckConstraint(
                condition=Q(path_distance_km__isnull=True) | Q(path_distance_km__gte=0),
                name="%(app_label)s_%(class)s_distance_not_negative",
            ),
        )

    def __str__(self) -> str:
        return f"{self.circuit} path"

    def save(self, *args: Any, **kwargs: Any) -> None:
        from .paths import read_path  # noqa: PLC0415  # paths imports this module

        # The REST API validates a copy. What cannot be read was refused there; code that skips validation may store it.
        if kwargs.get("update_fields") is None:
            with suppress(ValidationError):
                read_path(self)
        super().save(*args, **kwargs)

    @property
    def parent_object(self) -> models.Model:
        return self.circuit

    @property
    def file_name(self) -> str:
        return PurePath(self.kmz_file.name).name if self.kmz_file else ""

    def clean(self) -> None:
        from .paths import read_path  # noqa: PLC0415  # paths imports this module

        super().clean()
        _check_size(self.kmz_file, "kmz_file")
        read_path(self)


PROVIDER_CHOICES = (
    ("lumen", "Lumen"),
    ("att", "AT&T"),
    ("verizon", "Verizon"),
    ("zayo", "Zayo"),
    ("sonata", "MEF LSO Sonata"),
    ("custom", "Custom"),
)


def provider_type_choices() -> Iterator[tuple[str, str]]:
    """`PROVIDER_CHOICES`, then every other name that an installed package registered."""
    from .providers.registry import provider_registry  # noqa: PLC0415  # providers import this module

    yield from PROVIDER_CHOICES
    named = {name for name, _label in PROVIDER_CHOICES}
    for name, provider in sorted(provider_registry.get_all().items()):
        if name not in named:
            yield name, str(getattr(provider, "label", "") or name.replace("_", " ").title())


class ProviderAPIConfig(JobsMixin, PluginModel):
    """How a carrier's API is reached, and how often its circuits are synced."""

    provider = models.ForeignKey(
        "circuits.Provider", on_delete=models.CASCADE, related_name="api_configs", null=True, blank=True
    )
    provider_account = models.ForeignKey(
        "circuits.ProviderAccount",
        on_delete=models.SET_NULL,
        related_name="api_configs",
        null=True,
        blank=True,
        help_text=_("Only circuits of this account are touched; empty: all circuits of the provider"),
    )
    provider_type = models.CharField(_("provider type"), max_length=50, choices=provider_type_choices)
    api_endpoint = models.URLField(_("API endpoint"), max_length=500, validators=[validate_endpoint])
    api_key = SecretField(_("API key"), blank=True, default="")
    api_secret = SecretField(_("API secret"), blank=True, default="")
    parameters = models.JSONField(
        _("parameters"),
        default=dict,
        blank=True,
        help_text=_(
            "Settings of the provider type, as JSON (a field mapping, a token address); never credentials"
        ),
    )
    sync_enabled = models.BooleanField(_("sync enabled"), default=False)
    sync_interval_hours = models.PositiveIntegerField(
        _("sync interval (hours)"), default=24, validators=[MinValueValidator(1), MaxValueValidator(8760)]
    )
    full_sync_interval_hours = models.PositiveIntegerField(
        _("full sync interval (hours)"),
        default=168,
        validators=[MinValueValidator(1), MaxValueValidator(8760)],
        help_text=_("Between full runs a carrier with a list of changes is only asked for these"),
    )
    vanished_circuits = models.CharField(
        _("vanished circuits"),
        max_length=20,
        choices=choices.VanishedCircuitChoices,
        default=choices.VanishedCircuitChoices.KEEP,
    )
    vanished_tickets = models.CharField(
        _("vanished tickets"),
        max_length=20,
        choices=choices.VanishedTicketChoices,
        default=choices.VanishedTicketChoices.CLOSE,
    )
    # Written by the sync.
    last_sync = models.DateTimeField(_("last sync"), null=True, blank=True, editable=False)
    last_full_sync = models.DateTimeField(_("last full sync"), null=True, blank=True, editable=False)
    sync_status = models.CharField(
        _("sync status"), max_length=20, choices=choices.SyncStatusChoices, blank=True, editable=False
    )
    sync_message = models.TextField(_("sync message"), blank=True, editable=False)

    clone_fields = (
        "provider", "provider_account", "provider_type", "api_endpoint", "parameters", "sync_interval_hours",
        "full_sync_interval_hours", "vanished_circuits", "vanished_tickets",
    )  # fmt: skip

    class Meta:
        ordering = ("provider", "provider_type", "pk")
        verbose_name = _("provider API config")
        verbose_name_plural = _("provider API configs")
        permissions = (("sync", "Test the connection, preview and run the sync"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(sync_interval_hours__gte=1),
                name="%(app_label)s_%(class)s_interval_at_least_an_hour",
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider or _('No provider')} ({self.get_provider_type_display()})"

    def get_sync_status_color(self) -> str | None:
        return choices.SyncStatusChoices.colors.get(self.sync_status)

    @property
    def next_sync(self) -> Any:
        """When the schedule runs it next (a past moment: as soon as a worker is free); None when it does not."""
        if not self.sync_enabled:
            return None
        return (self.last_sync or self.created or timezone.now()) + timedelta(
            hours=self.sync_interval_hours if self.last_sync else 0
        )

    def is_due(self, now: Any) -> bool:
        return self.sync_enabled and (self.next_sync is None or self.next_sync <= now)

    def clean(self) -> None:
        super().clean()
        if self.provider_account and self.provider_account.provider_id != self.provider_id:
            raise ValidationError({"provider_account": _("This account belongs to another provider.")})
        if not isinstance(self.parameters, dict):
            raise ValidationError({"parameters": _("Parameters are a JSON object.")})
        if self.sync_enabled and self.provider is None:
            raise ValidationError({"provider": _("Choose the provider whose circuits are to be synced.")})
        self._check_references()
        self._check_credentials_stay_home()

    def _check_references(self) -> None:
        from .crypto import reference_allowed  # noqa: PLC0415

        for name in ("api_key", "api_secret"):
            reference = getattr(self, name).reference
            if reference and not reference_allowed(reference):
                raise ValidationError(
                    {name: _("The setting environment_variables does not allow this variable to be read.")}
                )

    def _check_credentials_stay_home(self) -> None:
        """Whoever may edit the endpoint may not have the stored credentials sent to a host of their own."""
        stored = type(self).objects.filter(pk=self.pk).first() if self.pk else None
        if stored is None or origin(stored.api_endpoint) == origin(self.api_endpoint):
            return
        kept = [
            name
            for name in ("api_key", "api_secret")
            if getattr(self, name) and getattr(stored, name).same_stored(getattr(self, name))
        ]
        if kept:
            raise ValidationError(
                {
                    name: _(
                        "The endpoint moved to another host: enter this again, so that it is meant to go there."
                    )
                    for name in kept
                }
            )

    def serialize_object(self, exclude: Iterable[str] | None = None) -> dict[str, Any]:
        """For the change log: no secrets; `credentials` changes when one of them does."""
        data = super().serialize_object(exclude=[*(exclude or []), "api_key", "api_secret"])
        stored = (
            SecretField().get_prep_value(self.api_key) + "\n" + SecretField().get_prep_value(self.api_secret)
        )
        # Of the encrypted text, which has a random part: nothing can be guessed from it.
        data["credentials"] = hashlib.sha256(stored.encode()).hexdigest()[:8] if stored.strip() else None
        return data


class CarrierCircuit(BaseModel):
    """Which of our circuits a carrier means by which of its identifiers."""

    config = models.ForeignKey(ProviderAPIConfig, on_delete=models.CASCADE, related_name="carrier_circuits")
    circuit = models.ForeignKey("circuits.Circuit", on_delete=models.CASCADE, related_name="carrier_circuits")
    carrier_id = models.CharField(_("carrier's ID"), max_length=200)
    customer_id = models.CharField(_("customer's ID"), max_length=200, blank=True)
    account = models.CharField(_("account"), max_length=100, blank=True)
    first_seen_at = models.DateTimeField(_("first seen"), default=timezone.now)
    last_seen_at = models.DateTimeField(_("last seen"), default=timezone.now)
    vanished_at = models.DateTimeField(_("vanished"), null=True, blank=True)

    class Meta:
        ordering = ("config", "carrier_id")
        verbose_name = _("carrier circuit")
        verbose_name_plural = _("carrier circuits")
        constraints = (
            models.UniqueConstraint(
                fields=("config", "carrier_id"), name="%(app_label)s_%(class)s_unique_config_carrier_id"
            ),
            models.UniqueConstraint(
                fields=("config", "circuit"), name="%(app_label)s_%(class)s_unique_config_circuit"
            ),
        )

    def __str__(self) -> str:
        return self.carrier_id


class CircuitCostHistory(BaseModel):
    """What a circuit cost from a day on; at most one row a day."""

    circuit = models.ForeignKey("circuits.Circuit", on_delete=models.CASCADE, related_name="cost_history")
    effective_on = models.DateField(_("from"))
    nrc = _money(_("NRC"))
    mrc = _money(_("MRC"))
    currency = models.CharField(_("currency"), max_length=3)

    class Meta:
        ordering = ("circuit", "-effective_on")
        verbose_name = _("cost history entry")
        verbose_name_plural = _("cost history")
        constraints = (
            models.UniqueConstraint(
                fields=("circuit", "effective_on"), name="%(app_label)s_%(class)s_unique_day"
            ),
        )

    def __str__(self) -> str:
        if not visible_to_requester(self):
            return f"{self.effective_on}"
        return f"{self.effective_on}: {'—' if self.mrc is None else self.mrc} {self.currency}"

    @classmethod
    def record(cls, costs: Iterable[CircuitCost], on: date | None = None) -> int:
        """Adds a row for each cost that differs from its circuit's newest one. Two queries for any number of costs.

        Returns how many rows were written. `on` is today when left out; a second change on a day replaces the first.
        """
        costs = list(costs)
        newest = cls.newest(cost.circuit_id for cost in costs)
        today = on or timezone.localdate()
        rows = [
            cls(
                circuit_id=cost.circuit_id,
                effective_on=today,
                nrc=cost.nrc,
                mrc=cost.mrc,
                currency=cost.currency,
            )
            for cost in costs
            if _amounts(cost) != newest.get(cost.circuit_id)
        ]
        if rows:
            cls.objects.bulk_create(
                rows,
                update_conflicts=True,
                unique_fields=("circuit", "effective_on"),
                update_fields=("nrc", "mrc", "currency"),
            )
        return len(rows)

    @classmethod
    def newest(cls, circuit_ids: Iterable[int]) -> dict[int, tuple[Any, ...]]:
        """For each circuit with a history the amounts that hold now."""
        rows = (
            cls.objects.filter(circuit_id__in=list(circuit_ids))
            .order_by("circuit_id", "-effective_on")
            .distinct("circuit_id")
        )
        return {row.circuit_id: _amounts(row) for row in rows}


class CarrierCharge(CurrencyMixin, PluginModel):
    """A line of a carrier's bill, against what the circuit's costs made us expect."""

    circuit = models.ForeignKey("circuits.Circuit", on_delete=models.CASCADE, related_name="charges")
    config = models.ForeignKey(
        ProviderAPIConfig, on_delete=models.SET_NULL, related_name="charges", null=True, blank=True
    )
    bill_number = models.CharField(_("bill number"), max_length=100)
    line_reference = models.CharField(
        _("line reference"), max_length=200, help_text=_("What tells this line from the others on the bill")
    )
    kind = models.CharField(
        _("kind"),
        max_length=20,
        choices=choices.ChargeKindChoices,
        default=choices.ChargeKindChoices.RECURRING,
    )
    period_start = models.DateField(_("period start"), null=True, blank=True)
    period_end = models.DateField(_("period end"), null=True, blank=True)
    billed = _money(_("billed"), negative=True, null=False, blank=False)
    expected = _money(
        _("expected"), negative=True, help_text=_("Empty: nothing was known when the bill came")
    )
    currency = _currency()
    dispute_status = models.CharField(
        _("dispute"),
        max_length=20,
        choices=choices.DisputeStatusChoices,
        default=choices.DisputeStatusChoices.NONE,
    )
    notes = models.TextField(_("notes"), blank=True)

    clone_fields = ("circuit", "config", "bill_number", "kind", "period_start", "period_end", "currency")
    prerequisite_models = ("circuits.Circuit",)

    class Meta:
        ordering = ("-period_start", "bill_number", "line_reference", "pk")
        verbose_name = _("carrier charge")
        verbose_name_plural = _("carrier charges")
        constraints = (
            models.UniqueConstraint(
                fields=("circuit", "bill_number", "line_reference"),
                name="%(app_label)s_%(class)s_unique_line",
            ),
            models.CheckConstraint(
                condition=Q(period_end__isnull=True)
                | Q(period_start__isnull=True)
                | Q(period_end__gte=F("period_start")),
                name="%(app_label)s_%(class)s_dates_in_order",
                violation_error_message=_("A period cannot end before it starts."),
            ),
        )

    def __str__(self) -> str:
        return (
            f"{self.bill_number} / {self.line_reference}"
            if visible_to_requester(self)
            else str(_("A charge"))
        )

    @property
    def parent_object(self) -> models.Model:
        return self.circuit

    @property
    def difference(self) -> Decimal | None:
        """What is billed beyond what was expected; negative when less was billed."""
        return None if self.expected is None else self.billed - self.expected

    def get_kind_color(self) -> str | None:
        return choices.ChargeKindChoices.colors.get(self.kind)

    def get_dispute_status_color(self) -> str | None:
        return choices.DisputeStatusChoices.colors.get(self.dispute_status)

    def clean(self) -> None:
        super().clean()
        if self.period_start and self.period_end and self.period_end < self.period_start:
            raise ValidationError({"period_end": _("A period cannot end before it starts.")})


class ProviderSyncRun(BaseModel):
    """The report of one run: what changed from what to what, what was not synced and why."""

    config = models.ForeignKey(ProviderAPIConfig, on_delete=models.CASCADE, related_name="runs")
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    mode = models.CharField(
        _("mode"), max_length=10, choices=choices.SyncModeChoices, default=choices.SyncModeChoices.FULL
    )
    dry_run = models.BooleanField(_("preview"), default=False, help_text=_("Computed, shown and rolled back"))
    status = models.CharField(
        _("status"),
        max_length=20,
        choices=choices.SyncStatusChoices,
        default=choices.SyncStatusChoices.RUNNING,
    )
    # {"total": 10, "success": 9, "failed": 1, "created": …, "updated": …, "unchanged": …, "vanished": …}
    counts = models.JSONField(_("counts"), default=dict)
    error = models.TextField(_("error"), blank=True)

    class Meta:
        ordering = ("-started_at", "-pk")
        verbose_name = _("sync run")
        verbose_name_plural = _("sync runs")
        indexes = (models.Index(fields=("config", "-started_at")),)

    def __str__(self) -> str:
        return f"{self.config} {timezone.localtime(self.started_at):%Y-%m-%d %H:%M:%S}"

    def get_absolute_url(self) -> str:
        return reverse("plugins:netbox_circuit_manager:providersyncrun", args=[self.pk])

    def get_status_color(self) -> str | None:
        return choices.SyncStatusChoices.colors.get(self.status)

    def get_mode_color(self) -> str | None:
        return choices.SyncModeChoices.colors.get(self.mode)

    def changes_visible_to(self, user: Any) -> models.QuerySet[SyncChange]:
        """Its changes of what the user may view: they tell costs from what to what."""
        return self.changes.filter(_reported_to(user))

    @property
    def duration(self) -> timedelta | None:
        return self.finished_at - self.started_at if self.finished_at else None


class SyncChange(BaseModel):
    """One field that a run changed, or would change; for a new object `before` is null in every field."""

    run = models.ForeignKey(ProviderSyncRun, on_delete=models.CASCADE, related_name="changes")
    circuit = models.ForeignKey("circuits.Circuit", on_delete=models.SET_NULL, null=True, related_name="+")
    # "circuitcost", "circuitticket", …: the model's name; and how the object called itself.
    model = models.CharField(_("object type"), max_length=50)
    object_repr = models.CharField(_("object"), max_length=200)
    field = models.CharField(_("field"), max_length=100)
    before = models.TextField(_("from"), null=True)  # noqa: DJ001  # null: there was no object; empty: it was empty
    after = models.TextField(_("to"), null=True)  # noqa: DJ001

    class Meta:
        ordering = ("pk",)
        verbose_name = _("sync change")
        verbose_name_plural = _("sync changes")

    def __str__(self) -> str:
        return f"{self.object_repr}: {self.field}"


class SyncIssue(BaseModel):
    """What a run did not sync, and why."""

    run = models.ForeignKey(ProviderSyncRun, on_delete=models.CASCADE, related_name="not_synced")
    circuit = models.ForeignKey("circuits.Circuit", on_delete=models.SET_NULL, null=True, related_name="+")
    subject = models.CharField(
        _("what"), max_length=200, help_text=_("The carrier's identifier, or a part of the run")
    )
    code = models.CharField(_("code"), max_length=50, help_text=_("The kind of problem, for filters"))
    reason = models.TextField(_("why"))

    class Meta:
        ordering = ("pk",)
        verbose_name = _("not synced")
        verbose_name_plural = _("not synced")
        indexes = (models.Index(fields=("code",)),)

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason}"


def add_months(day: date, months: int) -> date:
    """The same day some months later; the month's last day where there is no such day."""
    index = day.month - 1 + months
    year, month = day.year + index // 12, index % 12 + 1
    return day.replace(year=year, month=month, day=min(day.day, calendar.monthrange(year, month)[1]))


def visible_to_requester(row: models.Model) -> bool:
    """Whether who asks for the page at hand may view a row; code outside of a request may.

    NetBox shows the names of objects in places where it asks for no permission on them: the page that deletes a circuit
    lists what goes with it. So names of what costs money are kept back here.
    """
    user = getattr(current_request.get(), "user", None)
    if user is None or user.is_superuser:
        return True
    permission = f"{row._meta.app_label}.view_{row._meta.model_name}"
    if not user.has_perm(permission):
        return False
    # Only permissions with constraints need a query for each row.
    return not _is_constrained(user, permission) or user.has_perm(permission, row)


def _is_constrained(user: Any, permission: str) -> bool:
    """Whether a permission that the user has (`has_perm` filled the cache) is for some rows only."""
    return all(getattr(user, "_object_perm_cache", {}).get(permission, [None]))


def _reported_to(user: Any) -> Q:
    """The changes of a report on objects that a user may view.

    With a permission for some rows only, those of the circuits whose rows these are: a preview's new objects do not exist.
    """
    allowed = Q(pk__in=[])
    for model, circuit in ((Circuit, "pk"), *((model, "circuit") for model in _REPORTED)):
        permission = f"{model._meta.app_label}.view_{model._meta.model_name}"
        if not user.has_perm(permission):
            continue
        of_model = Q(model=model._meta.model_name)
        if not user.is_superuser and _is_constrained(user, permission):
            of_model &= Q(circuit__in=model.objects.restrict(user, "view").values(circuit))
        allowed |= of_model
    return allowed


_REPORTED = (CircuitCost, CircuitContract, CircuitTicket, CircuitPath, CarrierCharge)


def _amounts(row: CircuitCost | CircuitCostHistory) -> tuple[Any, ...]:
    """What makes two rows of a history the same; through Decimal, as unsaved rows may hold what a caller gave."""
    amounts = [
        None if value is None else Decimal(str(value)).quantize(Decimal("0.01"))
        for value in (row.nrc, row.mrc)
    ]
    return (*amounts, row.currency)


def _to_dates(instance: models.Model, *names: str) -> None:
    """Callers may assign text; the computed dates need dates."""
    for name in names:
        setattr(instance, name, instance._meta.get_field(name).to_python(getattr(instance, name)))


def _to_moments(instance: models.Model, *names: str) -> None:
    """As `_to_dates`, for date-times; a day without a time begins at midnight."""
    for name in names:
        value = instance._meta.get_field(name).to_python(getattr(instance, name))
        if value is not None and timezone.is_naive(value):
            value = timezone.make_aware(value)
        setattr(instance, name, value)


def _check_size(file: Any, field: str) -> None:
    limit = get_plugin_config("netbox_circuit_manager", "max_upload_bytes")
    # Only a fresh upload has an uncommitted file; asking the storage for others costs a call.
    if file and not getattr(file, "_committed", True) and file.size > limit:
        raise ValidationError(
            {field: _("The file is larger than the %(limit)d MB allowed.") % {"limit": limit // 2**20}}
        )
