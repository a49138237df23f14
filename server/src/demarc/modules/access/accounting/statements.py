"""SQL of the merge. Set based: a handful of passes over a batch, whatever its size.

Parameters are named in a comment where they are used; names of temporary tables are `accounting_*`.
"""

from __future__ import annotations

TEMPORARY_TABLES = """
CREATE TEMP TABLE IF NOT EXISTS accounting_line (
    line_offset bigint, version text, packet_src_ip inet, status_type text, acct_session_id text, user_name text,
    nas_ip text, nas_port text, event_timestamp bigint, received_at bigint, delay_seconds bigint,
    session_seconds bigint, input_gigawords bigint, input_octets bigint, output_gigawords bigint,
    output_octets bigint, called_station_id text, calling_station_id text, terminate_cause text, framed_ip inet,
    framed_ipv6_prefix inet, delegated_prefix inet, class text, nas_identifier text
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS accounting_login_line (
    line_offset bigint, version text, received_at bigint, packet_src_ip inet, user_name text,
    reply text, calling_station_id text, reason text, had_message_authenticator text
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS accounting_packet (
    line_offset bigint, kind text, reason text, tenant_id int, nas_id bigint, subscriber_id bigint,
    service_id bigint, username text, acct_session_id text, event_at timestamptz, start_at timestamptz,
    start_known boolean, earliest timestamptz,
    latest timestamptz, month_on date, session_seconds bigint, input_octets bigint, output_octets bigint,
    nas_port text, framed_ip inet, delegated_prefix cidr, calling_station_id text, called_station_id text,
    terminate_cause text, session_id uuid, was text, was_provisional boolean, was_started_at timestamptz,
    was_stopped_at timestamptz, was_input_octets bigint, was_output_octets bigint
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS accounting_touch (
    tenant_id int, session_id uuid, nas_id bigint, subscriber_id bigint, service_id bigint, username text,
    acct_session_id text, was text, was_stopped_at timestamptz, reopens boolean, started_at timestamptz,
    last_at timestamptz, stop_at timestamptz, session_seconds bigint, input_octets bigint, output_octets bigint,
    nas_port text, framed_ip inet, delegated_prefix cidr, calling_station_id text, called_station_id text,
    terminate_cause text
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS accounting_delta (
    tenant_id int, session_id uuid, subscriber_id bigint, service_id bigint, event_at timestamptz,
    input_octets bigint, output_octets bigint
) ON COMMIT DELETE ROWS;
"""

ACCOUNTING_LOCK_SEED = 7_201
"""Separates the advisory locks of accounting from anybody else's."""

LOCK_NAS_OF_LINES = f"""
SELECT pg_advisory_xact_lock(key) FROM (
    SELECT DISTINCT hashint8extended(n.nas_id, {ACCOUNTING_LOCK_SEED}) AS key
    FROM (SELECT DISTINCT packet_src_ip FROM accounting_line) l
    JOIN aaa_nas n ON n.source_ip = l.packet_src_ip
    ORDER BY key
) nas
"""  # noqa: S608 - the only inserted value is the constant above

