"""The floor: a raw ASGI application on asyncpg that does what the platform's routes do, and nothing that they need not.

Log-in token, tenant header, the tenant's row-level security, validation, duplicates found by key, an audit line, one
transaction; the same tables. No routing, no request id, no log, no metrics, no events, no OpenAPI, no error details.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl
from uuid import UUID, uuid4

import asyncpg
import jwt
import msgspec

from demarc.kernel.crypto import load_master_key

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Short = Annotated[str, msgspec.Meta(min_length=1, max_length=50)]

KEY = load_master_key(Path(os.environ["FLOOR_KEY_FILE"])).derive("access-token")
BIND = "SELECT * FROM begin_tenant($1, $2)"
AUDIT = (
    "INSERT INTO audit_log (tenant_id, actor_kind, actor_name, actor_user_id, action, entity, entity_id, after) "
    "VALUES ($1, 'user', $2, $3, $4, $5, $6, $7)"
)
OWNERS = (
    "SELECT s.ref, s.id, s.customer_id, s.currency, c.uid FROM subscription s "
    "JOIN customer c ON c.tenant_id = s.tenant_id AND c.id = s.customer_id WHERE s.tenant_id = $1 AND s.ref = ANY($2)"
)
INGEST = """
WITH sent AS MATERIALIZED (
    SELECT nextval('usage_record_id_seq') AS id, t.*
    FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::numeric[], $7::text[], $8::numeric[], $9::text[],
                $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[], $14::text[], $15::bytea[])
         AS t(uid, subscription_id, customer_id, usage_type, quantity, unit, unit_price, currency, period_start,
              period_end, source_system, source_record_id, description, fingerprint)
), keyed AS (
    INSERT INTO usage_source_key (tenant_id, source_system, source_record_id, record_id, fingerprint)
    SELECT $1::int, source_system, source_record_id, id, fingerprint FROM sent ON CONFLICT DO NOTHING RETURNING record_id
), made AS (
    INSERT INTO usage_record (tenant_id, id, uid, subscription_id, customer_id, usage_type, quantity, unit, unit_price,
                              currency, period_start, period_end, source_system, source_record_id, description)
    SELECT $1::int, id, uid, subscription_id, customer_id, usage_type, quantity, unit, unit_price, currency,
           period_start, period_end, source_system, source_record_id, description
    FROM sent WHERE id IN (SELECT record_id FROM keyed) RETURNING 1
)
SELECT count(*) FROM made
"""
CUSTOMER = "INSERT INTO customer (tenant_id, name, email, phone, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5) RETURNING *"
CUSTOMERS = """
SELECT c.*, (SELECT count(*) FROM customer WHERE tenant_id = $1 AND status = $2) AS total
FROM customer c WHERE tenant_id = $1 AND status = $2 ORDER BY created_at, id LIMIT $3 OFFSET $4
"""
RECORDS = """
WITH s AS MATERIALIZED (SELECT id, ref FROM subscription WHERE tenant_id = $1 AND ref = $2)
SELECT r.uid, (SELECT ref FROM s), c.uid AS customer_uid, r.usage_type, r.quantity, r.unit, r.unit_price, r.currency,
       r.period_start, r.period_end, r.source_system, r.source_record_id, r.description, r.billed_status, r.invoice_ref,
       r.billed_at, r.input_octets, r.output_octets, r.created_at,
       (SELECT count(*) FROM usage_record WHERE tenant_id = $1 AND subscription_id = (SELECT id FROM s)) AS total
