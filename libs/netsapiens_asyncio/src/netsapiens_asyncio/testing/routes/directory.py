"""Domains, users, devices, numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsapiens_asyncio.testing.routing import Visit, created, fields_of, known, page_of, require, route
from netsapiens_asyncio.testing.wire import Refused, Reply, accepted

if TYPE_CHECKING:
    from netsapiens_asyncio.testing.pbx import FakePbx


@route("GET", "/domains")
def list_domains(pbx: FakePbx, visit: Visit) -> Reply:
    return page_of(visit, list(pbx.state.domains.values()))


@route("GET", "/domains/count")
def count_domains(pbx: FakePbx, _: Visit) -> Reply:
    return Reply(200, {"total": len(pbx.state.domains)})


@route("POST", "/domains")
def create_domain(pbx: FakePbx, visit: Visit) -> Reply:
    body = fields_of(visit)
    require(body, "domain", "reseller", "description")
    if body["domain"] in pbx.state.domains:
        raise Refused(409, "Domain already exists.")
    return created(visit, pbx.state.add_domain(**body))


@route("GET", "/domains/{domain}")
def read_domain(pbx: FakePbx, visit: Visit) -> Reply:
    return Reply(200, known(pbx.state.domains.get(visit.domain), "Domain"))


@route("PUT", "/domains/{domain}")
def update_domain(pbx: FakePbx, visit: Visit) -> Reply:
    known(pbx.state.domains.get(visit.domain), "Domain").update(fields_of(visit))
    return accepted()


@route("DELETE", "/domains/{domain}")
def delete_domain(pbx: FakePbx, visit: Visit) -> Reply:
    known(pbx.state.domains.pop(visit.domain, None), "Domain")
    return accepted()


def _users(pbx: FakePbx, domain: str) -> list[dict[str, Any]]:
    known(pbx.state.domains.get(domain), "Domain")
    return [record for (of, _), record in pbx.state.users.items() if of == domain]


@route("GET", "/domains/{domain}/users")
def list_users(pbx: FakePbx, visit: Visit) -> Reply:
    return page_of(visit, _users(pbx, visit.domain))


@route("GET", "/domains/{domain}/users/count")
def count_users(pbx: FakePbx, visit: Visit) -> Reply:
    return Reply(200, {"total": len(_users(pbx, visit.domain))})


@route("POST", "/domains/{domain}/users")
def create_user(pbx: FakePbx, visit: Visit) -> Reply:
    body = fields_of(visit)
    require(body, "user", "name-first-name", "name-last-name", "email-address", "user-scope")
    known(pbx.state.domains.get(visit.domain), "Domain")
    if (visit.domain, body["user"]) in pbx.state.users:
        raise Refused(409, "UID already exists.")
    return created(visit, pbx.state.add_user(visit.domain, body.pop("user"), **body))


@route("GET", "/domains/{domain}/users/{user}")
def read_user(pbx: FakePbx, visit: Visit) -> Reply:
    return Reply(200, known(pbx.state.users.get((visit.domain, visit.user)), "User"))


@route("PUT", "/domains/{domain}/users/{user}")
def update_user(pbx: FakePbx, visit: Visit) -> Reply:
    known(pbx.state.users.get((visit.domain, visit.user)), "User").update(fields_of(visit))
    return accepted()


@route("DELETE", "/domains/{domain}/users/{user}")
def delete_user(pbx: FakePbx, visit: Visit) -> Reply:
    known(pbx.state.users.pop((visit.domain, visit.user), None), "User")
    return accepted()


@route("GET", "/domains/{domain}/devices")
def list_domain_devices(pbx: FakePbx, visit: Visit) -> Reply:
    return page_of(visit, [each for (of, _, _), each in pbx.state.devices.items() if of == visit.domain])


@route("GET", "/domains/{domain}/devices/count")
def count_devices(pbx: FakePbx, visit: Visit) -> Reply:
    return Reply(200, {"total": sum(1 for of, _, _ in pbx.state.devices if of == visit.domain)})


@route("GET", "/domains/{domain}/users/{user}/devices")
def list_devices(pbx: FakePbx, visit: Visit) -> Reply:
    owner = (visit.domain, visit.user)
    return page_of(visit, [each for (*of, _), each in pbx.state.devices.items() if tuple(of) == owner])


@route("POST", "/domains/{domain}/users/{user}/devices")
def create_device(pbx: FakePbx, visit: Visit) -> Reply:
    body = fields_of(visit)
    require(body, "device")
    known(pbx.state.users.get((visit.domain, visit.user)), "User")
    if (visit.domain, visit.user, body["device"]) in pbx.state.devices:
        raise Refused(409, "Device already exists.")
    return created(visit, pbx.state.add_device(visit.domain, visit.user, body.pop("device"), **body))


def _device(pbx: FakePbx, visit: Visit) -> dict[str, Any]:
    return known(pbx.state.devices.get((visit.domain, visit.user, visit.groups["device"])), "Device")


@route("GET", "/domains/{domain}/users/{user}/devices/{device}")
def read_device(pbx: FakePbx, visit: Visit) -> Reply:
    return Reply(200, _device(pbx, visit))


@route("PUT", "/domains/{domain}/users/{user}/devices/{device}")
def update_device(pbx: FakePbx, visit: Visit) -> Reply:
    _device(pbx, visit).update(fields_of(visit))
    return accepted()


@route("DELETE", "/domains/{domain}/users/{user}/devices/{device}")
def delete_device(pbx: FakePbx, visit: Visit) -> Reply:
    _device(pbx, visit)
    del pbx.state.devices[visit.domain, visit.user, visit.groups["device"]]
    return accepted()


@route("GET", "/phonenumbers")
def list_all_numbers(pbx: FakePbx, visit: Visit) -> Reply:
    return page_of(visit, list(pbx.state.numbers.values()))


@route("GET", "/domains/{domain}/phonenumbers")
def list_numbers(pbx: FakePbx, visit: Visit) -> Reply:
    return page_of(visit, [each for each in pbx.state.numbers.values() if each["domain"] == visit.domain])


@route("GET", "/domains/{domain}/phonenumbers/count")
def count_numbers(pbx: FakePbx, visit: Visit) -> Reply:
    return Reply(200, {"total": sum(each["domain"] == visit.domain for each in pbx.state.numbers.values())})


@route("POST", "/domains/{domain}/phonenumbers")
def create_number(pbx: FakePbx, visit: Visit) -> Reply:
    body = fields_of(visit)
    require(body, "phonenumber")
    if body["phonenumber"] in pbx.state.numbers:
        raise Refused(409, "Phone number already exists")
    pbx.state.add_number(visit.domain, str(body.pop("phonenumber")), **body)
    return accepted()


def _number(pbx: FakePbx, visit: Visit, number: str) -> dict[str, Any]:
    found = pbx.state.numbers.get(number)
    return known(found if found and found["domain"] == visit.domain else None, "Phone number")


@route("PUT", "/domains/{domain}/phonenumbers")
def assign_number(pbx: FakePbx, visit: Visit) -> Reply:
    require(visit.asked.body, "phonenumber")
    _number(pbx, visit, str(visit.asked.body["phonenumber"])).update(fields_of(visit))
    return accepted()


@route("GET", "/domains/{domain}/phonenumbers/{number}")
def read_number(pbx: FakePbx, visit: Visit) -> Reply:
    return Reply(200, _number(pbx, visit, visit.groups["number"]))


@route("PUT", "/domains/{domain}/phonenumbers/{number}")
def update_number(pbx: FakePbx, visit: Visit) -> Reply:
    _number(pbx, visit, visit.groups["number"]).update(fields_of(visit))
    return accepted()


@route("DELETE", "/domains/{domain}/phonenumbers/{number}")
def delete_number(pbx: FakePbx, visit: Visit) -> Reply:
    del pbx.state.numbers[_number(pbx, visit, visit.groups["number"])["phonenumber"]]
    return accepted()


@route("GET", "/smsnumbers")
def list_all_sms_numbers(pbx: FakePbx, visit: Visit) -> Reply:
    return page_of(visit, list(pbx.state.sms_numbers.values()))


@route("GET", "/domains/{domain}/smsnumbers")
def list_sms_numbers(pbx: FakePbx, visit: Visit) -> Reply:
    return page_of(visit, [each for each in pbx.state.sms_numbers.values() if each["domain"] == visit.domain])


@route("GET", "/domains/{domain}/users/{user}/smsnumbers")
def list_user_sms_numbers(pbx: FakePbx, visit: Visit) -> Reply:
    owner = (visit.domain, visit.user)
    found = [each for each in pbx.state.sms_numbers.values() if (each["domain"], each["dest"]) == owner]
    return page_of(visit, found)


@route("POST", "/domains/{domain}/smsnumbers")
def create_sms_number(pbx: FakePbx, visit: Visit) -> Reply:
    body = visit.asked.body
    require(body, "number", "application")
    if body["number"] in pbx.state.sms_numbers:
        raise Refused(409, "SMS number already exists")
    pbx.state.add_sms_number(visit.domain, str(body["number"]), str(body.get("dest") or ""))
    return accepted()


@route("PUT", "/domains/{domain}/smsnumbers/{number}")
def update_sms_number(pbx: FakePbx, visit: Visit) -> Reply:
    known(pbx.state.sms_numbers.get(visit.groups["number"]), "SMS number").update(fields_of(visit))
    return accepted()


@route("DELETE", "/domains/{domain}/smsnumbers/{number}")
def delete_sms_number(pbx: FakePbx, visit: Visit) -> Reply:
    known(pbx.state.sms_numbers.pop(visit.groups["number"], None), "SMS number")
    return accepted()
