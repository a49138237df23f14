from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from demarc.modules.access.rules import nt_hash
from demarc.modules.access.service import enforce_access, forget_deleted_logins, rebuild_logins

NAME = "jane@alpha.example"


async def test_the_document_s_example(subscribe, service, pool, login, customer):
    made = await subscribe(
        status="active",
        bandwidth_profile={"download_mbps": 200, "upload_mbps": 100},
        allocate_ip=True,
        ip_pool_name="homes",
    )
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["username"], body["status"], body["static_ipv4"]) == (NAME, "active", "10.100.0.2")
    assert body["bandwidth_profile"] == {"download_mbps": 200, "upload_mbps": 100}
    assert body["radius_created"] is True
    assert (body["service_id"], body["customer_id"]) == (service["id"], customer["id"])
    assert (body["password"], body["shown_once"]) == (None, False)
    assert "secure_pass_456" not in made.text

    projected = await login()
    assert projected["decision"] == "accept"
    assert projected["nt_hash"] == nt_hash("secure_pass_456")
    assert projected["clear_text"] is None
    assert str(projected["framed_ip"]) == "10.100.0.2"
    assert (projected["download_bps"], projected["upload_bps"]) == (200_000_000, 100_000_000)


def test_the_nt_hash_is_the_one_of_rfc_2759():
    """Section 9.2: password `clientPass`."""
    assert nt_hash("clientPass").upper() == "44EBBA8D5312B8D611474411F56989AE"


async def test_a_password_is_generated_shown_once_and_never_stored_in_clear(
    admin, subscribe, service, begin, login
):
    key = uuid.uuid4().hex
    body = {"username": NAME, "customer_id": service["customer_id"], "service_id": service["id"]}
    first = await admin.post("/api/subscribers", body, Idempotency_Key=key)
    assert first.status_code == 201, first.text
    generated = first.json()["password"]
    assert len(generated) >= 12
    assert first.json()["shown_once"] is True
    again = await admin.post("/api/subscribers", body, Idempotency_Key=key)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert (again.json()["password"], again.json()["shown_once"]) == (None, True)
    assert again.json()["id"] == first.json()["id"]
    assert (await login())["nt_hash"] == nt_hash(generated)
    shown = await admin.get(f"/api/subscribers/{first.json()['id']}")
    assert generated not in shown.text
    async with begin() as tx:
        for table in ("subscriber", "aaa_login", "audit_log", "outbox_event", "idempotency_key", "pgqueuer"):
            text = str(await tx.connection.fetch(f"SELECT {table}::text FROM {table}"))
            assert generated not in text, table


async def test_speeds_come_from_the_service_unless_given(subscribe, provision, login, admin):
    await provision(service_config={"bandwidth_down_mbps": 300, "bandwidth_up_mbps": 150})
    made = (await subscribe()).json()
    assert made["bandwidth_profile"] == {"download_mbps": 300, "upload_mbps": 150}
    projected = await login()
    assert (projected["download_bps"], projected["upload_bps"]) == (300_000_000, 150_000_000)
    path = f"/api/subscribers/{made['id']}"
    own = await admin.patch(path, {"bandwidth_profile": {"download_mbps": 12.5, "upload_mbps": 1}})
    assert own.json()["bandwidth_profile"] == {"download_mbps": 12.5, "upload_mbps": 1}
    assert (await login())["download_bps"] == 12_500_000
    back = await admin.patch(path, {"bandwidth_profile": None})
    assert back.json()["bandwidth_profile"] == {"download_mbps": 300, "upload_mbps": 150}


async def test_a_user_name_is_one_of_the_whole_platform(subscribe, service, provision, callers):
    assert (await subscribe()).status_code == 201
    await provision()
    mine = await subscribe()
    beta = await callers("beta", "admin")
    customer = (await beta.post("/api/customers", {"name": "Bo"})).json()
    plan = await beta.post(
        "/api/plans",
        {
            "plan_id": "p",
            "name": "P",
            "service_type": "fiber_internet",
            "bandwidth_down_mbps": 10,
            "bandwidth_up_mbps": 10,
            "monthly_fee": 1,
            "activation_fee": 0,
        },
    )
    assert plan.status_code == 201, plan.text
    sold = await beta.post(
        "/api/services/lifecycle/provision",
        {
            "customer_id": customer["id"],
            "service_type": "fiber_internet",
            "service_name": "F",
            "plan_id": "p",
            "auto_activate": True,
        },
    )
    body = {"username": NAME, "customer_id": customer["id"], "service_id": sold.json()["id"]}
    theirs = await beta.post("/api/subscribers", body)
    for refused in (mine, theirs):
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "USERNAME_TAKEN"), refused.text
    assert "alpha" not in theirs.text.replace(NAME, "")
    assert (
        await beta.post("/api/subscribers", {**body, "username": "JANE@alpha.example"})
    ).status_code == 201