FROM usage_record r JOIN customer c ON c.tenant_id = r.tenant_id AND c.id = r.customer_id
WHERE r.tenant_id = $1 AND r.subscription_id = (SELECT id FROM s) ORDER BY r.id LIMIT $3 OFFSET $4
"""
RECORD_NAMES = (
    "id", "subscription_id", "customer_id", "usage_type", "quantity", "unit", "unit_price", "currency", "period_start",
    "period_end", "source_system", "source_record_id", "description", "billed_status", "invoice_id", "billed_at",
    "input_octets", "output_octets", "created_at",
)  # fmt: skip
CUSTOMER_NAMES = (
    "name", "email", "phone", "tier", "tags", "address", "billing_address", "language", "status", "created_at",
    "updated_at",
)  # fmt: skip


class Usage(msgspec.Struct, gc=False):
    subscription_id: Short
    customer_id: UUID
    usage_type: Short
    quantity: Decimal
    unit: Short
    unit_price: Decimal
    period_start: datetime
    period_end: datetime
    source_system: Short
    source_record_id: Name
    description: str = ""

    def __post_init__(self) -> None:
        if not (self.quantity >= 0 and self.unit_price >= 0 and self.period_end >= self.period_start):
            raise ValueError("out of range")


class Bulk(msgspec.Struct, gc=False):
    records: Annotated[list[Usage], msgspec.Meta(min_length=1, max_length=1000)]


class Customer(msgspec.Struct, gc=False):
    name: Name
    email: Annotated[str, msgspec.Meta(pattern=r"^[^@\s]+@[^@\s]+$")]
    phone: Annotated[str, msgspec.Meta(pattern=r"^\+?\d{7,20}$")]


BULK, CUSTOMER_BODY = msgspec.json.Decoder(Bulk), msgspec.json.Decoder(Customer)
ENCODER, PACK = msgspec.json.Encoder(), msgspec.msgpack.Encoder()
pool: asyncpg.Pool


async def prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda v: ENCODER.encode(v).decode(),
        decoder=msgspec.json.decode,
    )


async def read_body(receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def principal(headers: dict[bytes, bytes]) -> dict:
    token = headers[b"authorization"].removeprefix(b"Bearer ")
    claims = jwt.decode(
        token, KEY, algorithms=["HS256"], audience="demarc", options={"require": ["exp", "sub", "aud"]}
    )
    if headers[b"x-tenant-id"].decode() != claims["tenant"]:
        raise PermissionError
    return claims


async def ingest(connection, who, body: bytes, _query) -> dict:
    rows = BULK.decode(body).records
    found = await connection.fetch(OWNERS, who["tid"], list({row.subscription_id for row in rows}))
    owners = {ref: (sub, customer, currency, uid) for ref, sub, customer, currency, uid in found}
    values = []
    for row in rows:
        sub, customer, currency, uid = owners[row.subscription_id]
        if uid != row.customer_id:
            raise ValueError("customer_id")
        values.append((
            uuid4(), sub, customer, row.usage_type, row.quantity, row.unit, row.unit_price, currency, row.period_start,
            row.period_end, row.source_system, row.source_record_id, row.description,
            blake2b(PACK.encode(row), digest_size=16).digest(),
        ))  # fmt: skip
    columns = [list(column) for column in zip(*values, strict=True)]
    created = await connection.fetchval(INGEST, who["tid"], *columns)
    await connection.execute(
        AUDIT, who["tid"], who["name"], int(who["sub"]), "usage.create", "usage", 0, {"records": created}
    )
    return {"created": created, "duplicates": len(rows) - created, "ids": columns[0]}


async def create_customer(connection, who, body: bytes, _query) -> dict:
    new = CUSTOMER_BODY.decode(body)
    made = await connection.fetchrow(CUSTOMER, who["tid"], new.name, new.email, new.phone, datetime.now(UTC))
    answer = {"id": made["uid"], **{name: made[name] for name in CUSTOMER_NAMES}}
    await connection.execute(
        AUDIT, who["tid"], who["name"], int(who["sub"]), "customer.create", "customer", made["id"], answer
    )
    return answer


async def list_customers(connection, who, _body, query) -> dict:
    limit, skip = int(query.get("limit", 100)), int(query.get("skip", 0))
    rows = await connection.fetch(CUSTOMERS, who["tid"], query["status"], limit, skip)
    return {
        "customers": [{"id": row["uid"], **{name: row[name] for name in CUSTOMER_NAMES}} for row in rows],
        "total": rows[0]["total"] if rows else 0, "skip": skip, "limit": limit,
    }  # fmt: skip


async def list_records(connection, who, _body, query) -> dict:
    limit, skip = int(query.get("limit", 100)), int(query.get("skip", 0))
    rows = await connection.fetch(RECORDS, who["tid"], query["subscription_id"], limit, skip)
    records = []
    for row in rows:
        record = dict(zip(RECORD_NAMES, row, strict=False))
        record["total_amount"] = round(row["quantity"] * row["unit_price"] * 100)
        record["quantity"], record["unit_price"] = float(row["quantity"]), float(row["unit_price"])
        records.append(record)
    return {"records": records, "total": rows[0]["total"] if rows else 0, "skip": skip, "limit": limit}


ROUTES = {
    ("POST", "/api/billing/usage/records/bulk"): (ingest, 201),
    ("POST", "/api/customers"): (create_customer, 201),
    ("GET", "/api/customers"): (list_customers, 200),
    ("GET", "/api/billing/usage/records"): (list_records, 200),
}


async def app(scope, receive, send) -> None:
    global pool  # noqa: PLW0603 - one pool per process
    if scope["type"] == "lifespan":
        await receive()
        pool = await asyncpg.create_pool(os.environ["FLOOR_DSN"], min_size=1, max_size=10, init=prepare)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await pool.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    handler, status = ROUTES[scope["method"], scope["path"]]
    who = principal(dict(scope["headers"]))
    body = await read_body(receive)
    async with pool.acquire() as connection, connection.transaction():
        if await connection.fetchrow(BIND, who["tid"], int(who["sub"])) is None:
            raise PermissionError
        answer = await handler(connection, who, body, dict(parse_qsl(scope["query_string"].decode())))
    payload = ENCODER.encode(answer)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})
