"""SQL of the hot path: one statement for a whole request. `$1` is the tenant in each."""

from __future__ import annotations

FIND_OWNERS = """
SELECT s.ref, s.id AS subscription_id, s.customer_id, c.uid AS customer_uid, s.currency, s.plan_id
FROM subscription s JOIN customer c ON c.tenant_id = s.tenant_id AND c.id = s.customer_id
WHERE s.tenant_id = $1 AND s.ref = ANY($2::text[])
"""

# Numbers come as millionths. The keys decide what is new: a key that is there already, or twice in the request, brings no second record.
# They are taken in order, so that two requests with the same keys wait for each other and never in a circle.
INSERT_RECORDS = """
WITH sent AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('usage_record', 'id')) AS id, t.*
    FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::text[], $8::bigint[],
                $9::text[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[], $14::text[], $15::text[],
                $16::bytea[], $17::bigint[])
         AS t(uid, subscription_id, customer_id, usage_type, quantity, unit, unit_price, currency, period_start,
              period_end, source_system, source_record_id, description, source_key, fingerprint, price_id)
), keyed AS (
    INSERT INTO usage_source_key (tenant_id, source_system, source_record_id, record_id, fingerprint)
    SELECT $1::int, source_system, source_key, id, fingerprint FROM sent ORDER BY source_system, source_key, id
    ON CONFLICT DO NOTHING RETURNING record_id
), made AS (
    INSERT INTO usage_record (tenant_id, id, uid, subscription_id, customer_id, usage_type, quantity, unit, unit_price,
                              currency, period_start, period_end, source_system, source_record_id, description, price_id)
    SELECT $1::int, id, uid, subscription_id, customer_id, usage_type, quantity * 0.000001, unit, unit_price * 0.000001,
           currency, period_start, period_end, source_system, source_record_id, description, price_id
    FROM sent WHERE id IN (SELECT record_id FROM keyed)
    RETURNING 1
)
SELECT count(*) FROM made
"""

# Metering: what the accounting of one block added, per session and month of the tenant. A tenant that meters
# elsewhere (setting `metering: external`) is left out.
_ADDED = """
added AS MATERIALIZED (
    SELECT d.tenant_id, d.session_id, d.service_id, date_trunc('month', d.event_at AT TIME ZONE t.time_zone)::date AS month_on,
           min(d.event_at) AS first_at, max(d.event_at) AS last_at, min(t.time_zone) AS time_zone,
           sum(d.input_octets)::bigint AS input_octets, sum(d.output_octets)::bigint AS output_octets
    FROM accounting_delta d JOIN tenant t ON t.id = d.tenant_id
    WHERE coalesce(t.settings ->> 'metering', 'platform') <> 'external'
    GROUP BY d.tenant_id, d.session_id, d.service_id, 4
)
"""

