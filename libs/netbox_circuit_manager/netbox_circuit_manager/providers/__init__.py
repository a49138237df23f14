"""Providers: one module per carrier. To add one, write its module here and import it below (see the guide)."""

from .att import ATTProviderSync
from .base import BaseProviderSync
from .custom import CustomProviderSync
from .fake import FakeProviderSync
from .lumen import LumenProviderSync
from .registry import provider_registry
from .sonata import SonataProviderSync
from .verizon import VerizonProviderSync
from .zayo import ZayoProviderSync

__all__ = [
    "ATTProviderSync",
    "BaseProviderSync",
    "CustomProviderSync",
    "FakeProviderSync",
    "LumenProviderSync",
    "SonataProviderSync",
    "VerizonProviderSync",
    "ZayoProviderSync",
    "provider_registry",
]
