-- $1 to $3 as by name, $4 the device's MAC or '', $5 the circuit id or '', $6 the remote id or ''. A row with both ids wants both.
-- Found by its line, a subscriber needs no password;
-- found by User-Name alone, it does. A name that matches goes before a line that belongs to someone else.
SELECT << login_columns >>,
       CASE WHEN l.by_line THEN replace(l.username, chr(92), repeat(chr(92), 2)) END
  FROM aaa_nas n
 CROSS JOIN LATERAL (
       SELECT 1 AS precedence, a.xmin, (a.mac = nullif($4, '')
              OR a.circuit_id = nullif($5, '') AND (a.remote_id IS NULL OR a.remote_id = nullif($6, ''))
              OR a.circuit_id IS NULL AND a.remote_id = nullif($6, '')) IS TRUE AS by_line, a.*
         FROM aaa_login a WHERE a.tenant_id = n.tenant_id AND a.username = $2
       UNION ALL
       SELECT 2, a.xmin, true, a.* FROM aaa_login a WHERE a.tenant_id = n.tenant_id AND a.mac = nullif($4, '')
       UNION ALL
       SELECT 3, a.xmin, true, a.* FROM aaa_login a WHERE a.tenant_id = n.tenant_id AND a.circuit_id = nullif($5, '') AND a.remote_id = nullif($6, '')
       UNION ALL
       SELECT 4, a.xmin, true, a.* FROM aaa_login a WHERE a.tenant_id = n.tenant_id AND a.circuit_id = nullif($5, '') AND a.remote_id IS NULL
       UNION ALL
       SELECT 5, a.xmin, true, a.* FROM aaa_login a WHERE a.tenant_id = n.tenant_id AND a.remote_id = nullif($6, '') AND a.circuit_id IS NULL
       ) l
  LEFT JOIN radius_session s ON s.username = l.username AND s.tenant_id = n.tenant_id AND (s.calling_station_id = '' OR s.calling_station_id <> $3)
 WHERE n.source_ip = $1
 ORDER BY l.precedence
 LIMIT 1
