"""Contract dates move on with the calendar, and people are told in time to give notice."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from core.models import ObjectType
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q, QuerySet
from django.utils import timezone
from extras.models import Notification, NotificationGroup, Subscription
from netbox.plugins import get_plugin_config

from .models import CircuitContract

CONTRACT_RENEWAL = "circuit_contract_renewal"
_PLUGIN = "netbox_circuit_manager"


def refresh_dates(today: date) -> int:
    """Moves renewal and notice dates of automatic contracts to their next term; returns how many moved.

    Computed dates are no edits of a person: they are written past the change log.
    """
    past = CircuitContract.objects.filter(auto_renew=True, renewal_date__lt=today)
    moved = [contract for contract in past.iterator(chunk_size=500) if contract.set_computed_dates(today)]
    CircuitContract.objects.bulk_update(moved, ["renewal_date", "notice_date"], batch_size=500)
    return len(moved)


def send_reminders(today: date) -> int:
    """Notifies of every contract whose last day for notice has come within the next reminder's reach.

    Each of the setting's `reminder_days` is told once per notice date. Returns how many contracts were told of.
    """
    days = sorted(get_plugin_config(_PLUGIN, "reminder_days"))
    if not days:
        return 0
    due = CircuitContract.objects.filter(
        notice_date__gte=today, notice_date__lte=today + timedelta(days=days[-1])
    ).select_related("circuit")
    told = 0
    for contract in due.iterator(chunk_size=500):
        reached = next(day for day in days if (contract.notice_date - today).days <= day)
        told += _remind(contract, f"{contract.notice_date}/{reached}")
    return told


def _remind(contract: CircuitContract, reminder: str) -> bool:
    if contract.reminded_for == reminder:
        return False
    object_type = ObjectType.objects.get_for_model(contract)
    for user in _recipients(contract):
        # NetBox keeps one notification per object and user: an older one is brought up again.
        Notification.objects.update_or_create(
            object_type=object_type,
            object_id=contract.pk,
            user=user,
            defaults={"event_type": CONTRACT_RENEWAL, "created": timezone.now(), "read": None},
        )
    CircuitContract.objects.filter(pk=contract.pk).update(reminded_for=reminder)
    return True


def _recipients(contract: CircuitContract) -> Iterator[Any]:
    """Subscribers of the contract and of its circuit, and the setting's groups; those who may view the contract."""
    for user in _candidates(contract).distinct():
        if CircuitContract.objects.restrict(user, "view").filter(pk=contract.pk).exists():
            yield user


def _candidates(contract: CircuitContract) -> QuerySet:
    followed = Q()
    for row in (contract, contract.circuit):
        followed |= Q(object_type=ContentType.objects.get_for_model(row), object_id=row.pk)
    subscribers = Subscription.objects.filter(followed).values("user")
    groups = NotificationGroup.objects.filter(name__in=get_plugin_config(_PLUGIN, "reminder_groups"))
    chosen = (
        Q(pk__in=subscribers) | Q(notification_groups__in=groups) | Q(groups__notification_groups__in=groups)
    )
    return get_user_model().objects.filter(chosen, is_active=True)