async def test_two_at_once_with_one_name(subscribe, provision):
    await provision()
    await provision()
    answers = await asyncio.gather(*(subscribe() for _ in range(4)))
    assert sorted(answer.status_code for answer in answers)[:1] == [201]
    assert [answer.status_code for answer in answers].count(201) == 1


async def test_two_at_once_never_share_a_service(subscribe, provision):
    services = [(await provision())["id"] for _ in range(3)]
    answers = await asyncio.gather(*(subscribe(username=f"user{n}") for n in range(5)))
    made = [answer.json()["service_id"] for answer in answers if answer.status_code == 201]
    assert sorted(made) == sorted(services)
    assert {answer.json()["error"]["code"] for answer in answers if answer.status_code != 201} == {
        "NO_SERVICE"
    }


async def test_pools_unknown_exhausted_missing_default(subscribe, provision, service, admin):
    unknown = await subscribe(allocate_ip=True, ip_pool_name="nowhere")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["details"][0]["field"] == "ip_pool_name"
    no_default = await subscribe(allocate_ip=True)
    assert (no_default.status_code, no_default.json()["error"]["code"]) == (409, "NO_DEFAULT_POOL")
    await admin.post("/api/pools", {"name": "tiny", "network": "10.9.0.1/32", "is_default": True})
    assert (await subscribe(allocate_ip=True)).json()["static_ipv4"] == "10.9.0.1"
    await provision()
    exhausted = await subscribe(username="second", allocate_ip=True)
    assert (exhausted.status_code, exhausted.json()["error"]["code"]) == (409, "POOL_EXHAUSTED")
    assert (await admin.get("/api/subscribers", username="second")).json()["total"] == 0
    without = await subscribe(username="second")
    assert (without.status_code, without.json()["static_ipv4"]) == (201, None)
    both = await subscribe(username="third", allocate_ip=False, ip_pool_name="tiny")
    assert both.status_code == 422


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"username": "ab"}, "username"),
        ({"username": "x" * 65}, "username"),
        ({"username": "with blank"}, "username"),
        ({"username": "o'brien@example.com"}, "username"),
        ({"username": "tab\there"}, "username"),
        ({"username": "nul\u0000here"}, "username"),
        ({"username": "jäne@example.com"}, "username"),
        ({"password": "1234567"}, "password"),
        ({"password": "x" * 256}, "password"),
        ({"password": "new\nline-pass"}, "password"),
        ({"password": "💥" * 8}, "password"),
        ({"status": "terminated"}, "status"),
        ({"customer_id": "me"}, "customer_id"),
        ({"bandwidth_profile": {"download_mbps": 0, "upload_mbps": 1}}, "bandwidth_profile.download_mbps"),
        ({"bandwidth_profile": {"download_mbps": 1}}, "bandwidth_profile.upload_mbps"),
        ({"mac": "00:11"}, "mac"),
        ({"circuit_id": "a'b"}, "circuit_id"),
        ({"session_limit": -1}, "session_limit"),
        ({"service_type": None}, "service_type"),
        ({"service_type": "voice"}, "service_id"),
    ],
)
async def test_bad_input_names_the_field(subscribe, service, changes, field):
    answer = await subscribe(**changes)
    assert answer.status_code == 422, answer.text
    assert field in [detail["field"] for detail in answer.json()["error"]["details"]]
    if "password" in changes:
        assert changes["password"] not in answer.text


@pytest.mark.parametrize("length", [8, 128, 255])
async def test_any_password_of_the_contract(subscribe, service, login, length):
    word = ("Pässwörd-密码-" * 30)[:length]
    assert (await subscribe(password=word, chap_enabled=True)).status_code == 201
    projected = await login()
    assert projected["nt_hash"] == nt_hash(word)
    assert projected["clear_text"] == (word if len(word.encode()) <= 253 else None)


async def test_unknown_customer_and_service(subscribe, service):
    nobody = await subscribe(customer_id=str(uuid.uuid4()))
    assert (nobody.status_code, nobody.json()["error"]["details"][0]["field"]) == (404, "customer_id")
    nothing = await subscribe(service_id=str(uuid.uuid4()))
    assert (nothing.status_code, nothing.json()["error"]["details"][0]["field"]) == (404, "service_id")
    other_type = await subscribe(service_id=service["id"], service_type="voice")
    assert other_type.status_code == 422


