from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

NAS = {"name": "bras-1", "source_ip": "127.0.0.11", "secret": "testing123"}


async def test_a_nas_is_made_read_listed_and_changed(admin, row):
    made = await admin.post("/api/nas", {**NAS, "vendor": "mikrotik"})
    assert made.status_code == 201, made.text
    body = made.json()
    assert "secret" not in body
    assert "testing123" not in made.text
    path = f"/api/nas/{body['id']}"
    assert (await admin.get(path)).json() == body
    assert (await admin.get("/api/nas", vendor="mikrotik")).json()["nas"] == [body]
    assert (await admin.get("/api/nas", vendor="cisco")).json()["total"] == 0

    projected = await row("SELECT * FROM aaa_nas")
    assert str(projected["source_ip"]) == "127.0.0.11"
    assert (projected["secret"], projected["vendor"]) == ("testing123", "mikrotik")
    assert (projected["message_authenticator"], projected["message_authenticator_seen"]) == ("auto", False)

    changed = await admin.patch(path, {"secret": "another-secret", "coa_port": 1700, "vendor": "generic"})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["coa_port"], changed.json()["vendor"]) == (1700, "generic")
    projected = await row("SELECT * FROM aaa_nas")
    assert (projected["secret"], projected["vendor"]) == ("another-secret", "generic")


async def test_the_secret_is_encrypted_at_rest_and_in_no_log(admin, row, begin):
    nas = (await admin.post("/api/nas", NAS)).json()
    await admin.patch(f"/api/nas/{nas['id']}", {"secret": "another-secret"})
    stored = await row("SELECT * FROM nas")
    assert b"another-secret" not in stored["secret_encrypted"]
    async with begin() as tx:
        for table in ("audit_log", "outbox_event", "pgqueuer"):
            text = str(await tx.connection.fetch(f"SELECT {table}::text FROM {table}"))
            assert "testing123" not in text, table
            assert "another-secret" not in text, table
    changes = await row("SELECT after FROM audit_log WHERE action = 'nas.update'")
    assert changes["after"]["changed"] == ["secret"]


async def test_a_disabled_nas_is_a_stranger_until_it_is_back(admin, row):
    nas = (await admin.post("/api/nas", NAS)).json()
    path = f"/api/nas/{nas['id']}"
    assert (await admin.patch(path, {"status": "disabled"})).json()["status"] == "disabled"
    assert await row("SELECT * FROM aaa_nas") is None
    await admin.patch(path, {"status": "active"})
    assert (await row("SELECT secret FROM aaa_nas"))["secret"] == "testing123", "the secret is still known"


async def test_auto_starts_over(admin, row, begin):
    nas = (await admin.post("/api/nas", NAS)).json()
    path = f"/api/nas/{nas['id']}"
    async with begin() as tx:
        await tx.connection.execute("UPDATE aaa_nas SET message_authenticator_seen = true")
    await admin.patch(path, {"coa_port": 1700})
    assert (await row("SELECT * FROM aaa_nas"))["message_authenticator_seen"] is True
    await admin.patch(path, {"message_authenticator": "off"})
    await admin.patch(path, {"message_authenticator": "auto"})
    projected = await row("SELECT * FROM aaa_nas")
    assert (projected["message_authenticator"], projected["message_authenticator_seen"]) == ("auto", False)


async def test_an_address_is_one_nas_of_the_whole_platform(admin, callers):
    assert (await admin.post("/api/nas", NAS)).status_code == 201
    mine = await admin.post("/api/nas", {**NAS, "name": "again"})
    beta = await callers("beta", "admin")
    theirs = await beta.post("/api/nas", NAS)
    for refused in (mine, theirs):
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "NAS_ADDRESS_TAKEN")
        assert "alpha" not in refused.text
        assert "bras-1" not in refused.text


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"source_ip": "0.0.0.0"}, "source_ip"),
        ({"source_ip": "224.0.0.1"}, "source_ip"),
        ({"source_ip": "nowhere"}, "source_ip"),
        ({"secret": "short"}, "secret"),
        ({"secret": "with blank s"}, "secret"),
        ({"secret": "ümläut-secret"}, "secret"),
        ({"vendor": "acme"}, "vendor"),
        ({"coa_port": 0}, "coa_port"),
        ({"name": ""}, "name"),
        ({"message_authenticator": "maybe"}, "message_authenticator"),
    ],
)
async def test_bad_input_names_the_field_and_repeats_no_secret(admin, changes, field):
    answer = await admin.post("/api/nas", {**NAS, **changes})
    assert answer.status_code == 422, answer.text
    assert field in [detail["field"] for detail in answer.json()["error"]["details"]]
    if field == "secret":
        assert changes["secret"] not in answer.text


async def test_another_tenants_nas_does_not_exist(admin, callers):
    nas = (await admin.post("/api/nas", NAS)).json()
    beta = await callers("beta", "admin")
    assert (await beta.get(f"/api/nas/{nas['id']}")).status_code == 404
    assert (await beta.patch(f"/api/nas/{nas['id']}", {"coa_port": 1})).status_code == 404
    assert (await beta.get("/api/nas")).json()["total"] == 0
    billing = await callers("alpha", "billing")
    assert (await billing.post("/api/nas", NAS)).status_code == 403
    assert (await billing.get(f"/api/nas/{uuid.uuid4()}")).status_code == 404


async def test_the_projection_follows_the_clock(admin, begin):
    await admin.post("/api/nas", NAS)
    moved = await admin.post("/api/sandbox/clock/advance", {"days": 31})
    assert moved.status_code == 200, moved.text
    # A NAS that comes later knows the time as well.
    await admin.post("/api/nas", {**NAS, "source_ip": "127.0.0.12"})
    async with begin() as tx:
        offsets = {found[0] for found in await tx.connection.fetch("SELECT clock_offset FROM aaa_nas")}
    assert offsets == {tx.tenant.clock_offset} == {timedelta(days=31)}
