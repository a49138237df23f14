"""Files of deleted and replaced rows are removed once the change is committed."""

from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_init, post_save
from django.dispatch import receiver

from .models import CircuitContract, CircuitPath

_FILE_FIELDS = {CircuitContract: "contract_file", CircuitPath: "kmz_file"}


def _remove(instance: Any, field: str, name: str) -> None:
    storage = type(instance)._meta.get_field(field).storage
    transaction.on_commit(lambda: storage.delete(name))


@receiver(post_init, sender=CircuitContract)
@receiver(post_init, sender=CircuitPath)
def remember_file(sender: Any, instance: Any, **_kwargs: Any) -> None:
    # Through __dict__: a deferred field is not worth a query.
    stored = instance.__dict__.get(_FILE_FIELDS[sender])
    instance.stored_file = getattr(stored, "name", stored) if instance.pk else None


@receiver(post_save, sender=CircuitContract)
@receiver(post_save, sender=CircuitPath)
def remove_replaced_file(sender: Any, instance: Any, **_kwargs: Any) -> None:
    field = _FILE_FIELDS[sender]
    now = getattr(instance, field).name
    if instance.stored_file and instance.stored_file != now:
        _remove(instance, field, instance.stored_file)
    instance.stored_file = now


@receiver(post_delete, sender=CircuitContract)
@receiver(post_delete, sender=CircuitPath)
def remove_deleted_file(sender: Any, instance: Any, **_kwargs: Any) -> None:
    field = _FILE_FIELDS[sender]
    if name := getattr(instance, field).name:
        _remove(instance, field, name)
