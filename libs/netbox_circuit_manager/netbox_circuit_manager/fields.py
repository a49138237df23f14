"""Model fields of the plugin."""

from typing import Any

from django.db import models
from django.db.models.fields.files import FieldFile
from django.db.models.query_utils import DeferredAttribute
from django.urls import reverse

from .crypto import Secret


class _SecretAttribute(DeferredAttribute):
    """Turns whatever is assigned into a `Secret` at once, so that an unsaved instance shows no more than a saved one."""

    def __set__(self, instance: models.Model, value: Any) -> None:
        instance.__dict__[self.field.attname] = self.field.to_python(value)


class SecretField(models.TextField):
    """A text that the database and every serialization hold encrypted; see `Secret` for what the attribute shows."""

    descriptor_class = _SecretAttribute

    def from_db_value(self, value: str | None, _expression: Any, _connection: Any) -> Secret:
        return Secret(value or "")

    def to_python(self, value: Any) -> Any:
        # Expressions (F(), DatabaseDefault) and deferred markers pass through untouched.
        if isinstance(value, Secret) or not (value is None or isinstance(value, str)):
            return value
        return Secret.of(value or "")

    def get_prep_value(self, value: Any) -> Any:
        secret = self.to_python(value)
        return secret.for_column() if isinstance(secret, Secret) else secret

    def value_to_string(self, _obj: models.Model) -> str:
        # Serializers (change log, dumpdata, webhooks' snapshots) get no more than whether there is one.
        return str(self.value_from_object(_obj))

    def get_lookup(self, lookup_name: str) -> Any:
        # Two encryptions of one text differ: a comparison in SQL would always be false, so only isnull stays.
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None

    def formfield(self, **kwargs: Any) -> Any:
        from .forms.secrets import SecretFormField  # noqa: PLC0415  # forms import models

        return super(models.TextField, self).formfield(**{"form_class": SecretFormField, **kwargs})


class _CheckedFieldFile(FieldFile):
    """A stored file whose address is the plugin's view, which checks the permission on the row."""

    @property
    def url(self) -> str:
        self._require_file()
        return reverse("plugins:netbox_circuit_manager:file", kwargs={"path": self.name})


class CheckedFileField(models.FileField):
    """A file that only those see who may view its row."""

    attr_class = _CheckedFieldFile