# $1 tolerance (interval). What a packet says and which live session it belongs to. What is computed from a line is materialised:
# inlined, each mention would compute it anew, and planning took longer than a thousand packets.
RESOLVE = """
WITH timed AS MATERIALIZED (
    SELECT l.line_offset, l.acct_session_id, l.user_name, l.session_seconds, l.delay_seconds,
           l.input_gigawords, l.input_octets, l.output_gigawords, l.output_octets, l.nas_port, l.framed_ip,
           l.delegated_prefix, l.calling_station_id, l.called_station_id, l.terminate_cause,
           k.kind, n.tenant_id, n.nas_id, e.event_at, date_trunc('month', e.event_at AT TIME ZONE t.time_zone)::date AS month_on,
           k.kind = 'start' OR l.session_seconds IS NOT NULL AS start_known,
           e.event_at - d.lasted AS start_at,
           CASE WHEN NOT k.moved_clock THEN to_timestamp(k.sent_at) - d.lasted END AS ours
    FROM accounting_line l
    LEFT JOIN aaa_nas n ON n.source_ip = l.packet_src_ip
    LEFT JOIN tenant t ON t.id = n.tenant_id
    CROSS JOIN LATERAL (
        SELECT CASE l.status_type WHEN 'Start' THEN 'start' WHEN 'Stop' THEN 'stop' WHEN 'Interim-Update' THEN 'interim'
                                  WHEN 'Alive' THEN 'interim' ELSE 'restart' END AS kind,
               l.received_at - coalesce(l.delay_seconds, 0) AS sent_at,
               t.is_sandbox OR t.clock_offset <> interval '0' AS moved_clock
        OFFSET 0
    ) k
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN k.moved_clock THEN coalesce(to_timestamp(l.event_timestamp), to_timestamp(k.sent_at) + t.clock_offset)
            WHEN l.event_timestamp BETWEEN k.sent_at - 86400 AND l.received_at + 86400 THEN to_timestamp(l.event_timestamp)
            ELSE to_timestamp(k.sent_at) END AS event_at
        OFFSET 0
    ) e
    CROSS JOIN LATERAL (
        SELECT CASE WHEN k.kind = 'start' THEN interval '0'
                    ELSE coalesce(l.session_seconds, 0) * interval '1 second' END AS lasted
        OFFSET 0
    ) d
), spanned AS MATERIALIZED (
    -- The derived start by the NAS's clock, and the span of what other readings of the same packet would give:
    -- Event-Timestamp rewritten at each retransmission, or a NAS clock that was set while the session ran.
    SELECT *, least(start_at - coalesce(delay_seconds, 0) * interval '1 second', ours) - $1::interval AS earliest,
           greatest(start_at, ours) + $1::interval AS latest
    FROM timed
)
INSERT INTO accounting_packet
SELECT l.line_offset, l.kind,
       CASE WHEN l.nas_id IS NULL THEN 'packet from an address that is no NAS'
            WHEN l.kind = 'restart' THEN NULL
            WHEN l.acct_session_id IS NULL THEN 'no Acct-Session-Id'
            WHEN l.user_name IS NULL THEN 'no User-Name'
            WHEN l.input_gigawords >= 1048576 OR l.output_gigawords >= 1048576
              OR l.input_octets > 4294967295 OR l.output_octets > 4294967295 THEN 'impossible octets'
            WHEN l.session_seconds > 2147483647 OR l.delay_seconds > 31536000 THEN 'impossible duration'
       END,
       l.tenant_id, l.nas_id, s.subscriber_id, s.service_id,
       l.user_name, l.acct_session_id, l.event_at, l.start_at, l.start_known, l.earliest, l.latest, l.month_on,
       coalesce(l.session_seconds, 0),
       (coalesce(l.input_gigawords, 0) << 32) + coalesce(l.input_octets, 0),
       (coalesce(l.output_gigawords, 0) << 32) + coalesce(l.output_octets, 0),
       l.nas_port, l.framed_ip, network(l.delegated_prefix), l.calling_station_id, l.called_station_id,
       l.terminate_cause, s.id, CASE WHEN s.id IS NOT NULL THEN 'live' END,
       NULL, s.started_at, NULL, coalesce(s.input_octets, 0), coalesce(s.output_octets, 0)
FROM spanned l
LEFT JOIN LATERAL (
    SELECT s.id, s.subscriber_id, s.service_id, s.started_at, s.input_octets, s.output_octets
    FROM radius_session s
    WHERE s.tenant_id = l.tenant_id AND s.nas_id = l.nas_id AND s.username = l.user_name
      AND s.acct_session_id = l.acct_session_id
      AND s.started_at <= l.latest AND (s.started_at >= l.earliest OR NOT l.start_known)
    ORDER BY abs(extract(epoch FROM s.started_at - l.start_at)) LIMIT 1
) s ON true
"""