# What has an open record raises it; what is left has none, and opens the session's next part of that month. The update waits
# for a bill that is just being made and then finds the record closed. NOT IN is hashed whatever the planner expects of `raised`.
# What began under a plan that was left since (`past`) is that plan's, and is not raised: what follows is the present plan's.
# A service that no subscription pays for fails the NOT NULL of subscription_id: the ingester keeps the line. $1 `uuid7_head`.
RAISE = f"""
WITH {_ADDED}, raised AS (
    UPDATE usage_record r SET
        input_octets = r.input_octets + a.input_octets,
        output_octets = r.output_octets + a.output_octets,
        quantity = round((r.input_octets + r.output_octets + a.input_octets + a.output_octets)::numeric / 1073741824, 6),
        period_start = least(r.period_start, a.first_at), period_end = greatest(r.period_end, a.last_at),
        updated_at = now()
    FROM added a
    WHERE r.tenant_id = a.tenant_id AND r.session_id = a.session_id AND r.month_on = a.month_on
      AND r.is_open AND r.billed_status = 'pending'
    RETURNING r.session_id, r.month_on
), fresh AS MATERIALIZED (
    SELECT a.*, p.part,
           a.session_id || to_char(a.month_on, '/YYYY-MM') || CASE WHEN p.part > 1 THEN '/' || p.part ELSE '' END AS source_record_id
    FROM (SELECT * FROM added WHERE (session_id, month_on) NOT IN (SELECT session_id, month_on FROM raised)) a
    CROSS JOIN LATERAL (
        SELECT coalesce(max(r.part), 0) + 1 AS part FROM usage_record r
        WHERE r.tenant_id = a.tenant_id AND r.session_id = a.session_id AND r.month_on = a.month_on
    ) p
)
INSERT INTO usage_record (tenant_id, uid, subscription_id, customer_id, service_id, session_id, month_on, part, is_open,
                          usage_type, quantity, unit, unit_price, price_id, currency, input_octets, output_octets,
                          period_start, period_end, source_system, source_record_id)
SELECT f.tenant_id, ($1::text || substr(gen_random_uuid()::text, 16))::uuid, s.subscription_id, u.customer_id, f.service_id, f.session_id, f.month_on, f.part, past.plan_id IS NULL,
       'bandwidth_gb', round((f.input_octets + f.output_octets)::numeric / 1073741824, 6), 'GB',
       coalesce(price.unit_price, 0), price.price_id, u.currency, f.input_octets, f.output_octets,
       f.first_at, f.last_at, 'radius', f.source_record_id
FROM fresh f
LEFT JOIN service s ON s.tenant_id = f.tenant_id AND s.id = f.service_id
LEFT JOIN subscription u ON u.tenant_id = s.tenant_id AND u.id = s.subscription_id
LEFT JOIN LATERAL (
    SELECT t.plan_id FROM subscription_term t
    WHERE t.tenant_id = u.tenant_id AND t.subscription_id = u.id AND t.ended_at > f.first_at
    ORDER BY t.ended_at, t.id LIMIT 1
) past ON true
LEFT JOIN LATERAL (
    SELECT CASE WHEN p.included > 0 THEN 0 ELSE p.unit_price END AS unit_price, CASE WHEN p.model <> 'flat' THEN p.id END AS price_id
    FROM plan_usage_price p
    WHERE p.tenant_id = u.tenant_id AND p.usage_type = 'bandwidth_gb'
      AND p.plan_id = coalesce(past.plan_id, u.plan_id)
      AND p.effective_on <= (f.first_at AT TIME ZONE f.time_zone)::date
      AND (p.until_on IS NULL OR p.until_on > (f.first_at AT TIME ZONE f.time_zone)::date)
    ORDER BY p.until_on IS NULL, p.effective_on DESC LIMIT 1
) price ON true
"""  # noqa: S608 - constants

# Data caps: what the block added to the month of each service that has one, and which thresholds that reached. Services without
# a cap cost one look-up. In order of service, so that two nodes never wait for each other in a circle.
_REACHED = """
INSERT INTO data_crossing (tenant_id, service_id, month_on, threshold, allowance_octets, used_octets, crossed_at)
SELECT r.tenant_id, r.service_id, r.month_on, mark.threshold, r.allowance_octets, r.used_octets, r.at
FROM reached r CROSS JOIN (VALUES (80), (100)) AS mark(threshold)
WHERE r.used_octets::numeric * 100 >= r.allowance_octets::numeric * mark.threshold
ON CONFLICT DO NOTHING
"""

