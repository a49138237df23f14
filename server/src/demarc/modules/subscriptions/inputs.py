"""What a subscription may be called."""

from __future__ import annotations

from demarc.modules.catalog.inputs import clean_ref as clean_free_text


def clean_ref(ref: str) -> str:
    """Free text of 1 to 50 characters that can stand in a path."""
    return clean_free_text(ref, field="subscription_id")
