"""`/api/billing/usage/records`: one at a time and in bulk, exactly once."""

from __future__ import annotations

import asyncio
import json
import uuid

import msgspec
import pytest

from demarc.modules.usage.queries import get_usage_record

BASE = "/api/billing/usage"


async def test_the_document_records_usage(admin, sold):
    made = await admin.post(f"{BASE}/records", sold.usage(source_record_id="SESSION-20251014-001"))
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["quantity"], body["unit"], body["total_amount"]) == (6.0, "GB", 30)
    assert (body["subscription_id"], body["customer_id"]) == ("sub_abc123", str(sold.customer.uid))
    assert (body["billed_status"], body["invoice_id"], body["currency"]) == ("pending", None, "USD")
    assert body["period_start"] == "2025-10-14T08:00:00Z"
    assert (await admin.get(f"{BASE}/records/{body['id']}")).json() == body
    listed = (await admin.get(f"{BASE}/records", subscription_id="sub_abc123")).json()
    assert (listed["records"], listed["total"], listed["skip"], listed["limit"]) == ([body], 1, 0, 100)


async def test_the_same_source_record_again_is_the_first_one(admin, sold):
    first = await admin.post(f"{BASE}/records", sold.usage(source_record_id="s1", quantity=10.0))
    again = await admin.post(
        f"{BASE}/records",
        sold.usage(
            source_record_id="s1", quantity=10, period_start="2025-10-14T10:00:00+02:00", customer_id=None
        ),
    )
    assert (again.status_code, again.json()) == (200, first.json())
    other = await admin.post(f"{BASE}/records", sold.usage(source_record_id="s1", quantity=10.000001))
    assert (other.status_code, other.json()["error"]["code"]) == (409, "SOURCE_RECORD_DIFFERS")
    elsewhere = await admin.post(
        f"{BASE}/records", sold.usage(source_record_id="s1", source_system="netflow")
    )
    assert elsewhere.status_code == 201
    assert (await admin.get(f"{BASE}/records")).json()["total"] == 2


async def test_without_a_source_record_id_the_same_content_is_the_same_record(admin, sold):
    first = await admin.post(f"{BASE}/records", sold.usage())
    again = await admin.post(f"{BASE}/records", sold.usage(quantity=6))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert first.json()["source_record_id"] is None
    for other in ({"quantity": 6.000001}, {"source_system": "netflow"}, {"description": "more"}):
        assert (await admin.post(f"{BASE}/records", sold.usage(**other))).status_code == 201
    assert (await admin.get(f"{BASE}/records")).json()["total"] == 4


async def test_like_rows_of_one_request_stay_apart_and_the_request_again_brings_nothing(admin, sold):
    rows = [sold.usage(), sold.usage(), sold.usage(quantity=1)]
    first = (await admin.post(f"{BASE}/records/bulk", {"records": rows})).json()
    again = (await admin.post(f"{BASE}/records/bulk", {"records": rows})).json()
    assert (first["created"], len(set(first["ids"]))) == (3, 3)
    assert (again["created"], again["duplicates"], again["ids"]) == (0, 3, first["ids"])
    assert (await admin.get(f"{BASE}/records")).json()["total"] == 3


