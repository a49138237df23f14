-- What FreeRADIUS needs of a subscriber l at a NAS n; $3 is Calling-Station-Id. Columns: see login_map.j2. FreeRADIUS reads
-- NULL as '' or 0: settle.j2 sees to what a subscriber does not have. Every column and every expression here costs at every
-- log-in: what only some subscribers have is one column, parted by chr(31). FreeRADIUS takes its backslashes off twice.
l.decision,
CASE WHEN l.decision = 'reject' THEN coalesce(nullif(l.decision_reason, ''), 'suspended')
     WHEN l.session_limit > 0 AND EXISTS (
          SELECT FROM radius_session s
           WHERE s.username = l.username AND s.tenant_id = l.tenant_id
             AND (s.calling_station_id = '' OR s.calling_station_id <> $3)
          OFFSET greatest(l.session_limit, 1) - 1) THEN 'session limit'
     END,
'0x' || l.nt_hash,
CASE WHEN family(l.framed_ip) = 4 THEN host(l.framed_ip) ELSE '0.0.0.0' END,
CASE WHEN l.download_bps > 4294967295 THEN 4294967295 ELSE l.download_bps END,
CASE WHEN l.upload_bps > 4294967295 THEN 4294967295 ELSE l.upload_bps END,
l.interim_seconds,
concat(l.username, ' ', n.nas_id, ' ', n.xmin, ' ', l.xmin),
CASE WHEN n.vendor = 'mikrotik' OR l.expires_at IS NOT NULL OR l.clear_text <> '' OR l.framed_pool <> ''
       OR l.delegated_prefix IS NOT NULL
     THEN concat(CASE WHEN n.vendor = 'mikrotik' THEN l.upload_bps || '/' || l.download_bps END, chr(31),
                 CASE WHEN family(l.delegated_prefix) = 6 THEN l.delegated_prefix END, chr(31),
                 replace(l.framed_pool, chr(92), repeat(chr(92), 4)), chr(31),
                 ceil(extract(epoch FROM l.expires_at - n.clock_offset)), chr(31),
                 replace(l.clear_text, chr(92), repeat(chr(92), 4)))
     END
