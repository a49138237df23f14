"""The plugin's menu."""

from django.utils.translation import gettext_lazy as _
from netbox.plugins import PluginMenu, PluginMenuButton, PluginMenuItem

_APP = "netbox_circuit_manager"


def _item(model: str, label: str) -> PluginMenuItem:
    """A list, with buttons to add and to import."""
    may_add = [f"{_APP}.add_{model}"]
    return PluginMenuItem(
        link=f"plugins:{_APP}:{model}_list",
        link_text=label,
        permissions=[f"{_APP}.view_{model}"],
        buttons=(
            PluginMenuButton(
                f"plugins:{_APP}:{model}_add", _("Add"), "mdi mdi-plus-thick", permissions=may_add
            ),
            PluginMenuButton(
                f"plugins:{_APP}:{model}_bulk_import", _("Import"), "mdi mdi-upload", permissions=may_add
            ),
        ),
    )


menu = PluginMenu(
    label=_("Circuit Manager"),
    icon_class="mdi mdi-transit-connection-variant",
    groups=(
        (
            _("Circuits"),
            (
                _item("circuitcost", _("Costs")),
                _item("circuitcontract", _("Contracts")),
                _item("circuitticket", _("Tickets")),
                _item("circuitpath", _("Paths")),
                _item("carriercharge", _("Carrier Charges")),
            ),
        ),
        (
            _("Carriers"),
            (
                _item("providerapiconfig", _("Provider API Configs")),
                PluginMenuItem(
                    link=f"plugins:{_APP}:providersyncrun_list",
                    link_text=_("Sync Runs"),
                    permissions=[f"{_APP}.view_providersyncrun"],
                ),
            ),
        ),
    ),
)
