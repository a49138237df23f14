"""The kinds of notifications that the plugin sends."""

from django.utils.translation import gettext_lazy as _
from netbox.events import EVENT_TYPE_KIND_WARNING, EventType

from .reminders import CONTRACT_RENEWAL

EventType(CONTRACT_RENEWAL, _("Circuit contract: notice due"), kind=EVENT_TYPE_KIND_WARNING).register()