# $1 tolerance. Packets of no live session: of one that has ended, or of a new one, and then whose.
RESOLVE_UNKNOWN = """
UPDATE accounting_packet p SET
    reason = CASE WHEN h.id IS NOT NULL THEN NULL
                  WHEN u.subscriber_id IS NULL AND i.subscriber_id IS NULL THEN 'user name is no subscriber''s'
                  WHEN u.tenant_id <> l.tenant_id AND i.subscriber_id IS NULL
                    THEN 'user name of another tenant than the NAS''s' END,
    subscriber_id = coalesce(h.subscriber_id, i.subscriber_id, u.subscriber_id),
    service_id = coalesce(h.service_id, i.service_id, u.service_id),
    session_id = h.id, was = CASE WHEN h.id IS NOT NULL THEN 'closed' END,
    was_provisional = h.provisional, was_started_at = h.started_at, was_stopped_at = h.stopped_at,
    was_input_octets = coalesce(h.input_octets, 0), was_output_octets = coalesce(h.output_octets, 0)
FROM accounting_packet l
LEFT JOIN LATERAL (
    SELECT h.id, h.subscriber_id, h.service_id, h.started_at, h.stopped_at, h.provisional,
           h.input_octets, h.output_octets
    FROM radius_session_history h
    WHERE h.tenant_id = l.tenant_id AND h.nas_id = l.nas_id AND h.username = l.username
      AND h.acct_session_id = l.acct_session_id
      AND h.started_at <= l.latest AND (h.started_at >= l.earliest OR NOT l.start_known)
      AND h.stopped_at >= CASE WHEN l.start_known THEN l.earliest ELSE l.event_at - interval '40 days' END
      AND (l.start_known OR h.provisional OR h.stopped_at >= l.event_at - $1::interval)
    ORDER BY abs(extract(epoch FROM h.started_at - l.start_at)) LIMIT 1
) h ON true
LEFT JOIN LATERAL (
    SELECT u.subscriber_id, u.service_id, u.tenant_id FROM aaa_login u WHERE h.id IS NULL AND u.username = l.username
) u ON true
LEFT JOIN LATERAL (
    -- Log-ins without a password: the user name is the MAC or the circuit-id of the line.
    SELECT i.subscriber_id, i.service_id
    FROM aaa_login i,
         (SELECT regexp_replace(regexp_replace(l.username, '[^0-9A-Za-z]', '', 'g'), '(..)(?!$)', '\\1:', 'g')) m(mac)
    WHERE (u.subscriber_id IS NULL OR u.tenant_id <> l.tenant_id) AND h.id IS NULL
      AND i.tenant_id = l.tenant_id
      AND (i.circuit_id = l.username OR i.mac = lower(m.mac))
    LIMIT 1
) i ON true
WHERE p.ctid = l.ctid AND l.session_id IS NULL AND l.reason IS NULL AND l.kind <> 'restart'
"""

UNRESOLVED = "SELECT line_offset, tenant_id, reason FROM accounting_packet WHERE reason IS NOT NULL ORDER BY line_offset"

# What is in a block decides which statements have something to do.
KINDS = """
SELECT coalesce(bool_or(session_id IS NULL AND kind <> 'restart' AND reason IS NULL), false) AS has_new,
       coalesce(bool_or(was = 'live'), false) AS has_live,
       coalesce(bool_or(was = 'closed'), false) AS has_closed,
       coalesce(bool_or(kind = 'stop'), false) AS has_stop,
       coalesce(bool_or(kind = 'restart'), false) AS has_restart,
       coalesce(bool_or(reason IS NOT NULL), false) AS has_unresolved
FROM accounting_packet
"""

