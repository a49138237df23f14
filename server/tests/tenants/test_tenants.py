"""What a tenant may be opened with and what may be chosen for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from demarc.kernel.context import system
from demarc.kernel.errors import Conflict, Invalid
from demarc.modules.tenants.inputs import SETTINGS, NewTenant, clean_setting
from demarc.modules.tenants.service import create_tenant
from demarc.workflows.tenant_settings import set_for_tenant

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"
NEW = {"slug": "acme-fibre", "name": "Acme", "currency": "EUR", "time_zone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"slug": "Acme"}, "slug"),
        ({"slug": "acme--fibre"}, "slug"),
        ({"slug": "a" * 41}, "slug"),
        ({"slug": ""}, "slug"),
        ({"name": " "}, "name"),
        ({"currency": "EURO"}, "currency"),
        ({"time_zone": "Berlin"}, "time_zone"),
        ({"time_zone": "../etc"}, "time_zone"),
        ({"time_zone": ""}, "time_zone"),
    ],
)
def test_bad_input_names_the_field(changes, field):
    with pytest.raises(Invalid) as refused:
        NewTenant(**(NEW | changes))
    assert [detail.field for detail in refused.value.details] == [field]


async def test_a_slug_is_taken_once(database, master_key):
    with pytest.raises(Conflict) as refused:
        await create_tenant(database, master_key, **(NEW | {"slug": "alpha"}))
    assert refused.value.code == "TENANT_TAKEN"


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("chap_enabled", True, "yes"),
        ("suspended_policy", "garden", "jail"),
        ("garden", {"pool": "unpaid", "upload_bps": 1}, {"pool": "unpaid", "upload_bps": 0}),
        ("garden", {"pool": "unpaid"}, {"pool": "unpaid", "colour": 1}),
        ("default_plans", {"fiber_internet": "plan"}, {"fiber_internet": 7}),
        ("payment_terms_days", 30, -1),
        ("dunning_tolerance_minor", 100, True),
        ("metering", "external", "both"),
        ("mail_from", "billing@acme.example", "billing"),
        ("company_name", "Acme", ""),
        ("webhook_private_addresses", False, 0),
    ],
)
def test_a_setting_has_a_value_that_it_can_have(key, good, bad):
    assert clean_setting(key, good) == good
    with pytest.raises(Invalid, match=key):
        clean_setting(key, bad)


def test_an_unknown_setting_is_told_those_there_are():
    with pytest.raises(Invalid, match="suspended_policy"):
        clean_setting("suspend_policy", "garden")


def test_the_reference_page_names_every_setting():
    per_tenant = REFERENCE.read_text().partition("## Per tenant")[2]
    rows = [line.split("|")[1] for line in per_tenant.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(SETTINGS)


async def test_a_setting_is_kept_given_up_and_audited(database):
    for value in (30, None):
        async with database.begin(1, system("test")) as tx:
            await set_for_tenant(tx, {"payment_terms_days": value})
        async with database.begin(1, system("test")) as tx:
            assert tx.tenant.settings.get("payment_terms_days") == value
            lines = await tx.connection.fetch(
                "SELECT after FROM audit_log WHERE action = 'tenant.change_settings' ORDER BY id"
            )
            assert lines[-1]["after"] == {"payment_terms_days": value}
    with pytest.raises(Invalid):
        async with database.begin(1, system("test")) as tx:
            await set_for_tenant(tx, {"chap_enabled": True, "no_such": None})