async def test_a_service_of_another_customer(admin, subscribe, service):
    other = (await admin.post("/api/customers", {"name": "Other"})).json()
    refused = await subscribe(customer_id=other["id"], service_id=service["id"])
    assert (refused.status_code, refused.json()["error"]["details"][0]["field"]) == (422, "service_id")


async def test_never_a_suspended_service(admin, subscribe, provision, settings_of):
    suspended = await provision()
    await admin.post(f"/api/services/lifecycle/{suspended['id']}/suspend", {"reason": "abuse"})
    given = await subscribe(service_id=suspended["id"])
    assert (given.status_code, given.json()["error"]["code"]) == (409, "SERVICE_NOT_USABLE")
    none = await subscribe()
    assert (none.status_code, none.json()["error"]["code"]) == (422, "NO_SERVICE")
    assert "provision one first" in none.json()["error"]["message"]
    await settings_of(default_plans={"fiber_internet": "plan_fiber_100"})
    made = await subscribe()
    assert made.status_code == 201, made.text
    assert made.json()["service_id"] != suspended["id"]
    assert made.json()["access"] == {"decision": "accept", "reason": ""}


async def test_a_refused_order_sells_nothing(admin, subscribe, plan, customer, settings_of):
    """The service, the subscriber and the address are one transaction."""
    await settings_of(default_plans={"fiber_internet": plan["id"]})
    assert (await subscribe(allocate_ip=True)).status_code == 409
    assert (await admin.get("/api/services/lifecycle", customer_id=customer["id"])).json()["total"] == 0
    assert (await subscribe()).status_code == 201
    assert (await admin.get("/api/services/lifecycle", customer_id=customer["id"])).json()["total"] == 1


async def test_suspend_and_resume(admin, subscriber, login, row):
    path = f"/api/subscribers/{subscriber['id']}"
    gone = await admin.post(f"{path}/suspend", {"reason": "asked to"})
    assert (gone.status_code, gone.json()["status"]) == (200, "suspended"), gone.text
    projected = await login()
    assert (projected["decision"], projected["decision_reason"]) == ("reject", "subscriber suspended")
    assert (await admin.post(f"{path}/suspend")).status_code == 409
    history = await row("SELECT * FROM status_change WHERE entity = 'subscriber' ORDER BY id DESC LIMIT 1")
    assert (history["to_status"], history["reason"]) == ("suspended", "asked to")

    back = await admin.post(f"{path}/resume")
    assert (back.status_code, back.json()["status"]) == (200, "active")
    assert (await login())["decision"] == "accept"
    again = await admin.post(f"{path}/resume")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "ILLEGAL_STATE_CHANGE")


async def test_a_patched_status_is_no_empty_word(admin, subscriber, login):
    path = f"/api/subscribers/{subscriber['id']}"
    for wanted, decision in (("suspended", "reject"), ("suspended", "reject"), ("active", "accept")):
        patched = await admin.patch(path, {"status": wanted})
        assert (patched.status_code, patched.json()["status"]) == (200, wanted), patched.text
        assert (await login())["decision"] == decision
    assert (await admin.patch(path, {"status": "terminated"})).status_code == 422


async def test_a_suspended_service_takes_its_subscribers_along(admin, subscriber, service, login):
    path, lifecycle = f"/api/subscribers/{subscriber['id']}", f"/api/services/lifecycle/{service['id']}"
    await admin.post(f"{lifecycle}/suspend", {"reason": "Non-payment"})
    shown = (await admin.get(path)).json()
    assert shown["status"] == "suspended"
    assert shown["access"] == {"decision": "reject", "reason": "non-payment"}
    for status, total in (("suspended", 1), ("active", 0)):
        assert (await admin.get("/api/subscribers", status=status)).json()["total"] == total
    refused = await admin.post(f"{path}/resume")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "SERVICE_SUSPENDED")
    await admin.post(f"{lifecycle}/resume", {})
    assert (await admin.get(path)).json()["status"] == "active"
    assert (await login())["decision"] == "accept"
    assert (await admin.get("/api/subscribers", status="active")).json()["total"] == 1


async def test_the_end_of_a_service(admin, subscribe, service, pool, login):
    made = (await subscribe(allocate_ip=True)).json()
    done = await admin.post(f"/api/services/lifecycle/{service['id']}/terminate", {"reason": "moved away"})
    assert done.status_code == 200, done.text
    assert await login() is None
    assert (await admin.get(f"/api/subscribers/{made['id']}")).status_code == 404
    after = (await admin.get(f"/api/pools/{pool['id']}")).json()["utilisation"]
    assert (after["assigned"], after["quarantined"]) == (0, 1)


