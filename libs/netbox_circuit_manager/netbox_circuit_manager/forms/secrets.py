"""Write-only form fields: a page never holds what was entered before."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _


class SecretFormField(forms.CharField):
    """Left empty it keeps the stored secret; what is typed replaces it. `clear()` of the form removes it."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault(
            "widget", forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"})
        )
        kwargs["help_text"] = kwargs.get("help_text") or _(
            "Stored encrypted and never shown again; leave empty to keep it. env:NAME reads an environment variable."
        )
        kwargs["strip"] = True
        super().__init__(**kwargs)

    def prepare_value(self, value: Any) -> str:
        # Also after a failed submit: the browser gets nothing back.
        return ""

    def has_changed(self, _initial: Any, data: Any) -> bool:
        return bool(data)