# $1 tolerance. A packet with no session time belongs to the generation before it; the others open a new one when
# their derived start is further away than the tolerance. $2 the head of the new ids, `uuid7_head`.
NAME_NEW_SESSIONS = """
WITH known AS (
    SELECT ctid AS row_id, line_offset, ($2::text || substr(gen_random_uuid()::text, 16))::uuid AS made_id, tenant_id, nas_id, username, acct_session_id, start_at, start_known,
           max(start_at) FILTER (WHERE start_known) OVER (
               PARTITION BY tenant_id, nas_id, username, acct_session_id ORDER BY start_at, line_offset
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM accounting_packet
    WHERE session_id IS NULL AND reason IS NULL AND kind <> 'restart'
), generation AS (
    SELECT *, count(*) FILTER (WHERE start_known AND start_at - before > $1::interval) OVER (
               PARTITION BY tenant_id, nas_id, username, acct_session_id ORDER BY start_at, line_offset) AS ordinal
    FROM known
), named AS (
    SELECT row_id, first_value(made_id) OVER (
               PARTITION BY tenant_id, nas_id, username, acct_session_id, ordinal ORDER BY start_at, line_offset) AS id
    FROM generation
)
UPDATE accounting_packet p SET session_id = named.id FROM named WHERE p.ctid = named.row_id
"""

TOUCH = """
INSERT INTO accounting_touch
SELECT min(tenant_id), session_id, min(nas_id), min(subscriber_id), min(service_id), min(username),
       min(acct_session_id), min(was), min(was_stopped_at),
       coalesce(bool_or(was_provisional), false) AND max(event_at) > min(was_stopped_at)
           AND count(*) FILTER (WHERE kind = 'stop') = 0,
       coalesce(min(was_started_at), min(start_at) FILTER (WHERE start_known), min(event_at)),
       max(event_at), max(event_at) FILTER (WHERE kind = 'stop'), max(session_seconds),
       greatest(max(input_octets), max(was_input_octets)), greatest(max(output_octets), max(was_output_octets)),
       max(nas_port),
       (array_agg(framed_ip ORDER BY event_at DESC) FILTER (WHERE framed_ip IS NOT NULL))[1],
       (array_agg(delegated_prefix ORDER BY event_at DESC) FILTER (WHERE delegated_prefix IS NOT NULL))[1],
       max(calling_station_id), max(called_station_id), max(terminate_cause) FILTER (WHERE kind = 'stop')
FROM accounting_packet WHERE session_id IS NOT NULL AND reason IS NULL GROUP BY session_id
"""

# What no earlier packet had counted, booked in the month of the packet that brought it.
DELTA = """
INSERT INTO accounting_delta
SELECT * FROM (
SELECT tenant_id, session_id, subscriber_id, service_id, event_at,
       input_total - coalesce(lag(input_total) OVER months, was_input_octets) AS input_octets,
       output_total - coalesce(lag(output_total) OVER months, was_output_octets) AS output_octets
FROM (
    SELECT min(tenant_id) AS tenant_id, session_id, month_on, min(subscriber_id) AS subscriber_id,
           min(service_id) AS service_id, max(event_at) AS event_at,
           max(was_input_octets) AS was_input_octets, max(was_output_octets) AS was_output_octets,
           greatest(max(max(input_octets)) OVER upto, max(was_input_octets)) AS input_total,
           greatest(max(max(output_octets)) OVER upto, max(was_output_octets)) AS output_total
    FROM accounting_packet WHERE session_id IS NOT NULL AND reason IS NULL
    GROUP BY session_id, month_on
    WINDOW upto AS (PARTITION BY session_id ORDER BY month_on)
) monthly
WINDOW months AS (PARTITION BY session_id ORDER BY month_on)
) added WHERE input_octets <> 0 OR output_octets <> 0
"""