RAISE_CAPS = f"""
WITH used AS MATERIALIZED (
    SELECT d.tenant_id, d.service_id, date_trunc('month', d.event_at AT TIME ZONE t.time_zone)::date AS month_on,
           max(d.event_at) AS at, min(c.limit_octets) AS limit_octets, sum(d.input_octets + d.output_octets)::bigint AS octets
    FROM accounting_delta d
    JOIN data_cap c ON c.tenant_id = d.tenant_id AND c.service_id = d.service_id
    JOIN tenant t ON t.id = d.tenant_id
    GROUP BY d.tenant_id, d.service_id, 3
), raised AS (
    INSERT INTO data_period AS p (tenant_id, service_id, month_on, limit_octets, used_octets)
    SELECT tenant_id, service_id, month_on, limit_octets, octets FROM used ORDER BY tenant_id, service_id, month_on
    ON CONFLICT (tenant_id, service_id, month_on) DO UPDATE SET used_octets = p.used_octets + excluded.used_octets, updated_at = now()
    RETURNING p.tenant_id, p.service_id, p.month_on, p.used_octets, p.limit_octets + p.bonus_octets AS allowance_octets
), reached AS (
    SELECT r.*, u.at FROM raised r
    JOIN used u ON u.tenant_id = r.tenant_id AND u.service_id = r.service_id AND u.month_on = r.month_on
)
{_REACHED}
"""  # noqa: S608 - constants

# $2 service, $3 month, $4 business time: the same for one month whose allowance was changed.
NOTE_REACHED = f"""
WITH reached AS (
    SELECT p.tenant_id, p.service_id, p.month_on, p.used_octets, p.limit_octets + p.bonus_octets AS allowance_octets,
           $4::timestamptz AS at
    FROM data_period p WHERE p.tenant_id = $1 AND p.service_id = $2 AND p.month_on = $3
)
{_REACHED}
"""  # noqa: S608 - constants

# $2 service, $3 month, $4 limit, $5 top-up.
RAISE_ALLOWANCE = """
INSERT INTO data_period AS p (tenant_id, service_id, month_on, limit_octets, bonus_octets) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id, service_id, month_on) DO UPDATE SET
    limit_octets = excluded.limit_octets, bonus_octets = p.bonus_octets + excluded.bonus_octets, updated_at = now()
"""

# $2 service, $3 subscription, $4 month, $5 limit: a cap set in the middle of a month counts what was metered since its beginning.
OPEN_PERIOD = """
INSERT INTO data_period AS p (tenant_id, service_id, month_on, limit_octets, used_octets)
SELECT $1, $2, $4, $5, coalesce(sum(r.input_octets + r.output_octets), 0) FROM usage_record r
WHERE r.tenant_id = $1 AND r.subscription_id = $3 AND r.service_id = $2 AND r.month_on = $4
ON CONFLICT (tenant_id, service_id, month_on) DO UPDATE SET
    limit_octets = excluded.limit_octets, used_octets = greatest(p.used_octets, excluded.used_octets), updated_at = now()
"""

MARK_BILLED = """
UPDATE usage_record SET billed_status = 'billed', invoice_id = $3, invoice_ref = $4, billed_at = $5,
                        is_open = false, updated_at = now()
WHERE tenant_id = $1 AND id = ANY($2::bigint[]) AND billed_status = 'pending'
"""

# $2 subscription: what is metered from now on opens the next part, at the price of the plan that it is of by then.
CLOSE_OPEN = """
UPDATE usage_record SET is_open = false, updated_at = now()
WHERE tenant_id = $1 AND subscription_id = $2 AND is_open AND billed_status = 'pending'
"""

# $2 record, $3 status. A metered record is closed with it: what follows is another one's.
SET_BILLED_STATUS = """
UPDATE usage_record SET billed_status = $3, is_open = false, updated_at = now() WHERE tenant_id = $1 AND id = $2
"""

RELEASE_BILLED = """
UPDATE usage_record SET billed_status = 'pending', invoice_id = NULL, invoice_ref = NULL, billed_at = NULL, updated_at = now()
WHERE tenant_id = $1 AND invoice_id = $2 AND billed_status = 'billed'
"""

LOCK_PENDING = """
SELECT id FROM usage_record
WHERE tenant_id = $1 AND subscription_id = $2 AND billed_status = 'pending' AND period_start >= $3 AND period_start < $4
ORDER BY id FOR UPDATE
"""
