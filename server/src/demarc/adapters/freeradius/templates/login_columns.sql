-- What FreeRADIUS needs of a subscriber l at a NAS n; s is one of his live sessions from another device than $3, the
-- Calling-Station-Id. Columns: see login_map.j2. FreeRADIUS reads NULL as '' or 0: settle.j2 sees to what a subscriber does not
-- have. Every column and every operator here costs at every log-in, even one that is not reached: what is rare is in functions.
l.decision,
CASE WHEN l.decision = 'reject' THEN coalesce(nullif(l.decision_reason, ''), 'suspended')
     WHEN s.username IS NOT NULL THEN aaa_session_limit(l.tenant_id, l.username, $3, l.session_limit) END,
'0x' || l.nt_hash,
CASE WHEN family(l.framed_ip) = 4 THEN host(l.framed_ip) ELSE '0.0.0.0' END,
CASE WHEN l.download_bps > 4294967295 THEN 4294967295 ELSE l.download_bps END,
CASE WHEN l.upload_bps > 4294967295 THEN 4294967295 ELSE l.upload_bps END,
l.interim_seconds,
concat(l.username, ' ', n.nas_id, ' ', n.xmin, ' ', l.xmin),
CASE WHEN n.speed_replies IS NOT NULL OR l.replies IS NOT NULL OR l.expires_at IS NOT NULL OR l.clear_text IS NOT NULL
       OR l.framed_pool IS NOT NULL
     THEN aaa_extras(l.tenant_id, l.subscriber_id, n.nas_id) END