UPDATE_LIVE = """
UPDATE radius_session s SET
    updated_at = greatest(s.updated_at, t.last_at),
    session_seconds = greatest(s.session_seconds, t.session_seconds),
    input_octets = t.input_octets, output_octets = t.output_octets,
    nas_port = coalesce(t.nas_port, s.nas_port),
    framed_ip = CASE WHEN t.last_at >= s.updated_at THEN coalesce(t.framed_ip, s.framed_ip)
                     ELSE coalesce(s.framed_ip, t.framed_ip) END,
    delegated_prefix = CASE WHEN t.last_at >= s.updated_at THEN coalesce(t.delegated_prefix, s.delegated_prefix)
                            ELSE coalesce(s.delegated_prefix, t.delegated_prefix) END,
    calling_station_id = coalesce(t.calling_station_id, s.calling_station_id),
    called_station_id = coalesce(t.called_station_id, s.called_station_id)
FROM accounting_touch t
WHERE t.was = 'live' AND t.stop_at IS NULL AND s.tenant_id = t.tenant_id AND s.id = t.session_id
"""

_SESSION_COLUMNS = """tenant_id, id, nas_id, subscriber_id, service_id, username, acct_session_id, generation,
    started_at, updated_at, session_seconds, input_octets, output_octets, nas_port, framed_ip, delegated_prefix,
    calling_station_id, called_station_id"""

_FROM_TOUCH = """t.tenant_id, t.session_id, t.nas_id, t.subscriber_id, t.service_id, t.username, t.acct_session_id,
    floor(extract(epoch FROM t.started_at) / 60)::int, t.started_at, t.last_at, t.session_seconds,
    t.input_octets, t.output_octets, coalesce(t.nas_port, ''), t.framed_ip, t.delegated_prefix,
    coalesce(t.calling_station_id, ''), coalesce(t.called_station_id, '')"""

# `before` is the row as it stood, in `radius_session` or in the history.
_TOUCH_OVER_BEFORE = """t.tenant_id, t.session_id, t.nas_id, t.subscriber_id, t.service_id, t.username,
    t.acct_session_id, coalesce(before.generation, floor(extract(epoch FROM t.started_at) / 60)::int), t.started_at,
    greatest(before.updated_at, t.last_at), greatest(before.session_seconds, t.session_seconds),
    t.input_octets, t.output_octets, coalesce(t.nas_port, before.nas_port, ''),
    coalesce(t.framed_ip, before.framed_ip), coalesce(t.delegated_prefix, before.delegated_prefix),
    coalesce(t.calling_station_id, before.calling_station_id, ''),
    coalesce(t.called_station_id, before.called_station_id, '')"""

INSERT_LIVE = f"""
INSERT INTO radius_session ({_SESSION_COLUMNS})
SELECT {_FROM_TOUCH} FROM accounting_touch t WHERE t.was IS NULL AND t.stop_at IS NULL
"""  # noqa: S608 - only the column lists above are inserted

END_SESSIONS = f"""
WITH before AS (
    DELETE FROM radius_session s USING accounting_touch t
    WHERE t.was = 'live' AND t.stop_at IS NOT NULL AND s.tenant_id = t.tenant_id AND s.id = t.session_id
    RETURNING s.*
)
INSERT INTO radius_session_history ({_SESSION_COLUMNS}, stopped_at, terminate_cause, provisional)
SELECT {_TOUCH_OVER_BEFORE}, greatest(t.stop_at, t.started_at), coalesce(t.terminate_cause, ''), false
FROM accounting_touch t LEFT JOIN before ON before.tenant_id = t.tenant_id AND before.id = t.session_id
WHERE t.stop_at IS NOT NULL AND t.was IS DISTINCT FROM 'closed'
"""  # noqa: S608 - only the column lists above are inserted