async def test_many_at_once_with_one_key_make_one_record(admin, sold):
    answers = await asyncio.gather(
        *(admin.post(f"{BASE}/records", sold.usage(source_record_id="race")) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await admin.get(f"{BASE}/records")).json()["total"] == 1


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"subscription_id": "sub_nobody"}, 404, "subscription_id"),
        ({"customer_id": str(uuid.uuid4())}, 422, "customer_id"),
        ({"customer_id": "ann"}, 422, "customer_id"),
        ({"quantity": -1}, 422, "quantity"),
        ({"quantity": "NaN"}, 422, "quantity"),
        ({"quantity": 0.1234567}, 422, "quantity"),
        ({"quantity": 1e30}, 422, "quantity"),
        ({"quantity": None}, 422, "quantity"),
        ({"unit_price": -0.01}, 422, "unit_price"),
        ({"usage_type": ""}, 422, "usage_type"),
        ({"usage_type": "x" * 41}, 422, "usage_type"),
        ({"period_end": "2025-10-14T07:00:00Z"}, 422, "period_end"),
        ({"period_start": "yesterday"}, 422, "period_start"),
        ({"period_start": "2025-13-01T00:00:00Z"}, 422, "period_start"),
        ({"period_start": "0001-01-01T00:00:00Z"}, 422, "period_start"),
        ({"source_record_id": ""}, 422, "source_record_id"),
        ({"description": "a\u0000b"}, 422, "description"),
    ],
)
async def test_bad_input_names_the_field(admin, sold, change, status, field):
    answer = await admin.post(f"{BASE}/records", sold.usage(**change))
    assert answer.status_code == status, answer.text
    assert field in [detail["field"] for detail in answer.json()["error"]["details"]]
    assert (await admin.get(f"{BASE}/records")).json()["total"] == 0


async def test_several_mistakes_are_named_at_once(admin, sold):
    answer = await admin.post(f"{BASE}/records", sold.usage(quantity=-1, unit=""))
    assert {detail["field"] for detail in answer.json()["error"]["details"]} == {"quantity", "unit"}


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b'{"a": "\xff"}'])
async def test_what_is_not_json_is_400(admin, body):
    for path in ("records", "records/bulk"):
        answer = await admin.client.post(f"{BASE}/{path}", content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "MALFORMED_REQUEST")


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null"])
async def test_json_of_another_shape_is_422(admin, body):
    for path in ("records", "records/bulk"):
        assert (await admin.client.post(f"{BASE}/{path}", content=body)).status_code == 422


async def test_day_31_is_clamped_and_naive_is_utc(admin, sold):
    made = await admin.post(
        f"{BASE}/records", sold.usage(period_start="2025-02-31T00:00:00", period_end="2025-02-31T23:59:59")
    )
    assert made.status_code == 201, made.text
    assert made.json()["period_start"] == "2025-02-28T00:00:00Z"


async def test_unknown_fields_are_ignored_and_numbers_stay_exact(admin, sold, tx):
    text = json.dumps(sold.usage(colour="red")).replace('"quantity": 6.0', '"quantity": 999999999999.123456')
    made = await admin.client.post(f"{BASE}/records", content=text)
    assert made.status_code == 201, made.text
    stored = await get_usage_record(tx, uuid.UUID(made.json()["id"]))
    assert str(stored.quantity) == "999999999999.123456"


async def test_a_bulk_request_takes_all_and_a_duplicate_is_a_success(admin, sold):
    rows = [sold.usage(source_record_id=f"r{n}") for n in range(5)]
    first = await admin.post(f"{BASE}/records/bulk", {"records": rows})
    assert first.status_code == 201, first.text
    assert {k: first.json()[k] for k in ("created", "duplicates", "rejected")} == {
        "created": 5,
        "duplicates": 0,
        "rejected": 0,
    }
    more = [*rows, sold.usage(source_record_id="r5"), sold.usage(source_record_id="r5"), sold.usage()]
    second = (await admin.post(f"{BASE}/records/bulk", {"records": more})).json()
    assert (second["created"], second["duplicates"], second["rejected"]) == (2, 6, 0)
    assert second["ids"][:5] == first.json()["ids"]
    assert second["ids"][5] == second["ids"][6]
    assert None not in second["ids"]
    assert (await admin.get(f"{BASE}/records")).json()["total"] == 7
    again = await admin.post(f"{BASE}/records/bulk", {"records": rows})
    assert (again.status_code, again.json()["created"]) == (200, 0)