async def test_a_notice_period_is_served(admin, subscriber, service, login):
    ahead = (datetime.now(UTC) + timedelta(days=20)).isoformat()
    answer = await admin.post(
        f"/api/services/lifecycle/{service['id']}/terminate", {"reason": "moving", "termination_date": ahead}
    )
    assert answer.json()["status"] == "terminating", answer.text
    assert (await login())["decision"] == "accept"


async def test_a_new_password(admin, subscriber, login, row):
    path = f"/api/subscribers/{subscriber['id']}/password"
    answer = await admin.post(path)
    assert answer.status_code == 200, answer.text
    generated = answer.json()["password"]
    assert answer.json()["shown_once"] is True
    assert (await login())["nt_hash"] == nt_hash(generated)
    audited = await row("SELECT * FROM audit_log WHERE action = 'subscriber.reset_password'")
    assert generated not in str(audited)
    chosen = await admin.post(path, {"password": "chosen-by-hand"})
    assert (chosen.json()["password"], chosen.json()["shown_once"]) == (None, False)
    assert (await login())["nt_hash"] == nt_hash("chosen-by-hand")
    assert (await admin.post(path, {"password": "short"})).status_code == 422


async def test_delete_frees_the_name_and_the_address_rests(admin, subscribe, service, pool, login, row):
    first = (await subscribe(allocate_ip=True)).json()
    path = f"/api/subscribers/{first['id']}"
    deleted = await admin.delete(path)
    assert (deleted.status_code, deleted.json()["status"]) == (200, "terminated"), deleted.text
    assert (await admin.get(path)).status_code == 404
    assert (await admin.delete(path)).status_code == 404
    assert (await admin.post(f"{path}/resume")).status_code == 404
    assert await login() is None
    assert (await admin.get("/api/subscribers")).json()["total"] == 0
    assert (await admin.get("/api/subscribers", status="terminated")).json()["total"] == 1

    second = await subscribe(allocate_ip=True)
    assert second.status_code == 201, second.text
    assert second.json()["service_id"] == first["service_id"], "the service is free again"
    assert second.json()["static_ipv4"] == "10.100.0.3", "10.100.0.2 rests"
    history = (await admin.get("/api/addresses/10.100.0.2/history")).json()
    assert [found["subscriber_id"] for found in history["assignments"]] == [first["id"]]
    assert history["assignments"][0]["released_at"] is not None
    had = await admin.get("/api/addresses/10.100.0.2/history", at=history["assignments"][0]["assigned_at"])
    assert had.json()["assignments"][0]["subscriber_id"] == first["id"]


async def test_deleted_while_on_line_the_stop_can_still_be_booked(
    admin, subscribe, subscriber, dial, hang_up, begin, login, orders
):
    session = await dial(subscriber)
    await admin.delete(f"/api/subscribers/{subscriber['id']}")
    projected = await login()
    assert (projected["decision"], projected["decision_reason"]) == ("reject", "subscriber terminated")
    assert [order["session_id"] for order in await orders()] == [session]
    early = await subscribe()
    assert (early.status_code, early.json()["error"]["code"]) == (409, "USERNAME_TAKEN")
    async with begin() as tx:
        assert await forget_deleted_logins(tx) == 0
    await hang_up(session)
    async with begin() as tx:
        assert await forget_deleted_logins(tx) == 1
        assert await enforce_access(tx) == 0
    assert await login() is None
    assert (await subscribe()).status_code == 201


async def test_a_new_address_and_none_any_more(admin, subscriber, pool, dial, login, orders):
    path = f"/api/subscribers/{subscriber['id']}"
    await dial(subscriber)
    moved = await admin.patch(path, {"allocate_ip": True})
    assert (moved.status_code, moved.json()["static_ipv4"]) == (200, "10.100.0.2"), moved.text
    assert str((await login())["framed_ip"]) == "10.100.0.2"
    assert [order["kind"] for order in await orders()] == ["disconnect"], "it has to dial in anew"
    same = await admin.patch(path, {"ip_pool_name": "homes"})
    assert same.json()["static_ipv4"] == "10.100.0.2"
    without = await admin.patch(path, {"allocate_ip": False})
    assert without.json()["static_ipv4"] is None
    assert (await login())["framed_ip"] is None
    assert (await admin.patch(path, {"ip_pool_name": "nowhere"})).status_code == 404