REOPEN_SESSIONS = f"""
WITH before AS (
    DELETE FROM radius_session_history h USING accounting_touch t
    WHERE t.reopens AND h.tenant_id = t.tenant_id AND h.id = t.session_id AND h.stopped_at = t.was_stopped_at
    RETURNING h.*
)
INSERT INTO radius_session ({_SESSION_COLUMNS})
SELECT {_TOUCH_OVER_BEFORE}
FROM accounting_touch t JOIN before ON before.tenant_id = t.tenant_id AND before.id = t.session_id
WHERE t.reopens
"""  # noqa: S608 - only the column lists above are inserted

# A changed `stopped_at` moves the row to its month's partition.
AMEND_CLOSED = """
UPDATE radius_session_history h SET
    updated_at = greatest(h.updated_at, t.last_at),
    session_seconds = greatest(h.session_seconds, t.session_seconds),
    input_octets = t.input_octets, output_octets = t.output_octets,
    stopped_at = CASE WHEN t.stop_at IS NULL THEN h.stopped_at
                      WHEN h.provisional THEN greatest(t.stop_at, h.started_at)
                      ELSE greatest(h.stopped_at, t.stop_at) END,
    terminate_cause = CASE WHEN h.provisional AND t.stop_at IS NOT NULL THEN coalesce(t.terminate_cause, '')
                           ELSE h.terminate_cause END,
    provisional = h.provisional AND t.stop_at IS NULL,
    framed_ip = coalesce(h.framed_ip, t.framed_ip),
    delegated_prefix = coalesce(h.delegated_prefix, t.delegated_prefix)
FROM accounting_touch t
WHERE t.was = 'closed' AND NOT t.reopens
  AND h.tenant_id = t.tenant_id AND h.id = t.session_id AND h.stopped_at = t.was_stopped_at
  AND (t.input_octets > h.input_octets OR t.output_octets > h.output_octets
       OR t.session_seconds > h.session_seconds
       OR (t.stop_at IS NOT NULL AND (h.provisional OR t.stop_at > h.stopped_at)))
"""

# $1 tolerance. The NAS has given the session id away again: the older generation has ended unheard.
CLOSE_SUPERSEDED = f"""
WITH ended AS (
    DELETE FROM radius_session s USING accounting_touch t
    WHERE (t.was IS NULL OR t.reopens)
      AND s.tenant_id = t.tenant_id AND s.nas_id = t.nas_id AND s.username = t.username
      AND s.acct_session_id = t.acct_session_id
      AND (s.started_at < t.started_at - $1::interval
           OR EXISTS (SELECT FROM radius_session newer
                      WHERE newer.tenant_id = s.tenant_id AND newer.nas_id = s.nas_id
                        AND newer.username = s.username AND newer.acct_session_id = s.acct_session_id
                        AND newer.started_at > s.started_at + $1::interval))
    RETURNING s.*
)
INSERT INTO radius_session_history ({_SESSION_COLUMNS}, stopped_at, terminate_cause, provisional)
SELECT {_SESSION_COLUMNS}, updated_at, 'Session-Id-Reused', true FROM ended
"""  # noqa: S608 - only the column list above is inserted

CLOSE_RESTARTED = f"""
WITH restart AS MATERIALIZED (
    SELECT tenant_id, nas_id, max(event_at) AS event_at FROM accounting_packet
    WHERE kind = 'restart' AND reason IS NULL GROUP BY tenant_id, nas_id
), ended AS (
    DELETE FROM radius_session s USING restart r
    WHERE s.tenant_id = r.tenant_id AND s.nas_id = r.nas_id
      AND s.started_at < r.event_at AND s.updated_at <= r.event_at
    RETURNING s.*, r.event_at AS restarted_at
)
INSERT INTO radius_session_history ({_SESSION_COLUMNS}, stopped_at, terminate_cause, provisional)
SELECT {_SESSION_COLUMNS}, restarted_at, 'NAS-Reboot', true FROM ended
"""  # noqa: S608 - only the column list above is inserted

