-- What FreeRADIUS needs of a subscriber l at a NAS n; $3 is Calling-Station-Id. Columns: see login_map.j2. FreeRADIUS reads
-- NULL as '' or 0: settle.j2 sees to what a subscriber does not have. Every column and every expression here costs at every
-- log-in: what only some subscribers have is one column, parted by chr(31). FreeRADIUS takes its backslashes off three times.
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
CASE WHEN n.speed_replies <> '{}' OR l.replies <> '{}' OR l.expires_at IS NOT NULL OR l.clear_text <> '' OR l.framed_pool <> ''
     THEN concat_ws(chr(31),
          CASE WHEN n.speed_replies <> '{}' AND l.download_bps + l.upload_bps IS NOT NULL THEN 'reply:' ||
               replace(replace(replace(replace(replace(array_to_string(n.speed_replies, chr(31) || 'reply:'), chr(92), repeat(chr(92), 8)),
               '{upload_bps}', l.upload_bps::text), '{download_bps}', l.download_bps::text),
               '{upload_kbps}', (l.upload_bps / 1000)::text), '{download_kbps}', (l.download_bps / 1000)::text) END,
          CASE WHEN l.replies <> '{}' THEN 'reply:' ||
               replace(array_to_string(l.replies, chr(31) || 'reply:'), chr(92), repeat(chr(92), 8)) END,
          CASE WHEN l.framed_pool <> '' THEN 'reply:Framed-Pool=' || replace(translate(l.framed_pool, chr(31), ''), chr(92), repeat(chr(92), 8)) END,
          'control:Demarc-Expires=' || ceil(extract(epoch FROM l.expires_at - n.clock_offset)),
          CASE WHEN l.clear_text <> '' AND strpos(l.clear_text, chr(31)) = 0 THEN 'control:Cleartext-Password=' || replace(l.clear_text, chr(92), repeat(chr(92), 8)) END)
     END