async def test_mac_and_circuit_id(admin, subscribe, provision, login):
    await provision()
    await provision()
    made = (await subscribe(mac="001A.2B3C.4D5E", circuit_id="olt-1 eth 1/1/1:100")).json()
    assert (made["mac"], made["circuit_id"]) == ("00:1a:2b:3c:4d:5e", "olt-1 eth 1/1/1:100")
    assert (await login())["mac"] == "00:1a:2b:3c:4d:5e"
    taken = await subscribe(username="other", mac="00-1a-2b-3c-4d-5e")
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "MAC_TAKEN")
    taken = await subscribe(username="other", circuit_id="olt-1 eth 1/1/1:100")
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "CIRCUIT_ID_TAKEN")
    emptied = await admin.patch(f"/api/subscribers/{made['id']}", {"mac": None})
    assert emptied.json()["mac"] is None
    assert (await subscribe(username="other", mac="00-1a-2b-3c-4d-5e")).status_code == 201


async def test_chap_is_a_choice(
    admin, subscribe, subscriber, provision, login, settings_of, begin, master_key
):
    path = f"/api/subscribers/{subscriber['id']}"
    assert (await login())["clear_text"] is None
    assert (await admin.patch(path, {"chap_enabled": True})).json()["chap_enabled"] is True
    assert (await login())["clear_text"] == "secure_pass_456"
    await admin.patch(path, {"chap_enabled": False})
    assert (await login())["clear_text"] is None
    await settings_of(chap_enabled=True)
    await provision()
    await subscribe(username="second")
    assert (await login("second"))["clear_text"] == "secure_pass_456"
    async with begin() as tx:
        assert await rebuild_logins(tx, master_key) == 2
    assert (await login())["clear_text"] == "secure_pass_456"


async def test_expiry_is_business_time(admin, subscriber, login):
    path = f"/api/subscribers/{subscriber['id']}"
    answer = await admin.patch(path, {"expires_at": "2030-02-31T00:00:00"})
    assert answer.json()["expires_at"] == "2030-02-28T00:00:00Z"
    assert (await login())["expires_at"] == datetime(2030, 2, 28, tzinfo=UTC)
    assert (await admin.patch(path, {"expires_at": None})).json()["expires_at"] is None
    assert (await admin.patch(path, {"session_limit": 3})).json()["session_limit"] == 3
    assert (await login())["session_limit"] == 3
    assert (await admin.patch(path, {"session_limit": None})).status_code == 422


async def test_the_list(admin, subscribe, provision, service):
    for number in range(3):
        assert (
            await subscribe(username=f"user-{number}@alpha.example", service_id=service["id"])
        ).status_code == 201
    listed = (await admin.get("/api/subscribers", limit=2, sort="-username")).json()
    assert [found["username"][:6] for found in listed["subscribers"]] == ["user-2", "user-1"]
    assert (listed["total"], listed["limit"]) == (3, 2)
    for filters, total in (
        ({"username": "user-1"}, 1),
        ({"username": "ser-1"}, 0),
        ({"search": "SER-1"}, 1),
        ({"service_id": service["id"]}, 3),
        ({"customer_id": service["customer_id"]}, 3),
        ({"customer_id": str(uuid.uuid4())}, 0),
        ({"service_id": str(uuid.uuid4())}, 0),
    ):
        assert (await admin.get("/api/subscribers", **filters)).json()["total"] == total, filters


async def test_another_tenants_subscriber_does_not_exist(subscriber, callers):
    beta = await callers("beta", "admin")
    path = f"/api/subscribers/{subscriber['id']}"
    for answer in (
        await beta.get(path),
        await beta.patch(path, {"session_limit": 2}),
        await beta.delete(path),
        await beta.post(f"{path}/suspend"),
        await beta.post(f"{path}/resume"),
        await beta.post(f"{path}/disconnect"),
        await beta.post(f"{path}/password"),
    ):
        assert answer.status_code == 404, answer.text
    assert (await beta.get("/api/subscribers")).json()["total"] == 0
    billing = await callers("alpha", "billing")
    assert (await billing.post(f"{path}/suspend")).status_code == 403
    assert (await billing.get(path)).status_code == 200


async def test_the_last_log_in_is_shown(admin, subscriber, begin, nas):
    insert = (
        "INSERT INTO login_attempt (tenant_id, username, accepted, reason, nas_id, attempted_at) "
        "VALUES (1, $1, false, 'wrong password', $2, now())"
    )
    async with begin() as tx:
        await tx.connection.execute(insert, NAME, nas.id)
    shown = (await admin.get(f"/api/subscribers/{subscriber['id']}")).json()
    assert (shown["last_login"]["accepted"], shown["last_login"]["reason"]) == (False, "wrong password")
    assert shown["last_login"]["at"].endswith("Z")