@pytest.mark.parametrize(
    ("bad", "status", "field"),
    [
        ({"quantity": -1}, 422, "records.1.quantity"),
        ({"subscription_id": "sub_nobody"}, 404, "records.1.subscription_id"),
        ({"customer_id": str(uuid.uuid4())}, 422, "records.1.customer_id"),
        ({"source_record_id": "a", "quantity": 7}, 409, "records.1"),
    ],
)
async def test_fail_is_all_or_nothing(admin, sold, bad, status, field):
    rows = [sold.usage(source_record_id="a"), sold.usage(**{"source_record_id": "b", **bad}), sold.usage()]
    answer = await admin.post(f"{BASE}/records/bulk", {"records": rows})
    assert answer.status_code == status, answer.text
    assert field in [detail["field"] for detail in answer.json()["error"]["details"]]
    assert (await admin.get(f"{BASE}/records")).json()["total"] == 0


async def test_skip_takes_the_good_and_lists_the_rest(admin, sold):
    rows = [
        sold.usage(quantity=-1),
        sold.usage(source_record_id="a"),
        sold.usage(subscription_id="sub_nobody"),
        sold.usage(source_record_id="a", quantity=7),
        "no record",
        sold.usage(source_record_id="b", period_start="2025-02-31T00:00:00Z"),
    ]
    answer = await admin.post(f"{BASE}/records/bulk?on_error=skip", {"records": rows})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["created"], body["duplicates"], body["rejected"]) == (2, 0, 4)
    assert [reject["index"] for reject in body["rejects"]] == [0, 2, 3, 4]
    assert [reject["code"] for reject in body["rejects"]] == [
        "VALIDATION_ERROR",
        "NOT_FOUND",
        "SOURCE_RECORD_DIFFERS",
        "VALIDATION_ERROR",
    ]
    assert body["rejects"][0]["details"][0]["field"] == "quantity"
    assert [uid is None for uid in body["ids"]] == [True, False, True, True, True, False]
    assert (await admin.get(f"{BASE}/records")).json()["total"] == 2


async def test_skip_with_nothing_good_is_200(admin, sold):
    answer = await admin.post(f"{BASE}/records/bulk?on_error=skip", {"records": [{}]})
    assert (answer.status_code, answer.json()["rejected"]) == (200, 1)


async def test_a_bulk_request_has_a_size(admin, sold):
    for rows, status in (([], 422), ([sold.usage()] * 1001, 422), ([sold.usage()] * 1000, 201)):
        assert (await admin.post(f"{BASE}/records/bulk", {"records": rows})).status_code == status


async def test_overlapping_bulk_requests_at_once_store_each_record_once(admin, sold):
    rows = [sold.usage(source_record_id=f"r{n}") for n in range(200)]
    answers = await asyncio.gather(
        *(
            admin.post(f"{BASE}/records/bulk", {"records": order})
            for order in (rows, rows[::-1], rows[50:], rows[:150])
        )
    )
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert sum(answer.json()["created"] for answer in answers) == 200
    assert (await admin.get(f"{BASE}/records")).json()["total"] == 200


async def test_the_list_filters_sorts_and_pages(admin, sold, seller):
    other = await seller("sub_other")
    for day in (3, 1, 2):
        when = {"period_start": f"2025-10-0{day}T00:00:00Z", "period_end": f"2025-10-0{day}T01:00:00Z"}
        await admin.post(f"{BASE}/records", sold.usage(quantity=day, **when))
    await admin.post(f"{BASE}/records", other.usage(usage_type="voice_minutes", unit="min"))

    async def quantities(**params):
        listed = (await admin.get(f"{BASE}/records", **params)).json()
        return [row["quantity"] for row in listed["records"]], listed["total"]

    assert await quantities() == ([3, 1, 2, 6], 4)
    assert await quantities(sort="period_start", subscription_id="sub_abc123") == ([1, 2, 3], 3)
    assert await quantities(sort="-quantity", limit=1, skip=1) == ([3], 4)
    assert await quantities(usage_type="voice_minutes") == ([6], 1)
    assert await quantities(customer_id=str(other.customer.uid)) == ([6], 1)
    assert await quantities(period_start="2025-10-02T00:00:00", period_end="2025-10-02T23:59:59") == ([2], 1)
    assert await quantities(subscription_id="sub_nobody") == ([], 0)
    assert await quantities(invoice_id="in_nothing") == ([], 0)
    assert await quantities(billed_status="billed") == ([], 0)
    assert (await admin.get(f"{BASE}/records", sort="currency")).status_code == 422
    assert (await admin.get(f"{BASE}/records", billed_status="paid")).status_code == 422