# $1 now (real time), $2 how many interim intervals a session may be silent
_STALE = """
FROM radius_session s
JOIN tenant t ON t.id = s.tenant_id
LEFT JOIN aaa_login u ON u.tenant_id = s.tenant_id AND u.subscriber_id = s.subscriber_id
WHERE s.updated_at < $1::timestamptz + t.clock_offset
      - coalesce(u.interim_seconds, 300) * $2::float8 * interval '1 second'
"""

LOCK_NAS_OF_STALE = f"""
SELECT pg_advisory_xact_lock(key) FROM (
    SELECT DISTINCT hashint8extended(s.nas_id, {ACCOUNTING_LOCK_SEED}) AS key {_STALE} ORDER BY key
) nas
"""  # noqa: S608 - only constants are inserted

CLOSE_STALE = f"""
WITH stale AS MATERIALIZED (SELECT s.tenant_id, s.id {_STALE}), ended AS (
    DELETE FROM radius_session s USING stale
    WHERE s.tenant_id = stale.tenant_id AND s.id = stale.id
    RETURNING s.*
)
INSERT INTO radius_session_history ({_SESSION_COLUMNS}, stopped_at, terminate_cause, provisional)
SELECT {_SESSION_COLUMNS}, updated_at, 'Stale', true FROM ended
"""  # noqa: S608 - only constants and the column list above are inserted

UNKNOWN_LOGINS = """
SELECT l.line_offset, NULL::int AS tenant_id, 'log-in from an address that is no NAS' AS reason
FROM accounting_login_line l
WHERE NOT EXISTS (SELECT FROM aaa_nas n WHERE n.source_ip = l.packet_src_ip)
"""

UPSERT_LOGINS = """
INSERT INTO login_attempt AS a (tenant_id, username, accepted, reason, calling_station_id, nas_id, attempted_at, reject_reason,
                                rejected_at)
SELECT DISTINCT ON (n.tenant_id, l.user_name)
       n.tenant_id, l.user_name, l.reply = 'Access-Accept', coalesce(l.reason, ''),
       coalesce(l.calling_station_id, ''), n.nas_id, to_timestamp(l.received_at),
       first_value(CASE WHEN l.reply = 'Access-Reject' THEN coalesce(l.reason, '') END) OVER refusals,
       first_value(CASE WHEN l.reply = 'Access-Reject' THEN to_timestamp(l.received_at) END) OVER refusals
FROM accounting_login_line l JOIN aaa_nas n ON n.source_ip = l.packet_src_ip
WHERE l.user_name IS NOT NULL
WINDOW refusals AS (PARTITION BY n.tenant_id, l.user_name
                    ORDER BY l.reply = 'Access-Reject' DESC, l.received_at DESC, l.line_offset DESC)
ORDER BY n.tenant_id, l.user_name, l.received_at DESC, l.line_offset DESC
ON CONFLICT (tenant_id, username) DO UPDATE SET
    accepted = excluded.accepted, reason = excluded.reason, calling_station_id = excluded.calling_station_id,
    nas_id = excluded.nas_id, attempted_at = excluded.attempted_at,
    reject_reason = coalesce(excluded.reject_reason, a.reject_reason), rejected_at = coalesce(excluded.rejected_at, a.rejected_at)
WHERE a.attempted_at <= excluded.attempted_at
"""

# `auto` requires a Message-Authenticator from the first valid one seen on (CVE-2024-3596).
MARK_SIGNING_NAS = """
UPDATE aaa_nas n SET message_authenticator_seen = true
WHERE NOT n.message_authenticator_seen AND n.message_authenticator = 'auto'
  AND EXISTS (SELECT FROM accounting_login_line l
              WHERE l.packet_src_ip = n.source_ip AND l.had_message_authenticator::int > 0)
"""

TOUCHED = """
SELECT DISTINCT tenant_id, CASE WHEN (was IS NULL OR reopens) AND stop_at IS NULL THEN subscriber_id END AS subscriber_id
FROM accounting_touch
"""
