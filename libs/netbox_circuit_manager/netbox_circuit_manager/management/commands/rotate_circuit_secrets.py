"""Re-encrypts stored credentials under the first of the setting's keys."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from netbox_circuit_manager.crypto import SecretUnreadable, new_key
from netbox_circuit_manager.models import ProviderAPIConfig

_FIELDS = ("api_key", "api_secret")


class Command(BaseCommand):
    help = (
        "Re-encrypts the credentials of every provider API config under the first key of encryption_keys. Put the new "
        "key before the old one, restart NetBox, run this, then remove the old key."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--new-key", action="store_true", help="print a fresh key for the settings, change nothing"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["new_key"]:
            self.stdout.write(new_key())
            return
        unreadable = []
        with transaction.atomic():
            for config in ProviderAPIConfig.objects.select_for_update().order_by("pk"):
                try:
                    fresh = {name: getattr(config, name).rotated() for name in _FIELDS}
                except SecretUnreadable:
                    unreadable.append(config.pk)
                    continue
                # Past save(): the credentials are the same, so there is nothing for the change log to say.
                ProviderAPIConfig.objects.filter(pk=config.pk).update(**fresh)
        if unreadable:
            raise CommandError(
                f"Not re-encrypted, as no key opens them: configs {', '.join(map(str, unreadable))}. The others are."
            )
        self.stdout.write(self.style.SUCCESS("All credentials are encrypted under the first key."))
