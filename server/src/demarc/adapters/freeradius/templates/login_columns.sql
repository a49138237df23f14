-- What FreeRADIUS needs of a subscriber l at a NAS n; $3 is Calling-Station-Id. Columns: see login_map.j2. FreeRADIUS reads
-- NULL as '' or 0: settle.j2 sees to what a subscriber does not have. Every expression here costs at every
-- log-in, so what can be said without one is.
l.decision,
CASE WHEN l.decision = 'reject' THEN coalesce(nullif(l.decision_reason, ''), 'suspended')
     WHEN l.expires_at <= now() + n.clock_offset THEN 'expired'
     WHEN l.session_limit > 0 AND EXISTS (
          SELECT FROM radius_session s
           WHERE s.username = l.username AND s.tenant_id = l.tenant_id
             AND (s.calling_station_id = '' OR s.calling_station_id <> $3)
          OFFSET greatest(l.session_limit, 1) - 1) THEN 'session limit'
     END,
'0x' || l.nt_hash,
replace(l.clear_text, chr(92), repeat(chr(92), 2)),
CASE WHEN family(l.framed_ip) = 4 THEN host(l.framed_ip) ELSE '0.0.0.0' END,
replace(l.framed_pool, chr(92), repeat(chr(92), 2)),
CASE WHEN family(l.delegated_prefix) = 6 THEN l.delegated_prefix END,
CASE WHEN l.download_bps > 4294967295 THEN 4294967295 ELSE l.download_bps END,
CASE WHEN l.upload_bps > 4294967295 THEN 4294967295 ELSE l.upload_bps END,
CASE WHEN n.vendor = 'mikrotik' THEN l.upload_bps || '/' || l.download_bps END,
l.interim_seconds,
ceil(extract(epoch FROM l.expires_at - n.clock_offset)),
l.xmin,
n.xmin