async def test_another_tenants_usage_does_not_exist(admin, callers, sold, seller):
    made = (await admin.post(f"{BASE}/records", sold.usage(source_record_id="s1"))).json()
    theirs = await seller("sub_abc123", tenant=2)
    beta = await callers("beta", "admin")
    assert (await beta.get(f"{BASE}/records/{made['id']}")).status_code == 404
    assert (await beta.get(f"{BASE}/records")).json()["total"] == 0
    mine = await beta.post(f"{BASE}/records", theirs.usage(source_record_id="s1", quantity=1))
    assert (mine.status_code, mine.json()["currency"]) == (201, "EUR")
    assert (await beta.post(f"{BASE}/records", sold.usage())).status_code == 422


async def test_who_may_only_read_may_not_record(callers, sold):
    reader = await callers("alpha", "read_only")
    assert (await reader.post(f"{BASE}/records", sold.usage())).status_code == 403
    assert (await reader.post(f"{BASE}/records/bulk", {"records": [sold.usage()]})).status_code == 403
    assert (await reader.get(f"{BASE}/records")).status_code == 200


async def test_an_idempotency_key_repeats_the_bulk_answer(admin, sold):
    key = uuid.uuid4().hex
    first = await admin.post(f"{BASE}/records/bulk", {"records": [sold.usage()]}, Idempotency_Key=key)
    again = await admin.post(f"{BASE}/records/bulk", {"records": [sold.usage()]}, Idempotency_Key=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert (await admin.get(f"{BASE}/records")).json()["total"] == 1


async def test_a_bulk_write_is_one_audit_line_and_one_event(admin, sold, tx):
    await admin.post(f"{BASE}/records/bulk", {"records": [sold.usage() for _ in range(20)]})
    after = await tx.connection.fetch("SELECT after FROM audit_log WHERE action = 'usage_record.create'")
    assert [row["after"]["records"] for row in after] == [20]
    assert len(after[0]["after"]["digest"]) == 64
    assert (
        await tx.connection.fetchval("SELECT count(*) FROM outbox_event WHERE name = 'usage.recorded'") == 1
    )


async def test_a_record_that_is_left_out_costs_nothing_until_it_is_taken_in_again(admin, sold):
    """A slip of the source must not keep its subscription from ever being billed."""
    slip = sold.usage(quantity=999_999_999_999, unit_price=999_999)
    good = sold.usage(quantity=10, period_start="2025-10-13T08:00:00Z")
    path = f"{BASE}/records/{(await admin.post(f'{BASE}/records', slip)).json()['id']}"
    assert (await admin.post(f"{BASE}/records", good)).status_code == 201
    bill = {"subscription_id": "sub_abc123", "due_date": "2025-10-15", "line_items": {"bandwidth_gb": {}}}
    assert (await admin.post("/api/billing/invoices", bill)).status_code == 422
    run = {"period": "2025-10", "subscription_id": "sub_abc123", "dry_run": True}
    dry = (await admin.post("/api/billing/runs", run)).json()
    assert [(one["subscription_id"], one["code"]) for one in dry["failures"]] == [
        ("sub_abc123", "VALIDATION_ERROR")
    ]
    assert (dry["failed"], dry["billed"], dry["unchanged"]) == (1, 0, 0)
    left_out = await admin.patch(path, {"billed_status": "excluded", "reason": "slip of the source"})
    assert (left_out.status_code, left_out.json()["billed_status"]) == (200, "excluded")
    assert (await admin.get(f"{BASE}/pending")).json()["total_amount"] == 50
    made = (await admin.post("/api/billing/invoices", bill)).json()
    assert made["amount"] == 50
    for bad, status in (("billed", 422), ("gone", 422), ("error", 409)):
        assert (await admin.patch(path, {"billed_status": bad})).status_code == status
    assert (await admin.patch(path, {})).json()["billed_status"] == "excluded"
    assert (await admin.patch(path, {"billed_status": "pending"})).json()["billed_status"] == "pending"
    [billed] = (await admin.get(f"{BASE}/records", billed_status="billed")).json()["records"]
    refused = await admin.patch(f"{BASE}/records/{billed['id']}", {"billed_status": "excluded"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "ALREADY_BILLED")


def test_the_fast_path_and_the_document_describe_the_same_shapes():
    """Field by field: what msgspec decodes and encodes is what the Pydantic models document."""
    from demarc.modules.usage.inputs import NewUsage
    from demarc.web.bss.usage import schemas, wire

    pairs = [
        (NewUsage, schemas.UsageIn),
        (wire.BulkBody, schemas.UsageBulkIn),
        (wire.RecordWire, schemas.UsageRecordOut),
        (wire.BulkWire, schemas.UsageBulkOut),
        (wire.RejectWire, schemas.UsageReject),
    ]
    for fast, documented in pairs:
        assert shape_of(msgspec.json.schema(fast)) == shape_of(documented.model_json_schema()), fast


def shape_of(schema):
    """Fields with their kinds and limits, whatever words the two libraries use for them."""
    definitions = schema.get("$defs", {})
    top = resolved(schema, definitions)
    fields = {name: kind(one, definitions) for name, one in top["properties"].items()}
    return fields, sorted(top.get("required", []))


def resolved(schema, definitions):
    reference = schema.get("$ref", "")
    return definitions[reference.rpartition("/")[2]] if reference else schema


def kind(schema, definitions):
    schema = resolved(schema, definitions)
    if "anyOf" in schema:
        kinds = {kind(option, definitions) for option in schema["anyOf"]}
        # Pydantic documents a Decimal as a number or a string of digits, msgspec as a string.
        return "number" if "number" in kinds else " or ".join(sorted(kinds))
    if "enum" in schema:
        return "string"
    if schema.get("type") == "array":
        limits = (schema.get("minItems"), schema.get("maxItems"))
        return f"array {limits} of {kind(schema['items'], definitions)}"
    if "properties" in schema:
        return f"object {shape_of({**schema, '$defs': definitions})}"
    words = [schema.get("type", "any"), FORMATS.get(schema.get("format", ""), "")]
    if schema.get("format") == "decimal":
        return "number"
    return " ".join([*words, str(schema.get("minLength", "")), str(schema.get("maxLength", ""))]).strip()


FORMATS = {
    "uuid": "uuid"
}  # a time is date-time to Pydantic and nothing to msgspec, which takes naive ones too


@pytest.mark.parametrize(
    "query",
    [
        "limit=2&sort=-quantity", "subscription_id=sub_abc123&skip=1", "subscription_id=null", "billed_status=pending",
        "usage_type=voice_minutes&limit=500", "skip=50", "customer_id={customer}", "invoice_id=in_nothing",
        "limit=0", "limit=501", "limit=x", "skip=-1", "customer_id=x", "billed_status=x", "sort=x", "sort=" + "x" * 41,
        "limit=1&limit=2", "colour=red&limit=1", "subscription_id=%00", "subscription_id=%ff",
    ],
)  # fmt: skip
async def test_the_fast_list_answers_as_the_documented_one(admin, sold, query):
    """A query with a period goes to the documented route; all else being equal, so are the answers."""
    for number in range(3):
        await admin.post(f"{BASE}/records", sold.usage(quantity=number))
    query = query.format(customer=sold.customer.uid)
    fast = await admin.client.get(f"{BASE}/records?{query}")
    documented = await admin.client.get(f"{BASE}/records?{query}&period_start=1970-01-02")
    assert (fast.status_code, fast.json()) == (documented.status_code, documented.json())
    assert fast.status_code in (200, 422)


async def test_paths_found_by_one_look_up_keep_their_methods(admin):
    wrong = await admin.client.delete(f"{BASE}/records")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert (await admin.client.get(f"{BASE}/nothing")).status_code == 404
    assert (await admin.client.get(f"{BASE}/records/")).status_code in (307, 404)
