from __future__ import annotations

import pytest

from netsapiens_asyncio import (
    CallsAPI,
    Conflict,
    DevicesAPI,
    DomainsAPI,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PhoneNumbersAPI,
    SmsNumbersAPI,
    UsersAPI,
)

HOME = "testdomain.com"


async def every(iterator):
    return [each async for each in iterator]


async def test_domains(client):
    domains = DomainsAPI(client)
    made = await domains.create("new.example", "MainReseller", "New")
    assert made["domain"] == "new.example"
    with pytest.raises(Conflict):
        await domains.create("new.example", "MainReseller", "New")
    await domains.update("new.example", {"description": "Renamed"})
    assert (await domains.get("new.example"))["description"] == "Renamed"
    assert (await domains.get())["domain"] == HOME
    assert await domains.count() == len(await every(domains.iterate())) == 4
    await domains.delete("new.example")
    with pytest.raises(NotFound):
        await domains.get("new.example")


async def test_1500_users_come_over_pages(client, pbx):
    for number in range(1_500):
        pbx.state.add_user("company.com", f"{2000 + number}")
    users = UsersAPI(client)
    found = await every(users.iterate("company.com"))
    assert len({each["user"] for each in found}) == len(found) == 1_501
    assert await users.count("company.com") == 1_501
    pbx.faults.numbers_as_integers = True
    assert len(await every(users.iterate("company.com", page=100))) == 1_501


async def test_users(client):
    users = UsersAPI(client)
    fields = {"first_name": "John", "last_name": "Doe", "email": "j@example.com"}
    made = await users.create(HOME, "1001", **fields, fields={"caller-id-number": "18585550101"})
    assert made["user"] == "1001"
    assert await users.create(HOME, "1002", **fields, synchronous=False) == {
        "code": 202,
        "message": "Accepted",
    }
    await users.update(HOME, "1001", {"name-last-name": "Roe"})
    assert (await users.get(HOME, "1001"))["name-last-name"] == "Roe"
    assert (await users.get())["user"] == "123"
    await users.delete(HOME, "1001")
    with pytest.raises(NotFound):
        await users.get(HOME, "1001")
    with pytest.raises(InvalidInput):
        await users.update(HOME, "1002", {})


async def test_devices(client):
    devices = DevicesAPI(client)
    made = await devices.create(HOME, "123", "123a")
    assert made["device-sip-registration-uri"] == "sip:123a@testdomain.com"
    with pytest.raises(Conflict):
        await devices.create(HOME, "123", "123a")
    await devices.update(HOME, "123", "123a", {"device-srtp-enabled": "yes"})
    assert (await devices.get(HOME, "123", "123a"))["device-srtp-enabled"] == "yes"
    assert [each["device"] for each in await every(devices.iterate(HOME, "123"))] == ["123a"]
    assert await devices.count(HOME) == len(await every(devices.iterate(HOME))) == 1
    await devices.delete(HOME, "123", "123a")
    assert not await every(devices.iterate(HOME))


async def test_phone_numbers(client, pbx):
    numbers = PhoneNumbersAPI(client)
    await numbers.create(HOME, "18585550123")
    with pytest.raises(Conflict):
        await numbers.create(HOME, "18585550123")
    await numbers.assign(HOME, "18585550123", "123")
    assert (await numbers.get(HOME, "18585550123"))["dial-rule-translation-destination-user"] == "123"
    await numbers.update(HOME, "18585550123", {"enabled": "no"})
    pbx.faults.numbers_as_integers = True
    assert {each["phonenumber"] for each in await every(numbers.iterate(HOME))} == {
        "1987654321",
        "18585550123",
    }
    assert len(await every(numbers.iterate(None))) == await numbers.count(HOME) == 2
    await numbers.delete(HOME, "18585550123")
    with pytest.raises(NotFound):
        await numbers.get(HOME, "18585550123")
    with pytest.raises(InvalidInput):
        await numbers.create(HOME, "12-34")


async def test_sms_numbers(client):
    numbers = SmsNumbersAPI(client)
    await numbers.create(HOME, "18585550124", application="user", dest="999")
    with pytest.raises(Conflict):
        await numbers.create(HOME, "18585550124")
    await numbers.update(HOME, "18585550124", {"application": "user", "dest": "123"})
    assert len(await every(numbers.iterate(HOME, "123"))) == 3
    await numbers.delete(HOME, "18585550124")
    assert len(await every(numbers.iterate(HOME))) == len(await every(numbers.iterate(None))) == 2
    with pytest.raises(InvalidInput):
        await numbers.create(HOME, "18585550124", application="fridge")


async def test_calls(client, pbx):
    calls = CallsAPI(client)
    placed = await calls.new_call("18585551234")
    other = await calls.new_call("18585551234", user="124", call_id="mine")
    assert other["call-id"] == "mine"
    assert await calls.read_calls(HOME, count=True) == {"total": 2}
    assert len(await calls.read_calls(HOME)) == 2
    (mine,) = await calls.read_calls(HOME, user="123")
    assert mine["call-orig-call-id"] == placed["call-id"]
    assert await calls.read_calls(HOME, count=True, user="123") == {"total": 1}
    one = await calls.read_calls(HOME, user="124", callid="mine")
    assert one["call-by-user"] == "124"
    with pytest.raises(NotFound):
        await calls.read_calls(HOME, callid="mine")  # without a user it is the account's own
    await calls.end_call(placed["call-id"])
    assert await calls.read_calls(HOME, user="123") == []
    assert len(pbx.state.cdrs.records) == 1


async def test_a_call_is_never_placed_twice(client, pbx):
    pbx.faults.add("cut", method="POST", path="/calls$")
    with pytest.raises(OutcomeUnknown):
        await CallsAPI(client).new_call("18585551234")
    assert len(pbx.state.calls) == 1
    with pytest.raises(InvalidInput):
        await CallsAPI(client).new_call("")
