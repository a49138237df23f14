"""CDRs and active calls."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from netsapiens_asyncio.clock import parse_time
from netsapiens_asyncio.testing.routing import Visit, known, page_of, require, route
from netsapiens_asyncio.testing.state import rfc3339
from netsapiens_asyncio.testing.wire import Refused, Reply, accepted

if TYPE_CHECKING:
    from netsapiens_asyncio.testing.pbx import FakePbx


def _cdrs(pbx: FakePbx, visit: Visit, domain: str | None) -> list[tuple[dict[str, Any], bytes]]:
    start, end = (parse_time(visit.asked.query.get(name)) for name in ("datetime-start", "datetime-end"))
    if start is None or end is None:
        raise Refused(400, "datetime-start and datetime-end are required")
    found = pbx.state.cdrs.between(start, end)
    return found if domain is None else [each for each in found if each[0]["domain"] == domain]


def _cdr_page(pbx: FakePbx, visit: Visit, domain: str | None) -> Reply:
    page = page_of(visit, _cdrs(pbx, visit, domain))
    if pbx.faults.numbers_as_integers or pbx.faults.bare_single:
        return Reply(200, [record for record, _ in page.body])
    return Reply(200, b"[" + b",".join(ready for _, ready in page.body) + b"]")


def _cdr_count(pbx: FakePbx, visit: Visit, domain: str | None) -> Reply:
    found = _cdrs(pbx, visit, domain)
    seconds = sum(record["call-talking-duration-seconds"] for record, _ in found)
    return Reply(200, {"total": len(found), "minutes": seconds // 60, "seconds": seconds})


@route("GET", "/cdrs")
def list_cdrs(pbx: FakePbx, visit: Visit) -> Reply:
    return _cdr_page(pbx, visit, None)


@route("GET", "/cdrs/count")
def count_cdrs(pbx: FakePbx, visit: Visit) -> Reply:
    return _cdr_count(pbx, visit, None)


@route("GET", "/domains/{domain}/cdrs")
def list_domain_cdrs(pbx: FakePbx, visit: Visit) -> Reply:
    return _cdr_page(pbx, visit, visit.domain)


@route("GET", "/domains/{domain}/cdrs/count")
def count_domain_cdrs(pbx: FakePbx, visit: Visit) -> Reply:
    return _cdr_count(pbx, visit, visit.domain)


@route("GET", "/domains/{domain}/users/{user}/cdrs")
def list_user_cdrs(pbx: FakePbx, visit: Visit) -> Reply:
    mine = [each for each, _ in _cdrs(pbx, visit, visit.domain) if str(each["call-orig-user"]) == visit.user]
    page = page_of(visit, mine)
    return Reply(200, [_short_cdr(each, visit.user) for each in page.body])


def _short_cdr(record: dict[str, Any], user: str) -> dict[str, Any]:
    started_at = int(parse_time(record["call-start-datetime"]) or 0)
    return {
        "uid": f"{user}@{record['domain']}",
        "domain": record["domain"],
        "cdr_id": record["id"],
        "type": 0,
        "time_start": started_at,
        "time_answer": started_at + 3,
        "time_release": started_at + record["call-total-duration-seconds"],
        "duration": record["call-talking-duration-seconds"],
        "orig_to_uri": record["call-orig-to-uri"],
        "number": record["call-orig-to-user"],
        "name": None,
        "onnet": 0,
        "hide": 0,
        "tag": "",
        "expected_trace": True,
    }


def _calls(pbx: FakePbx, domain: str, user: str | None) -> list[dict[str, Any]]:
    return [
        call
        for call in pbx.state.calls.values()
        if call["call-by-domain"] == domain and user in {None, call["call-by-user"]}
    ]


@route("GET", "/domains/{domain}/calls")
def list_domain_calls(pbx: FakePbx, visit: Visit) -> Reply:
    return Reply(200, _calls(pbx, visit.domain, None))


@route("GET", "/domains/{domain}/calls/count")
def count_calls(pbx: FakePbx, visit: Visit) -> Reply:
    return Reply(200, {"total": len(_calls(pbx, visit.domain, None))})


@route("GET", "/domains/{domain}/users/{user}/calls")
def list_calls(pbx: FakePbx, visit: Visit) -> Reply:
    return Reply(200, _calls(pbx, visit.domain, visit.user))


@route("POST", "/domains/{domain}/users/{user}/calls")
def make_call(pbx: FakePbx, visit: Visit) -> Reply:
    body = visit.asked.body
    require(body, "synchronous", "call-id", "call-term-user")
    if body["call-id"] in pbx.state.calls:
        raise Refused(409, "Call already exists")
    call = {
        "core-server": "core1.example.com",
        "call-session-id": secrets.token_hex(10),
        "call-orig-call-id": body["call-id"],
        "call-orig-match-uri": f"{visit.user}@{visit.domain}",
        "call-orig-user": body.get("call-orig-user", visit.user),
        "call-orig-domain": visit.domain,
        "call-orig-uri": f"sip:{visit.user}@{visit.domain}",
        "call-orig-name": "Hu Man",
        "caller-id-number": body.get("caller-id-number", "18585550100"),
        "call-dialed-number": body["call-term-user"],
        "call-by-action": "CallRequest",
        "call-by-user": visit.user,
        "call-by-domain": visit.domain,
        "call-by-call-id": body["call-id"],
        "call-term-call-id": secrets.token_hex(16),
        "call-term-user": "",
        "call-term-domain": "*",
        "call-term-uri": f"sip:{body['call-term-user']}@carrier.example.com",
        "call-start-datetime": rfc3339(pbx.clock.time()),
        "call-answer-datetime": rfc3339(pbx.clock.time()),
        "call-orig-info": "active",
        "term-orig-info": "active",
        "call-audio-codec": "PCMU",
    }
    pbx.state.calls[body["call-id"]] = call
    pbx.soon("call", {**call, "domain": visit.domain})
    return accepted()


def _call(pbx: FakePbx, visit: Visit) -> dict[str, Any]:
    call = pbx.state.calls.get(visit.groups["callid"])
    return known(call if call and call["call-by-user"] == visit.user else None, "Call")


@route("GET", "/domains/{domain}/users/{user}/calls/{callid}")
def read_call(pbx: FakePbx, visit: Visit) -> Reply:
    return Reply(200, _call(pbx, visit))


@route("DELETE", "/domains/{domain}/users/{user}/calls/{callid}")
def end_call(pbx: FakePbx, visit: Visit) -> Reply:
    call = pbx.state.calls.pop(_call(pbx, visit)["call-orig-call-id"])
    started_at = parse_time(call["call-start-datetime"]) or 0.0
    record = pbx.state.add_cdr(visit.domain, started_at, max(1, int(pbx.clock.time() - started_at)))
    pbx.soon("cdr", record)
    return Reply(200, {"code": 200, "message": "OK"})
